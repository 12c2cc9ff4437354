"""Compute the numbers of a field: byte offset, byte size, sign and shifts.

Local and target values come from the same functions. A bit-field is read through
a load unit: the smallest naturally aligned 1, 2, 4 or 8 bytes that hold all of
its bits and are no smaller than the declared type. The loaded register is
shifted left, then right.
"""

from __future__ import annotations

from typing import NamedTuple

from structops_cli.btf.btf import Btf
from structops_cli.btf.layout import POINTER_SIZE, resolve, size_of
from structops_cli.btf.types import Array, BtfType, Enum, Enum64, Enumerator, Int, Ptr, Struct, Union
from structops_cli.core.access import Field
from structops_cli.errors import RelocationError
from structops_cli.syscall.uapi import BtfIntEncoding, CoreReloKind

_SIZED = (Int, Struct, Union, Enum, Enum64)
_MEMORY_SIZES = (1, 2, 4, 8)
_LARGEST_LOAD = 8
# An enum lookup costs more than all the arithmetic below.
_BYTE_OFFSET = CoreReloKind.FIELD_BYTE_OFFSET
_BYTE_SIZE = CoreReloKind.FIELD_BYTE_SIZE
_SIGNED = CoreReloKind.FIELD_SIGNED
_LSHIFT = CoreReloKind.FIELD_LSHIFT_U64
_RSHIFT = CoreReloKind.FIELD_RSHIFT_U64
_new = tuple.__new__
"""Builds a NamedTuple in half the time of its constructor."""


class FieldExtent(NamedTuple):
    """A field and the bytes to load for it. ``bit_size`` is 0 unless a bit-field."""

    type: BtfType
    bit_offset: int
    bit_size: int
    byte_offset: int
    byte_size: int


def measure(btf: Btf, field: Field) -> FieldExtent:
    """Return the extent of a field.

    Raises RelocationError for a bit-field that no 8-byte load holds.
    """
    kind, bit_offset, bit_size = field
    if isinstance(kind, _SIZED):
        size = kind.size_bytes
    else:
        size = POINTER_SIZE if isinstance(kind, Ptr) else size_of(btf, kind.id)
    if not bit_size:
        return _new(FieldExtent, (kind, bit_offset, 0, bit_offset // 8, size))
    while size:
        start = bit_offset // 8 // size * size
        if bit_offset + bit_size <= (start + size) * 8:
            return FieldExtent(kind, bit_offset, bit_size, start, size)
        size = size * 2 if size < _LARGEST_LOAD else 0
    raise RelocationError(
        f"a bit-field of {bit_size} bits at bit {bit_offset} cannot be loaded",
        why=f"no aligned load of up to 8 bytes holds all of its bits in {btf.origin}",
        hint="Name the bytes around it instead, or leave the field out.",
    )


def field_value(extent: FieldExtent, kind: CoreReloKind) -> int:
    """Return the number that a relocation of this kind gives for an existing field."""
    bits = extent.bit_size or extent.byte_size * 8
    if kind == _BYTE_OFFSET:
        value = extent.byte_offset
    elif kind == _BYTE_SIZE:
        value = extent.byte_size
    elif kind == _SIGNED:
        value = int(is_signed(extent.type))
    elif kind == _LSHIFT:
        value = 64 - (extent.bit_offset + bits - extent.byte_offset * 8)
    else:
        value = 64 - bits
    return value


def is_checked(extent: FieldExtent, kind: CoreReloKind) -> bool:
    """Tell whether the instruction must hold the computed local value.

    A compiler may choose another load unit for a bit-field. An old compiler
    does not record that an enum is signed.
    """
    if kind == _SIGNED:
        return not isinstance(extent.type, Enum | Enum64)
    return not extent.bit_size or kind == _RSHIFT


def is_signed(kind: BtfType) -> bool:
    """Tell whether a resolved type is a signed integer or a signed enum."""
    if isinstance(kind, Int):
        return bool(kind.encoding & BtfIntEncoding.SIGNED)
    return isinstance(kind, Enum | Enum64) and kind.signed


def access_size(btf: Btf, extent: FieldExtent) -> int:
    """Return the bytes that an instruction accesses for a field, 0 for a bit-field.

    An access to an array is one to its first element: clang omits that step.
    """
    inside = extent.type
    if not isinstance(inside, Array):
        return 0 if extent.bit_size else extent.byte_size
    while isinstance(inside, Array):
        inside = resolve(btf, inside.element_type)
    return size_of(btf, inside.id)


def refuse_resize(local: FieldExtent, target: FieldExtent, sizes: tuple[int, int], origin: str) -> str | None:
    """Return why an access cannot take the target's size, None if it can.

    Only zero-extended values survive a change of size: pointers and unsigned
    integers. ``sizes`` are the ``access_size`` of both sides.
    """
    ours, theirs = local.type, target.type
    if sizes[0] == sizes[1] or (isinstance(ours, Ptr) and isinstance(theirs, Ptr)):
        return None
    if local.bit_size or target.bit_size:
        return f"it is a bit-field only in the object or only in {origin}"
    words = f"it is {sizes[0]} bytes in the object and {sizes[1]} in {origin}"
    if not (isinstance(ours, Int) and isinstance(theirs, Int)):
        return f"{words}, and only pointers and unsigned integers can be accessed in another size"
    if is_signed(ours) or is_signed(theirs):
        return f"{words}, and a signed integer cannot be accessed in another size"
    return None if sizes[1] in _MEMORY_SIZES else f"{words}, and no instruction accesses that size"


def type_value(btf: Btf, type_id: int, kind: CoreReloKind) -> int:
    """Return the number that a relocation of a whole type gives for an existing type."""
    match kind:
        case CoreReloKind.TYPE_ID_TARGET:
            return type_id
        case CoreReloKind.TYPE_SIZE:
            return size_of(btf, type_id)
        case _:
            return 1


def enum_value(value: Enumerator, enum: BtfType, *, signed: bool) -> int:
    """Return an enumerator's value, if the other side's enum is ``signed``.

    Compilers before LLVM 15 and pahole before 1.24 did not record the sign of an
    enum. A negative value then reads as a large one.
    """
    if signed and isinstance(enum, Enum) and not enum.signed and value.value >> 31 == 1:
        return value.value - (1 << 32)
    return value.value
