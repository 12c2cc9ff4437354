"""Compute sizes and alignments of types on 64-bit targets (System V).

BTF has sizes and member offsets but no alignment. The alignment of a struct
or union follows from its members.
"""

from __future__ import annotations

from structops_cli.btf.btf import Btf
from structops_cli.btf.types import (
    Array,
    BtfType,
    Composite,
    Const,
    Datasec,
    Enum,
    Enum64,
    Float,
    FuncProto,
    Int,
    Member,
    Ptr,
    Restrict,
    Struct,
    Typedef,
    TypeTag,
    Union,
    UnknownKind,
    Var,
    Volatile,
)
from structops_cli.errors import BtfError

POINTER_SIZE = 8
"""Bytes of a pointer, in the kernel and in BPF."""
ENUM64_SIZE = 8
MAX_SIZE = 1 << 32
"""Every type is smaller than this, in bytes: sizes in BTF have 32 bits."""
_MAX_CHAIN = 64
"""The longest chain of typedefs, modifiers and arrays. Compilers make less than ten."""
CUT = "8 bytes in a BTF_KIND_ENUM: its values may be cut to 32 bits"
"""For messages about ``may_be_cut``. pahole --skip_encoding_btf_enum64 writes such enums."""
_NAMED_THROUGH = (Typedef, Volatile, Const, Restrict, TypeTag)


def resolve(btf: Btf, type_id: int) -> BtfType:
    """Return the type behind typedefs, modifiers and type tags.

    Raises BtfError for a chain that does not end.
    """
    known = btf.resolved.get(type_id)
    return known if known is not None else _resolve(btf, type_id)


def _resolve(btf: Btf, type_id: int) -> BtfType:
    target = btf.type(type_id)
    for _ in range(_MAX_CHAIN):
        if not isinstance(target, _NAMED_THROUGH):
            btf.resolved[type_id] = target
            return target
        target = btf.type(target.type)
    raise _endless(btf, type_id)


def innermost(btf: Btf, type_id: int) -> BtfType:
    """Return the resolved type of the elements of nested arrays, or the type itself."""
    target = resolve(btf, type_id)
    for _ in range(_MAX_CHAIN):
        if not isinstance(target, Array):
            return target
        target = resolve(btf, target.element_type)
    raise _endless(btf, type_id)


def size_of(btf: Btf, type_id: int) -> int:
    """Return the size of a type in bytes: 8 for a pointer, 0 for a flexible array.

    Raises BtfError for a type without a size: void, a declared struct, a function.
    """
    count = 1
    target = resolve(btf, type_id)
    for _ in range(_MAX_CHAIN):
        if isinstance(target, Array):
            count *= target.count
            target = resolve(btf, target.element_type)
        elif isinstance(target, Var):
            target = resolve(btf, target.type)
        else:
            return _bounded(btf, type_id, count * _own_size(btf, target))
    raise _endless(btf, type_id)


def _own_size(btf: Btf, target: BtfType) -> int:
    """Return the size of a type that is no typedef, modifier, array or variable."""
    if isinstance(target, Ptr):
        return POINTER_SIZE
    if isinstance(target, Int | Struct | Union | Enum | Enum64 | Float | Datasec):
        return target.size_bytes
    if isinstance(target, UnknownKind):
        what = f"{btf.origin}: the size of type {target.id} is not known"
        raise BtfError(
            what, why=f"it is {target.describe()}", hint="use a newer structops", type_id=target.id
        )
    why = f"it is a {type(target).__name__}"
    raise BtfError(f"{btf.origin}: type {target.id} has no size", why=why, type_id=target.id)


def _bounded(btf: Btf, type_id: int, size: int) -> int:
    if size >= MAX_SIZE:
        why = f"it has {size} bytes"
        raise BtfError(f"{btf.origin}: type {type_id} is too large", why=why, type_id=type_id)
    return size


def align_of(btf: Btf, type_id: int) -> int:
    """Return the alignment of a type in bytes.

    A struct or union has the alignment of its most aligned member, or 1 if
    its offsets or its size show that it is packed.
    """
    return _align(btf, type_id, 0)


def _align(btf: Btf, type_id: int, depth: int) -> int:
    known = btf.alignments.get(type_id)
    if known is None:
        if depth > _MAX_CHAIN:
            raise _endless(btf, type_id)
        known = btf.alignments[type_id] = _derived_align(btf, type_id, depth)
    return known


def _derived_align(btf: Btf, type_id: int, depth: int) -> int:
    target = resolve(btf, type_id)
    if isinstance(target, Array):
        return _align(btf, target.element_type, depth + 1)
    if isinstance(target, Var):
        return _align(btf, target.type, depth + 1)
    if isinstance(target, Struct | Union):
        return _composite_align(btf, target, depth)
    if isinstance(target, Datasec | UnknownKind):
        return 1
    return _power_of_two(_own_size(btf, target))


def _power_of_two(size: int) -> int:
    """Return the alignment of a scalar: the largest power of two in its size, up to 16."""
    return min(size & -size, 16) or 1


def _composite_align(btf: Btf, composite: Composite, depth: int) -> int:
    largest = 1
    for member in composite.members:
        align = _align(btf, member.type, depth + 1)
        if not _is_natural(btf, member, align):
            return 1
        largest = max(largest, align)
    return 1 if composite.size_bytes % largest else largest


def is_packed(btf: Btf, composite: Composite) -> bool:
    """Tell whether natural alignment cannot explain this struct or union."""
    if align_of(btf, composite.id) > 1:
        return False
    return any(align_of(btf, member.type) > 1 for member in composite.members)


def _is_natural(btf: Btf, member: Member, align: int) -> bool:
    """Tell whether a compiler would put the member here without ``packed``.

    A bit-field may begin anywhere but must not cross the end of its storage unit.
    """
    if member.bit_size == 0:
        return member.bit_offset % (align * 8) == 0
    unit = size_of(btf, member.type) * 8
    return member.bit_offset % (align * 8) + member.bit_size <= unit


def may_be_cut(target: BtfType) -> bool:
    """Tell whether an enum may have 64-bit values in 32-bit fields."""
    return isinstance(target, Enum) and target.size_bytes == ENUM64_SIZE


def pointee_proto(btf: Btf, type_id: int) -> FuncProto | None:
    """Return the prototype behind a pointer to a function, None for other types."""
    pointer = resolve(btf, type_id)
    if not isinstance(pointer, Ptr):
        return None
    target = resolve(btf, pointer.type)
    return target if isinstance(target, FuncProto) else None


def _endless(btf: Btf, type_id: int) -> BtfError:
    why = f"its definition has more than {_MAX_CHAIN} steps"
    return BtfError(f"{btf.origin}: type {type_id} is damaged", why=why, type_id=type_id)
