"""Cut a small BTF out of a kernel's: some types whole, and what they hold by value; the rest is declared only."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from structops_cli.btf.btf import Btf
from structops_cli.btf.encode import encode
from structops_cli.btf.types import (
    Array,
    BtfType,
    Const,
    Enum,
    Enum64,
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
    Void,
    Volatile,
)

__all__ = ["excerpt"]


def excerpt(btf: Btf, roots: Iterable[int]) -> bytes:
    """Return BTF of the types ``roots`` and of all that they hold; a struct that is only pointed at is declared."""
    asked = list(roots)
    whole = _reached(btf, asked, set())
    kept = sorted(_reached(btf, asked, whole))
    numbers = {type_id: number for number, type_id in enumerate(kept, 1)} | {0: 0}
    return encode([_renumbered(_cut(btf, type_id, whole), numbers) for type_id in kept])


def _reached(btf: Btf, roots: Iterable[int], whole: set[int]) -> set[int]:
    """Return what is held by value; with ``whole`` known, also what is pointed at, declared where it is not in it."""
    found: set[int] = set()
    pending = list(roots)
    while pending:
        type_id = pending.pop()
        if type_id and type_id not in found:
            found.add(type_id)
            kind = _cut(btf, type_id, whole) if whole else btf.type(type_id)
            pending += _below(kind) if whole or not isinstance(kind, Ptr) else ()
    return found


def _cut(btf: Btf, type_id: int, whole: set[int]) -> BtfType:
    """Return a type as it is kept. What has no name to be declared by becomes an empty struct."""
    kind = btf.type(type_id)
    if not isinstance(kind, Struct | Union) or type_id in whole:
        return kind
    if kind.name:
        return Fwd(type_id, kind.name, isinstance(kind, Union))
    return kind._replace(members=())


def _below(kind: BtfType) -> Iterator[int]:
    """Yield the types that a type refers to."""
    match kind:
        case Struct() | Union():
            yield from (member.type for member in kind.members)
        case Array():
            yield from (kind.element_type, kind.index_type)
        case FuncProto():
            yield from (kind.return_type, *(param.type for param in kind.params))
        case Ptr() | Typedef() | Const() | Volatile() | Restrict() | TypeTag() | Func():
            yield kind.type
        case Int() | Float() | Enum() | Enum64() | Fwd() | Void():
            return
        case _:
            raise ValueError(f"type {kind.id} is no part of a struct: {kind}")


def _renumbered(kind: BtfType, numbers: Mapping[int, int]) -> BtfType:
    own = numbers[kind.id]
    match kind:
        case Struct() | Union():
            members = tuple(Member(m.name, numbers[m.type], m.bit_offset, m.bit_size) for m in kind.members)
            return kind._replace(id=own, members=members)
        case Array():
            types = numbers[kind.element_type], numbers[kind.index_type]
            return Array(own, *types, kind.count)
        case FuncProto():
            params = tuple(Param(param.name, numbers[param.type]) for param in kind.params)
            return FuncProto(own, numbers[kind.return_type], params)
        case Ptr() | Typedef() | Const() | Volatile() | Restrict() | TypeTag() | Func():
            return kind._replace(id=own, type=numbers[kind.type])
        case _:
            return kind._replace(id=own)
