"""Encode types as BTF for BTF_LOAD, and rewrite types of an existing BTF."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from struct import Struct as Layout
from struct import error as layout_error
from typing import Any

from structops_cli.btf import types as t
from structops_cli.btf.btf import Btf
from structops_cli.btf.decode import VLEN
from structops_cli.btf.header import parse_sections
from structops_cli.errors import BtfError
from structops_cli.syscall.uapi import BTF_MAGIC, BtfKind

_HEADER = Layout("<HBBIIIII")
_LONG_HEADER = Layout("<HBBIIIIIII")
_RECORD = Layout("<III")
_WORD = Layout("<I")
_SIGNED_WORD = Layout("<i")
_PAIR = Layout("<II")
_SIGNED_PAIR = Layout("<Ii")
_TRIPLE = Layout("<III")
_UNSIGNED_64 = Layout("<IQ")
_SIGNED_64 = Layout("<Iq")


def encode(types: Iterable[t.BtfType], *, base: Btf | None = None) -> bytes:
    """Encode types as a whole BTF, or as a split BTF on top of ``base``.

    Ids must be consecutive, from 1 or from ``base.end_id``. Each string is
    stored once. Raises BtfError for other ids and for values beyond their fields.
    """
    ordered = tuple(types)
    for expected, target in enumerate(ordered, 1 if base is None else base.end_id):
        if target.id != expected:
            why = f"its id is {target.id}, and its place is {expected}"
            raise BtfError(f"type {target.id} cannot be encoded", why=why, type_id=target.id)
    records, strings = encode_records(ordered, 0 if base is None else base.strings.end)
    return join(b"".join(records), strings)


def encode_records(types: Iterable[t.BtfType], strings_start: int) -> tuple[list[bytes], bytes]:
    """Encode types of any ids. Returns their records, and the new strings.

    ``strings_start`` is the offset of the first new string.
    """
    encoder = _Encoder(strings_start)
    return [encoder.record(target) for target in types], encoder.strings()


def join(records: bytes, strings: bytes, layout: bytes = b"") -> bytes:
    """Return a BTF of its sections. With a layout, the header is that of Linux 7.1."""
    if layout:
        strings_at = len(records) + len(layout)
        places = (0, len(records), strings_at, len(strings), len(records), len(layout))
        header = _LONG_HEADER.pack(BTF_MAGIC, 1, 0, _LONG_HEADER.size, *places)
        return header + records + layout + strings
    header = _HEADER.pack(BTF_MAGIC, 1, 0, _HEADER.size, 0, len(records), len(records), len(strings))
    return header + records + strings


class _Encoder:
    """Encodes records and collects their names."""

    def __init__(self, strings_start: int) -> None:
        self._offsets: dict[str, int] = {}
        self._strings: list[bytes] = []
        self._end = strings_start
        if strings_start == 0:
            self._name("")
        self._offsets[""] = 0

    def strings(self) -> bytes:
        """Return the string section."""
        return b"".join(self._strings)

    def _name(self, name: str) -> int:
        """Return the string offset of a name. Stores a new name."""
        offset = self._offsets.get(name)
        if offset is None:
            if "\0" in name:
                raise layout_error(f"a NUL in the name {name!r}")
            offset = self._offsets[name] = self._end
            encoded = name.encode() + b"\0"
            self._strings.append(encoded)
            self._end += len(encoded)
        return offset

    def record(self, target: t.BtfType) -> bytes:
        """Encode one type."""
        encoders = _ENCODERS.get(type(target))
        if encoders is None:
            known = not isinstance(target, t.UnknownKind)
            why = "it is void, type 0 of every BTF" if known else "its kind is unknown"
            raise BtfError(f"type {target.id} cannot be encoded", why=why, type_id=target.id)
        kind, encoder = encoders
        try:
            return encoder(self, kind, target)
        except (layout_error, UnicodeEncodeError) as error:
            why = f"a value does not fit in its field: {error}"
            raise BtfError(f"type {target.id} cannot be encoded", why=why, type_id=target.id) from error

    def _record(
        self, kind: int, name: str, size_or_type: int, *, vlen: int = 0, kind_flag: bool = False
    ) -> bytes:
        if vlen > VLEN:
            raise layout_error(f"{vlen} members")
        return _RECORD.pack(self._name(name), kind << 24 | kind_flag << 31 | vlen, size_or_type)

    def integer(self, kind: int, target: t.Int) -> bytes:
        if not (target.encoding < 1 << 4 and target.bit_offset < 1 << 8 and target.bits < 1 << 8):
            raise layout_error(f"{target.bits} bits at {target.bit_offset}, encoding {target.encoding}")
        word = target.encoding << 24 | target.bit_offset << 16 | target.bits
        return self._record(kind, target.name, target.size_bytes) + _WORD.pack(word)

    def reference(self, kind: int, target: t.Ptr | t.Volatile | t.Const | t.Restrict) -> bytes:
        return self._record(kind, "", target.type)

    def named_reference(self, kind: int, target: t.Typedef) -> bytes:
        return self._record(kind, target.name, target.type)

    def type_tag(self, kind: int, target: t.TypeTag) -> bytes:
        return self._record(kind, target.name, target.type, kind_flag=target.kind_flag)

    def array(self, kind: int, target: t.Array) -> bytes:
        return self._record(kind, "", 0) + _TRIPLE.pack(target.element_type, target.index_type, target.count)

    def composite(self, kind: int, target: t.Composite) -> bytes:
        head = self._record(
            kind, target.name, target.size_bytes, vlen=len(target.members), kind_flag=target.kind_flag
        )
        return head + b"".join(
            [self._member(member, kind_flag=target.kind_flag) for member in target.members]
        )

    def _member(self, member: t.Member, *, kind_flag: bool) -> bytes:
        where = member.bit_offset
        if kind_flag:
            if where >= 1 << 24 or member.bit_size >= 1 << 8:
                raise layout_error(f"{member.bit_size} bits at {where}")
            where |= member.bit_size << 24
        elif member.bit_size:
            raise layout_error(f"{member.bit_size} bits without kind_flag")
        return _TRIPLE.pack(self._name(member.name), member.type, where)

    def enum(self, kind: int, target: t.Enum) -> bytes:
        return self._enumerators(kind, target, _SIGNED_PAIR if target.signed else _PAIR)

    def enum64(self, kind: int, target: t.Enum64) -> bytes:
        return self._enumerators(kind, target, _SIGNED_64 if target.signed else _UNSIGNED_64)

    def _enumerators(self, kind: int, target: t.Enum | t.Enum64, layout: Layout) -> bytes:
        head = self._record(
            kind, target.name, target.size_bytes, vlen=len(target.values), kind_flag=target.signed
        )
        return head + b"".join([layout.pack(self._name(value.name), value.value) for value in target.values])

    def fwd(self, kind: int, target: t.Fwd) -> bytes:
        return self._record(kind, target.name, 0, kind_flag=target.is_union)

    def func(self, kind: int, target: t.Func) -> bytes:
        return self._record(kind, target.name, target.type, vlen=target.linkage)

    def func_proto(self, kind: int, target: t.FuncProto) -> bytes:
        head = self._record(kind, "", target.return_type, vlen=len(target.params))
        return head + b"".join([_PAIR.pack(self._name(param.name), param.type) for param in target.params])

    def var(self, kind: int, target: t.Var) -> bytes:
        return self._record(kind, target.name, target.type) + _WORD.pack(target.linkage)

    def datasec(self, kind: int, target: t.Datasec) -> bytes:
        head = self._record(kind, target.name, target.size_bytes, vlen=len(target.entries))
        return head + b"".join([_TRIPLE.pack(*entry) for entry in target.entries])

    def floating(self, kind: int, target: t.Float) -> bytes:
        return self._record(kind, target.name, target.size_bytes)

    def decl_tag(self, kind: int, target: t.DeclTag) -> bytes:
        head = self._record(kind, target.name, target.type, kind_flag=target.kind_flag)
        return head + _SIGNED_WORD.pack(target.component)


_ENCODERS: dict[type, tuple[BtfKind, Callable[[_Encoder, int, Any], bytes]]] = {
    t.Int: (BtfKind.INT, _Encoder.integer),
    t.Ptr: (BtfKind.PTR, _Encoder.reference),
    t.Array: (BtfKind.ARRAY, _Encoder.array),
    t.Struct: (BtfKind.STRUCT, _Encoder.composite),
    t.Union: (BtfKind.UNION, _Encoder.composite),
    t.Enum: (BtfKind.ENUM, _Encoder.enum),
    t.Fwd: (BtfKind.FWD, _Encoder.fwd),
    t.Typedef: (BtfKind.TYPEDEF, _Encoder.named_reference),
    t.Volatile: (BtfKind.VOLATILE, _Encoder.reference),
    t.Const: (BtfKind.CONST, _Encoder.reference),
    t.Restrict: (BtfKind.RESTRICT, _Encoder.reference),
    t.Func: (BtfKind.FUNC, _Encoder.func),
    t.FuncProto: (BtfKind.FUNC_PROTO, _Encoder.func_proto),
    t.Var: (BtfKind.VAR, _Encoder.var),
    t.Datasec: (BtfKind.DATASEC, _Encoder.datasec),
    t.Float: (BtfKind.FLOAT, _Encoder.floating),
    t.DeclTag: (BtfKind.DECL_TAG, _Encoder.decl_tag),
    t.TypeTag: (BtfKind.TYPE_TAG, _Encoder.type_tag),
    t.Enum64: (BtfKind.ENUM64, _Encoder.enum64),
}


def rewrite(btf: Btf, types: Iterable[t.BtfType], *, layout: bool = True) -> bytes:
    """Return ``btf`` with each of ``types`` in place of its own type of that id.

    Types with the ids behind the last one are added. New names follow the
    old strings, so that offsets in ``.BTF.ext`` stay valid. Unknown header
    fields are dropped, and the layout section too without ``layout``.
    Raises BtfError for other ids and for values that cannot be encoded.
    """
    changed = {target.id: target for target in types}
    end_id = max((btf.end_id, *(type_id + 1 for type_id in changed)))
    for type_id in (*changed, *range(btf.end_id, end_id)):
        if type_id < btf.start_id or type_id not in changed:
            why = f"type {type_id} is neither an own type nor the next new one"
            raise BtfError(f"{btf.origin} cannot be changed", why=why, type_id=type_id)
    raw = btf.raw()
    sections = parse_sections(raw, btf.origin, split=btf.base is not None)
    encoded, names = encode_records(changed.values(), btf.strings.end)
    records = dict(zip(changed, encoded, strict=True))
    kept = (records.get(type_id) or btf.record(type_id) for type_id in range(btf.start_id, end_id))
    strings = raw[sections.strings_offset : sections.strings_offset + sections.strings_length]
    laid_out = raw[sections.layout_offset : sections.layout_offset + sections.layout_length]
    return join(b"".join(kept), strings + names, laid_out if layout else b"")
