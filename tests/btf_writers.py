"""Write BTF by hand, independently of the product's encoder.

A function named after the kind makes a record. ``write_btf`` numbers records from 1.
The result is well formed unless an argument makes it wrong::

    write_btf([int_("int"), ptr(1)])                      # well formed
    write_btf([int_("int"), ptr(99)])                     # the type does not exist
    write_btf([int_("int"), ptr(1, vlen=3)])              # a pointer has no vlen
    write_btf([int_("int")], header={"magic": 0x9feb})    # the other byte order
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from typing import NamedTuple

MAGIC = 0xEB9F
Word = int | str
"""A number, or a name that stands for its string offset."""


class Record(NamedTuple):
    """The words of ``struct btf_type`` and of the data behind it.

    ``cut`` is the number of bytes to leave off at the end.
    """

    kind: int
    name: Word = ""
    size_or_type: int = 0
    vlen: int = 0
    kind_flag: bool = False
    rest: tuple[Word, ...] = ()
    reserved: int = 0
    cut: int = 0

    def but(self, **changes: object) -> Record:
        """Return the record with some fields changed."""
        return self._replace(**changes)  # type: ignore[arg-type]  # whatever the test says


class StringTable:
    """A string section that grows; offsets start at ``start``."""

    def __init__(self, start: int = 0, *, first: bytes = b"\0") -> None:
        self.start = start
        self.data = bytearray(first if start == 0 else b"")
        self._offsets: dict[str, int] = {}

    def offset(self, word: Word) -> int:
        if isinstance(word, int):
            return word % (1 << 32)
        if not word:
            return 0
        if word not in self._offsets:
            self._offsets[word] = self.start + len(self.data)
            self.data += word.encode() + b"\0"
        return self._offsets[word]


def write_btf(
    records: Sequence[Record] = (),
    *,
    strings_start: int = 0,
    more_strings: Sequence[str] = (),
    first_string: bytes = b"\0",
    last_string: bytes = b"",
    header: Mapping[str, int] | None = None,
    tail: bytes = b"",
    layout: Sequence[tuple[int, int]] | None = None,
    gap: bytes = b"",
    behind: bytes = b"",
) -> bytes:
    """Return BTF.

    ``strings_start`` is the length of the base's strings for split BTF. ``header``
    overrides fields of the header: magic, version, flags, hdr_len, type_off, type_len,
    str_off, str_len, layout_off, layout_len. ``tail`` lengthens the header, ``gap``
    lies between types and strings, and ``behind`` follows the strings. ``layout`` has
    (info_sz, elem_sz) by kind, and adds header fields and a section as since Linux 7.1.
    """
    table = StringTable(strings_start, first=first_string)
    types = b"".join(_record(record, table) for record in records)
    for text in more_strings:
        table.offset(text)
    strings = bytes(table.data) + last_string
    entries = b"".join(struct.pack("<BBH", *sizes, 0) for sizes in layout or ())
    places = {} if layout is None else {"layout_off": len(types), "layout_len": len(entries)}
    fields = {
        "magic": MAGIC,
        "version": 1,
        "flags": 0,
        "hdr_len": 24 + 4 * len(places) + len(tail),
        "type_off": 0,
        "type_len": len(types),
        "str_off": len(types) + len(entries) + len(gap),
        "str_len": len(strings),
        **places,
        **(header or {}),
    }
    words = struct.pack(f"<HBB{len(fields) - 3}I", *fields.values())
    return words + tail + types + entries + gap + strings + behind


LAYOUT = (
    *((0, 0), (4, 0), (0, 0), (12, 0), (0, 12), (0, 12), (0, 8), (0, 0), (0, 0), (0, 0), (0, 0)),
    *((0, 0), (0, 0), (0, 8), (4, 0), (0, 12), (0, 0), (4, 0), (0, 0), (0, 12)),
)
"""The layout of the kinds 0 to 19, as libbpf writes it."""
LATER = (*LAYOUT, (4, 8), (0, 0))
"""Two more kinds: 20 has a word and eight bytes for each of vlen, 21 has nothing."""


def string_offset(btf: bytes, text: str) -> int:
    """Return the offset of a whole string in the string section of a BTF, for .BTF.ext."""
    hdr_len, _, _, str_off, str_len = struct.unpack_from("<IIIII", btf, 4)
    strings = btf[hdr_len + str_off : hdr_len + str_off + str_len]
    return strings.index(b"\0" + text.encode() + b"\0") + 1


def _record(record: Record, table: StringTable) -> bytes:
    info = record.kind << 24 | record.kind_flag << 31 | record.vlen | record.reserved
    words = (record.name, info, record.size_or_type, *record.rest)
    data = b"".join(struct.pack("<I", table.offset(word)) for word in words)
    return data[: len(data) - record.cut]


class M(NamedTuple):
    """A member: ``bits`` makes it a bit-field."""

    name: Word
    type: int
    bit_offset: int = 0
    bits: int = 0


def int_(
    name: Word = "int", size: int = 4, *, encoding: int = 0, bit_offset: int = 0, bits: int = -1
) -> Record:
    word = encoding << 24 | bit_offset << 16 | (size * 8 if bits < 0 else bits)
    return Record(1, name, size, rest=(word,))


def ptr(target: int) -> Record:
    return Record(2, size_or_type=target)


def array(element: int, index: int, count: int) -> Record:
    return Record(3, rest=(element, index, count))


def struct_(name: Word, size: int, *members: M, kind_flag: bool | None = None, kind: int = 4) -> Record:
    flag = any(member.bits for member in members) if kind_flag is None else kind_flag
    words = [(m.name, m.type, m.bit_offset | m.bits << 24) for m in members]
    return Record(kind, name, size, len(members), flag, tuple(word for triple in words for word in triple))


def union(name: Word, size: int, *members: M, kind_flag: bool | None = None) -> Record:
    return struct_(name, size, *members, kind_flag=kind_flag, kind=5)


def enum(name: Word, values: Mapping[str, int], *, size: int = 4, signed: bool = False) -> Record:
    return Record(6, name, size, len(values), signed, tuple(word for item in values.items() for word in item))


def fwd(name: Word, *, is_union: bool = False) -> Record:
    return Record(7, name, kind_flag=is_union)


def typedef(name: Word, target: int) -> Record:
    return Record(8, name, target)


def volatile(target: int) -> Record:
    return Record(9, size_or_type=target)


def const(target: int) -> Record:
    return Record(10, size_or_type=target)


def restrict(target: int) -> Record:
    return Record(11, size_or_type=target)


def func(name: Word, proto: int, *, linkage: int = 1) -> Record:
    return Record(12, name, proto, linkage)


def proto(returns: int, *params: tuple[Word, int]) -> Record:
    return Record(13, "", returns, len(params), rest=tuple(word for param in params for word in param))


def var(name: Word, target: int, *, linkage: int = 1) -> Record:
    return Record(14, name, target, rest=(linkage,))


def datasec(name: Word, size: int, *entries: tuple[int, int, int]) -> Record:
    return Record(15, name, size, len(entries), rest=tuple(word for entry in entries for word in entry))


def float_(name: Word, size: int) -> Record:
    return Record(16, name, size)


def decl_tag(name: Word, target: int, *, component: int = -1, kind_flag: bool = False) -> Record:
    return Record(17, name, target, kind_flag=kind_flag, rest=(component,))


def type_tag(name: Word, target: int, *, kind_flag: bool = False) -> Record:
    return Record(18, name, target, kind_flag=kind_flag)


def enum64(name: Word, values: Mapping[str, int], *, size: int = 8, signed: bool = False) -> Record:
    words = [(key, value & 0xFFFFFFFF, value >> 32 & 0xFFFFFFFF) for key, value in values.items()]
    return Record(19, name, size, len(values), signed, tuple(word for triple in words for word in triple))


def every_kind() -> list[Record]:
    """Return valid records: one of each of the 19 kinds, and the types that they refer to."""
    return [
        int_("int", encoding=1),  # 1
        int_("unsigned int"),  # 2
        ptr(6),  # 3
        array(1, 2, 16),  # 4
        union("", 8, M("whole", 2), M("low", 1, bits=5), kind_flag=True),  # 5
        struct_(
            "sock",
            96,
            M("words", 4),
            M("", 5, 512),
            M("flag", 2, 576, 1),
            M("rest", 2, 577, 31),
            M("next", 3, 640),
        ),
        enum("state", {"OFF": 0, "LOST": -1}, signed=True),  # 7
        enum64("mask", {"LOW": 1, "HIGH": 0xFFFFFFFF_00000000}),  # 8
        fwd("module"),  # 9
        fwd("cookie", is_union=True),  # 10
        typedef("u32", 2),  # 11
        volatile(11),  # 12
        const(12),  # 13
        restrict(3),  # 14
        proto(11, ("sk", 3), ("state", 7)),  # 15
        func("ssthresh", 15, linkage=0),  # 16
        proto(0, ("format", 3), ("", 0)),  # 17
        var("counter", 13, linkage=2),  # 18
        datasec(".data", 8, (18, 4, 4)),  # 19
        float_("double", 8),  # 20
        decl_tag("kfunc", 16),  # 21
        decl_tag("nullable", 16, component=0, kind_flag=True),  # 22
        type_tag("rcu", 6),  # 23
        ptr(23),  # 24
        enum64("offset", {"NEAR": -1, "FAR": -(1 << 63)}, signed=True),  # 25
        type_tag("noderef", 2, kind_flag=True),  # 26
        struct_("cursor", 16, M("at", 24), M("count", 11, 64)),  # 27
    ]


def write_ext(
    func_info: Mapping[int, Sequence[Sequence[int]]] | None = None,
    line_info: Mapping[int, Sequence[Sequence[int]]] | None = None,
    core_relos: Mapping[int, Sequence[Sequence[int]]] | None = None,
    *,
    sizes: Mapping[str, int] | None = None,
    counts: Mapping[str, int] | None = None,
    header: Mapping[str, int] | None = None,
    tail: bytes = b"",
    cut: int = 0,
) -> bytes:
    """Return a .BTF.ext: for each part, records by the string offset of their section's name.

    A record is the words of its structure. ``sizes`` (by part) allows longer records.
    ``counts`` overrides the record count of each section of a part, and ``header``
    overrides fields of the header.
    """
    parts = {
        name: _part(sections or {}, (sizes or {}).get(name, size), (counts or {}).get(name))
        for name, sections, size in (
            ("func_info", func_info, 8),
            ("line_info", line_info, 16),
            ("core_relo", core_relos, 16),
        )
    }
    fields = {"magic": MAGIC, "version": 1, "flags": 0, "hdr_len": 32 + len(tail)}
    at = 0
    for name, part in parts.items():
        fields |= {f"{name}_off": at, f"{name}_len": len(part)}
        at += len(part)
    fields |= header or {}
    body = b"".join(parts.values())
    return struct.pack("<HBBIIIIIII", *fields.values()) + tail + body[: len(body) - cut]


def _part(sections: Mapping[int, Sequence[Sequence[int]]], size: int, count: int | None) -> bytes:
    if not sections:
        return b""
    data = struct.pack("<I", size)
    for name_off, records in sections.items():
        data += struct.pack("<II", name_off, len(records) if count is None else count)
        data += b"".join(struct.pack(f"<{len(record)}I", *record) for record in records)
    return data


def newer(data: bytes, more: Sequence[Record] = (), layout: Sequence[tuple[int, int]] = LATER) -> bytes:
    """Return BTF as a newer tool writes it: with a layout, and ``more`` types at the end.

    ``data`` has a 24-byte header. The strings stay, so ``more`` has string offsets but no
    names.
    """
    _, types_at, types_len, strings_at, strings_len = struct.unpack_from("<5I", data, 4)
    types = data[24 + types_at : 24 + types_at + types_len]
    types += b"".join(_record(record, StringTable()) for record in more)
    strings = data[24 + strings_at : 24 + strings_at + strings_len]
    entries = b"".join(struct.pack("<BBH", *sizes, 0) for sizes in layout)
    ends = len(types), len(types) + len(entries)
    head = struct.pack("<HBB7I", MAGIC, 1, 0, 32, 0, ends[0], ends[1], len(strings), ends[0], len(entries))
    return head + types + entries + strings
