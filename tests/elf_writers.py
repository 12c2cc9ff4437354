"""Write small BPF objects byte by byte, so that one argument makes a malformed one.

``small_object()`` is a complete object. Its program calls a subprogram, and refers to
a map and to read-only data. Its struct_ops variable points at the program. It has
BTF, function and line info. Each argument changes one thing::

    small_object(machine=62)                                     # the file header
    small_object(sections={"license": {"data": b"GPL"}})         # a field of a section
    small_object(sections={".BTF": None})                        # section removed
    small_object(symbols={"half": {"size": 4}})                  # a field of a symbol
    small_object(relocations={("struct_ops/init", 0): {"type": 99}})
    small_object(truncate=100)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from struct import pack, unpack_from
from typing import Any, NamedTuple, TypeVar

from structops_cli.btf import types as t
from structops_cli.btf.encode import encode

PROGBITS, SYMTAB, STRTAB, RELA, NOBITS, REL = 1, 2, 3, 4, 8, 9
WRITE, ALLOC, EXEC = 1, 2, 4
LOCAL, GLOBAL, WEAK = 0, 1, 2
NOTYPE, OBJECT, FUNC, SECTION = 0, 1, 2, 3
UNDEFINED = ""
R64_64, ABS64, ABS32, R64_32 = 1, 2, 3, 10

Changes = Mapping[str, Any]


class Sec(NamedTuple):
    """A section; ``size`` overrides the size in its header."""

    name: str
    data: bytes
    flags: int = ALLOC
    type: int = PROGBITS
    size: int | None = None
    link: int | None = None
    info: int | None = None
    entry_size: int = 0


class Sym(NamedTuple):
    """A symbol; ``section`` is a section's name, "" for undefined, or a number."""

    name: str
    section: str | int
    value: int
    size: int
    type: int = OBJECT
    binding: int = GLOBAL
    other: int = 0


class Rel(NamedTuple):
    """A relocation in ``section`` at ``offset``; ``symbol`` is a symbol's name or a number."""

    section: str
    offset: int
    symbol: str | int
    type: int = R64_64


def insn(opcode: int, dst: int = 0, src: int = 0, offset: int = 0, imm: int = 0) -> bytes:
    return pack("<BBhi", opcode, dst | src << 4, offset, imm)


EXIT = insn(0x95)
ZERO = insn(0xB7)
"""r0 = 0"""


def load(register: int, imm: int = 0, src: int = 0) -> bytes:
    """Return a 64-bit immediate load."""
    return insn(0x18, register, src, imm=imm) + insn(0)


def call(distance: int, src: int = 1) -> bytes:
    """Return a call of a function ``distance`` instructions behind the next one."""
    return insn(0x85, 0, src, imm=distance)


def write_elf(
    sections: Sequence[Sec],
    symbols: Sequence[Sym],
    relocations: Sequence[Rel],
    *,
    magic: bytes = b"\x7fELF",
    elf_class: int = 2,
    byte_order: int = 1,
    elf_type: int = 1,
    machine: int = 247,
    section_count: int | None = None,
    section_entry: int = 64,
    section_offset: int | None = None,
    names_section: int | None = None,
    symbol_entry: int = 24,
    relocation_entry: int = 16,
    relocation_type: int = REL,
    symbol_tables: int = 1,
    truncate: int | None = None,
) -> bytes:
    """Return an ELF file of these parts, in the layout of a 64-bit little-endian one."""
    everything = [Sec("", b"", 0, 0), *sections]
    strings = _Strings()
    place = {section.name: number for number, section in enumerate(everything)}
    first = len(everything)
    table = b"".join(_symbol(one, place, strings) for one in (Sym("", 0, 0, 0, 0, LOCAL), *symbols))
    symtab = Sec(".symtab", table, 0, SYMTAB, link=first + symbol_tables, entry_size=symbol_entry)
    everything += [*[symtab] * symbol_tables, Sec(".strtab", b"", 0, STRTAB)]
    numbers = {symbol.name: number for number, symbol in enumerate(symbols, 1)}
    for name in dict.fromkeys(one.section for one in relocations):
        entries = b"".join(_relocation(one, numbers) for one in relocations if one.section == name)
        info = place.get(name, 0)
        rel = Sec(
            f".rel{name}", entries, 0, relocation_type, link=first, info=info, entry_size=relocation_entry
        )
        everything.append(rel)
    offsets = [strings.offset(section.name) for section in everything]
    at = first + symbol_tables
    everything[at] = everything[at]._replace(data=bytes(strings.data))
    body, headers = bytearray(), b""
    for name_offset, section in zip(offsets, everything, strict=True):
        body += bytes(-len(body) % 8)
        headers += _section_header(section, name_offset, 64 + len(body))
        body += section.data
    body += bytes(-len(body) % 8)
    header = magic + bytes([elf_class, byte_order, 1]) + bytes(9)
    header += pack(
        "<HHIQQQ", elf_type, machine, 1, 0, 0, 64 + len(body) if section_offset is None else section_offset
    )
    count = len(everything) if section_count is None else section_count
    header += pack(
        "<IHHHHHH", 0, 64, 0, 0, section_entry, count, at if names_section is None else names_section
    )
    return (header + bytes(body) + headers)[:truncate]


class _Strings:
    def __init__(self) -> None:
        self.data = bytearray(b"\0")

    def offset(self, text: str) -> int:
        if not text:
            return 0
        at = len(self.data)
        self.data += text.encode("utf-8", "surrogateescape") + b"\0"
        return at


def _symbol(symbol: Sym, place: Mapping[str, int], strings: _Strings) -> bytes:
    section = symbol.section if isinstance(symbol.section, int) else place.get(symbol.section, 0)
    info = symbol.type | symbol.binding << 4
    return pack(
        "<IBBHQQ", strings.offset(symbol.name), info, symbol.other, section, symbol.value, symbol.size
    )


def _relocation(relocation: Rel, numbers: Mapping[str, int]) -> bytes:
    symbol = relocation.symbol if isinstance(relocation.symbol, int) else numbers[relocation.symbol]
    return pack("<QII", relocation.offset, relocation.type, symbol)


def _section_header(section: Sec, name: int, offset: int) -> bytes:
    size = len(section.data) if section.size is None else section.size
    link, info = section.link or 0, section.info or 0
    return pack(
        "<IIQQQQIIQQ", name, section.type, section.flags, 0, offset, size, link, info, 1, section.entry_size
    )


TEXT = ZERO + EXIT
PROGRAM = load(1) + load(2) + call(-1) + EXIT
OPS = pack("<IIQ", 5, 0, 0)
LIMITS = pack("<II", 7, 9)

SECTIONS = (
    Sec(".text", TEXT, ALLOC | EXEC),
    Sec("struct_ops/init", PROGRAM, ALLOC | EXEC),
    Sec(".maps", bytes(32), ALLOC | WRITE),
    Sec(".rodata", LIMITS),
    Sec(".bss", b"", ALLOC | WRITE, NOBITS, 16),
    Sec(".struct_ops.link", OPS, ALLOC | WRITE),
    Sec("license", b"GPL\0"),
)
SYMBOLS = (
    Sym("half", ".text", 0, 16, FUNC, LOCAL),
    Sym("t_init", "struct_ops/init", 0, 48, FUNC),
    Sym("t_map", ".maps", 0, 32),
    Sym("first_limit", ".rodata", 0, 4),
    Sym("second_limit", ".rodata", 4, 4, OBJECT, LOCAL),
    Sym("count", ".bss", 8, 8),
    Sym("t_ops", ".struct_ops.link", 0, 16),
    Sym("_license", "license", 0, 4),
)
RELOCATIONS = (
    Rel("struct_ops/init", 0, "t_map"),
    Rel("struct_ops/init", 16, "second_limit"),
    Rel("struct_ops/init", 32, "half", R64_32),
    Rel(".struct_ops.link", 8, "t_init", ABS64),
)
U32, VOID_PTR, INIT_PROTO, INIT_PTR, OPS_STRUCT, HALF_PROTO = 1, 2, 3, 4, 5, 6
MAP_STRUCT, HALF_FUNC, INIT_FUNC = 7, 8, 9


def _map_types(first: int) -> list[t.BtfType]:
    """Return four attributes of a map: type 2, max_entries 10, u32 for key and value.

    Numbers are pointers to arrays.
    """
    return [
        t.Array(first, U32, U32, 2),
        t.Ptr(first + 1, first),
        t.Array(first + 2, U32, U32, 10),
        t.Ptr(first + 3, first + 2),
        t.Ptr(first + 4, U32),
    ]


def _types() -> list[t.BtfType]:
    members = (("type", 11), ("max_entries", 13), ("key", 14), ("value", 14))
    attributes = tuple(t.Member(name, type_id, 64 * at, 0) for at, (name, type_id) in enumerate(members))
    return [
        t.Int(U32, "unsigned int", 4, 0, 0, 32),
        t.Ptr(VOID_PTR, 0),
        t.FuncProto(INIT_PROTO, 0, (t.Param("sk", VOID_PTR),)),
        t.Ptr(INIT_PTR, INIT_PROTO),
        t.Struct(
            OPS_STRUCT,
            "t_kernel_ops",
            16,
            (t.Member("flags", U32, 0, 0), t.Member("init", INIT_PTR, 64, 0)),
            False,
        ),
        t.FuncProto(HALF_PROTO, U32, ()),
        t.Struct(MAP_STRUCT, "", 32, attributes, False),
        t.Func(HALF_FUNC, "half", HALF_PROTO, 0),
        t.Func(INIT_FUNC, "t_init", INIT_PROTO, 1),
        *_map_types(10),
        t.Int(15, "unsigned long long", 8, 0, 0, 64),
        t.Var(16, "t_map", MAP_STRUCT, 1),
        t.Var(17, "first_limit", U32, 1),
        t.Var(18, "second_limit", U32, 0),
        t.Var(19, "count", 15, 1),
        t.Var(20, "t_ops", OPS_STRUCT, 1),
        t.Datasec(21, ".maps", 0, (t.DatasecEntry(16, 0, 32),)),
        t.Datasec(22, ".rodata", 0, (t.DatasecEntry(18, 0, 4), t.DatasecEntry(17, 0, 4))),
        t.Datasec(23, ".bss", 0, (t.DatasecEntry(19, 0, 8),)),
        t.Datasec(24, ".struct_ops.link", 0, (t.DatasecEntry(20, 0, 16),)),
    ]


def small_btf(*, types: Mapping[int, t.BtfType] | None = None, more: Sequence[t.BtfType] = ()) -> bytes:
    """Return the BTF of the small object, with ``types`` replaced by id and ``more`` added."""
    changed = types or {}
    return encode([*(changed.get(one.id, one) for one in _types()), *more])


def with_strings(btf: bytes, texts: Sequence[str]) -> tuple[bytes, dict[str, int]]:
    """Return a BTF with more strings at its end, and their offsets.

    The string section of ``btf`` must be its last one.
    """
    start, length = unpack_from("<II", btf, 16)
    offsets, more = {}, bytearray()
    for text in texts:
        offsets[text] = length + len(more)
        more += text.encode() + b"\0"
    header = btf[:20] + pack("<I", length + len(more))
    assert 24 + start + length == len(btf)
    return header + btf[24:] + bytes(more), offsets


Records = Mapping[str, Sequence[Sequence[int | str]]]
"""By section: fields of each record; a text stands for its string offset in BTF."""

FUNC_INFO: Records = {".text": ((0, HALF_FUNC),), "struct_ops/init": ((0, INIT_FUNC),)}
LINE_INFO: Records = {
    ".text": ((0, 1, 1, 3 << 10), (8, 1, 1, 4 << 10)),
    "struct_ops/init": ((0, 1, 1, 9 << 10), (32, 1, 1, 10 << 10), (40, 1, 1, 11 << 10)),
}


def write_ext(
    names: Mapping[str, int],
    func_info: Records = FUNC_INFO,
    line_info: Records = LINE_INFO,
    relos: Records | None = None,
) -> bytes:
    """Return a ``.BTF.ext``; the first field of a record is a byte offset."""
    parts = [
        _records(names, func_info, 8),
        _records(names, line_info, 16),
        _records(names, relos or {}, 16),
    ]
    places, at = b"", 0
    for part in parts:
        places += pack("<II", at, len(part))
        at += len(part)
    return pack("<HBBI", 0xEB9F, 1, 0, 8 + len(places)) + places + b"".join(parts)


def _records(names: Mapping[str, int], by_section: Records, size: int) -> bytes:
    body = b"".join(
        pack("<II", names[section], len(records))
        + b"".join(pack(f"<{size // 4}I", *record) for record in records)
        for section, records in by_section.items()
    )
    return pack("<I", size) + body


def small_object(
    *,
    sections: Mapping[str, Changes | None] | None = None,
    symbols: Mapping[str, Changes | None] | None = None,
    relocations: Mapping[tuple[str, int], Changes | None] | None = None,
    more_sections: Sequence[Sec] = (),
    more_symbols: Sequence[Sym] = (),
    more_relocations: Sequence[Rel] = (),
    types: Mapping[int, t.BtfType] | None = None,
    more_types: Sequence[t.BtfType] = (),
    func_info: Records = FUNC_INFO,
    line_info: Records = LINE_INFO,
    relos: Records | None = None,
    **header: Any,
) -> bytes:
    """Return the small object with changed parts; ``None`` removes a part.

    ``write_elf`` gets the ``header``.
    """
    told = [*func_info, *line_info, *(relos or {}), "0:0"]
    btf, names = with_strings(small_btf(types=types, more=more_types), tuple(dict.fromkeys(told)))
    ext = write_ext(
        names, func_info, line_info, {s: [_named(r, names) for r in rs] for s, rs in (relos or {}).items()}
    )
    all_sections = (*SECTIONS, Sec(".BTF", btf, 0), Sec(".BTF.ext", ext, 0))
    return write_elf(
        [*_changed({one.name: one for one in all_sections}, sections), *more_sections],
        [*_changed({one.name: one for one in SYMBOLS}, symbols), *more_symbols],
        [*_changed({(one.section, one.offset): one for one in RELOCATIONS}, relocations), *more_relocations],
        **header,
    )


def _named(record: Sequence[Any], names: Mapping[str, int]) -> list[int]:
    """Return a record with string offsets in place of texts."""
    return [names[field] if isinstance(field, str) else field for field in record]


_Key = TypeVar("_Key")
_Part = TypeVar("_Part", Sec, Sym, Rel)


def _changed(parts: Mapping[_Key, _Part], changes: Mapping[_Key, Changes | None] | None) -> list[_Part]:
    told = dict(changes or {})
    kept = [
        part._replace(**(told.pop(key, {}) or {}))
        for key, part in parts.items()
        if told.get(key, {}) is not None
    ]
    assert all(change is None for change in told.values()), told
    return kept
