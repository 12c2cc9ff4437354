"""Decode one BTF record into its value of ``types`` (``Documentation/bpf/btf.rst``).

The index guarantees that a record lies within the type section. Decoders
check the names.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from struct import Struct as Layout
from typing import TYPE_CHECKING, NamedTuple

from structops_cli.btf.names import NameCache
from structops_cli.btf.types import (
    Array,
    BtfType,
    Const,
    Datasec,
    DatasecEntry,
    DeclTag,
    Enum,
    Enum64,
    Enumerator,
    Float,
    Func,
    FuncProto,
    Fwd,
    Int,
    Member,
    Param,
    Ptr,
    Restrict,
    Struct,
    Typedef,
    TypeTag,
    Union,
    Var,
    Volatile,
)

if TYPE_CHECKING:
    from mmap import mmap

KIND = 0x7F
"""The kind, from bit 24 of ``info`` on. Linux 7.2 widened it from 5 bits, and vlen from 16."""
VLEN = 0xFFFFFF

RECORD = Layout("<III")
"""``struct btf_type``: name_off, info, size or type."""
_WORD = Layout("<I")
_SIGNED_WORD = Layout("<i")
_PAIR = Layout("<II")
_SIGNED_PAIR = Layout("<Ii")
_TRIPLE = Layout("<III")
_UNSIGNED_64 = Layout("<IQ")
_SIGNED_64 = Layout("<Iq")
_new = tuple.__new__
"""Builds a NamedTuple in half the time of its constructor."""


class _Record(NamedTuple):
    """The words of one ``struct btf_type``, and the offset of the data behind it."""

    id: int
    name: str
    vlen: int
    kind_flag: bool
    size_or_type: int
    data: bytes | mmap
    rest: int
    names: NameCache

    def words(self, layout: Layout) -> Iterator[tuple[int, ...]]:
        """Unpack the ``vlen`` structures behind the record."""
        return layout.iter_unpack(self.data[self.rest : self.rest + layout.size * self.vlen])


def decode(type_id: int, data: bytes | mmap, offset: int, names: NameCache) -> BtfType | None:
    """Decode the record at ``offset``. Returns None for an unknown kind."""
    name_off, info, size_or_type = RECORD.unpack_from(data, offset)
    kind: int = info >> 24 & KIND
    if kind >= len(_DECODERS):
        return None
    rest = offset + RECORD.size
    fields = (type_id, names[name_off], info & VLEN, info >> 31 == 1, size_or_type, data, rest, names)
    return _DECODERS[kind](_new(_Record, fields))


def _int(record: _Record) -> Int:
    (word,) = _WORD.unpack_from(record.data, record.rest)
    return Int(record.id, record.name, record.size_or_type, word >> 24 & 0xF, word >> 16 & 0xFF, word & 0xFF)


def _array(record: _Record) -> Array:
    return Array(record.id, *_TRIPLE.unpack_from(record.data, record.rest))


def _members(record: _Record) -> tuple[Member, ...]:
    names = record.names
    if record.kind_flag:
        return tuple(
            [
                _new(Member, (names[name_off], type_id, where & 0xFFFFFF, where >> 24))
                for name_off, type_id, where in record.words(_TRIPLE)
            ]
        )
    words = record.words(_TRIPLE)
    return tuple([_new(Member, (names[name_off], type_id, where, 0)) for name_off, type_id, where in words])


def _struct(record: _Record) -> Struct:
    return Struct(record.id, record.name, record.size_or_type, _members(record), record.kind_flag)


def _union(record: _Record) -> Union:
    return Union(record.id, record.name, record.size_or_type, _members(record), record.kind_flag)


def _enum(record: _Record) -> Enum:
    names = record.names
    words = record.words(_SIGNED_PAIR if record.kind_flag else _PAIR)
    values = tuple([_new(Enumerator, (names[name_off], value)) for name_off, value in words])
    return Enum(record.id, record.name, record.size_or_type, record.kind_flag, values)


def _enum64(record: _Record) -> Enum64:
    names = record.names
    layout = _SIGNED_64 if record.kind_flag else _UNSIGNED_64
    values = tuple([_new(Enumerator, (names[name_off], value)) for name_off, value in record.words(layout)])
    return Enum64(record.id, record.name, record.size_or_type, record.kind_flag, values)


def _func_proto(record: _Record) -> FuncProto:
    names = record.names
    params = tuple([_new(Param, (names[name_off], type_id)) for name_off, type_id in record.words(_PAIR)])
    return FuncProto(record.id, record.size_or_type, params)


def _var(record: _Record) -> Var:
    (linkage,) = _WORD.unpack_from(record.data, record.rest)
    return Var(record.id, record.name, record.size_or_type, linkage)


def _datasec(record: _Record) -> Datasec:
    entries = tuple(map(DatasecEntry._make, record.words(_TRIPLE)))
    return Datasec(record.id, record.name, record.size_or_type, entries)


def _decl_tag(record: _Record) -> DeclTag:
    (component,) = _SIGNED_WORD.unpack_from(record.data, record.rest)
    return DeclTag(record.id, record.name, record.size_or_type, component, record.kind_flag)


_DECODERS: tuple[Callable[[_Record], BtfType], ...] = (
    _int,  # never reached: the index refuses kind 0
    _int,
    lambda record: Ptr(record.id, record.size_or_type),
    _array,
    _struct,
    _union,
    _enum,
    lambda record: Fwd(record.id, record.name, record.kind_flag),
    lambda record: Typedef(record.id, record.name, record.size_or_type),
    lambda record: Volatile(record.id, record.size_or_type),
    lambda record: Const(record.id, record.size_or_type),
    lambda record: Restrict(record.id, record.size_or_type),
    lambda record: Func(record.id, record.name, record.size_or_type, record.vlen),
    _func_proto,
    _var,
    _datasec,
    lambda record: Float(record.id, record.name, record.size_or_type),
    _decl_tag,
    lambda record: TypeTag(record.id, record.name, record.size_or_type, record.kind_flag),
    _enum64,
)
"""By BTF_KIND_*."""
