"""Find type candidates, members and enumerators on the kernel's side of CO-RE.

A ``Target`` caches both. It serves any number of objects, as the cache depends
on the kernel's types only.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from structops_cli.btf.btf import Btf
from structops_cli.btf.kernel_types import KernelTypes
from structops_cli.btf.layout import resolve, size_of
from structops_cli.btf.names import essential_name
from structops_cli.btf.types import Array, BtfType, Composite, Enum, Enum64, Enumerator, Member
from structops_cli.core.access import Field, FieldAccess, element_offset, spell_type
from structops_cli.core.compatibility import MAX_NESTING, fields_compatible
from structops_cli.syscall.uapi import BtfKind

_new = tuple.__new__
"""Makes what there is one of for every relocation: the constructor of a NamedTuple takes twice as long."""


class TypeCandidate(NamedTuple):
    """A type of vmlinux or a module with the essential name of a local type."""

    btf: Btf
    id: int


class Slot(NamedTuple):
    """The place of a named member, direct or in an anonymous one. ``last``: the last in its type."""

    type: int
    bit_offset: int
    bit_size: int
    last: bool


class _MemberNames(NamedTuple):
    """The direct members of a composite: named ones by name, and anonymous ones."""

    named: dict[str, Member]
    anonymous: list[Member]


class Target:
    """The cached lookups in one kernel's types."""

    def __init__(self, kernel: KernelTypes) -> None:
        self.kernel = kernel
        self._candidates: dict[tuple[str, BtfKind], tuple[TypeCandidate, ...]] = {}
        self._names: dict[tuple[Btf, int], _MemberNames] = {}
        self._slots: dict[tuple[Btf, int, str], Slot | None] = {}

    def candidates(self, essential: str, kind: BtfKind) -> tuple[TypeCandidate, ...]:
        """Return the types of that name and kind. Modules count only if vmlinux has none."""
        kind = BtfKind.ENUM if kind == BtfKind.ENUM64 else kind
        key = essential, kind
        if key not in self._candidates:
            found = tuple(_of_kind(self.kernel.vmlinux, essential, kind))
            if not found:
                modules = (module.btf for module in self.kernel.modules())
                found = tuple(candidate for btf in modules for candidate in _of_kind(btf, essential, kind))
            self._candidates[key] = found
        return self._candidates[key]

    def member(self, btf: Btf, composite: BtfType, name: str) -> Slot | None:
        """Return the place of a member, direct or in an anonymous one. None if there is none."""
        return self._member(btf, composite, name, MAX_NESTING)

    def _member(self, btf: Btf, composite: BtfType, name: str, depth: int) -> Slot | None:
        key = btf, composite.id, name
        if key not in self._slots:
            # An anonymous member that leads back here finds nothing.
            self._slots[key] = None
            if isinstance(composite, Composite) and depth > 0:
                self._slots[key] = self._find(btf, composite, name, depth - 1)
        return self._slots[key]

    def _find(self, btf: Btf, composite: Composite, name: str, depth: int) -> Slot | None:
        names = self._names.get((btf, composite.id))
        if names is None:
            names = self._names[btf, composite.id] = _names(composite)
        member = names.named.get(name)
        if member is not None:
            _, type_id, bit_offset, bit_size = member
            return _new(Slot, (type_id, bit_offset, bit_size, member is composite.members[-1]))
        for holder in names.anonymous:
            slot = self._member(btf, resolve(btf, holder.type), name, depth)
            if slot is not None:
                return slot._replace(bit_offset=slot.bit_offset + holder.bit_offset)
        return None


def _of_kind(btf: Btf, essential: str, kind: BtfKind) -> Iterator[TypeCandidate]:
    kinds = (BtfKind.ENUM, BtfKind.ENUM64) if kind == BtfKind.ENUM else (kind,)
    return (
        TypeCandidate(btf, type_id) for type_id in btf.candidates(essential) if btf.kind(type_id) in kinds
    )


def _names(composite: Composite) -> _MemberNames:
    return _MemberNames(
        {member.name: member for member in reversed(composite.members) if member.name},
        [member for member in composite.members if not member.name],
    )


class Mismatch(NamedTuple):
    """The reason why a type candidate, or a value, does not fit."""

    why: str


def match_field(local: Btf, path: FieldAccess, target: Target, candidate: TypeCandidate) -> Field | Mismatch:
    """Return the place of the field in a type candidate.

    Members are found by name, in anonymous members too, and need compatible types.
    An element must lie in its array, except in a flexible one at the end.
    """
    if path.tail_bits:
        return Mismatch("the object takes an anonymous member as a whole, and it has no name to search for")
    btf = candidate.btf
    bit_offset = path.first_index * size_of(btf, candidate.id) * 8 if path.first_index else 0
    bit_size = 0
    inside = resolve(btf, candidate.id)
    may_grow = False
    for name, number, wanted in path.steps:
        if name:
            slot = target.member(btf, inside, name)
            if slot is None:
                return Mismatch(f"{spell_type(btf, inside.id)} has no member {name} in {btf.origin}")
            holder, inside = inside, resolve(btf, slot.type)
            if not fields_compatible(local, wanted, btf, inside):
                return Mismatch(
                    _other_type(f"{spell_type(btf, holder.id)}.{name}", local, wanted, btf, inside)
                )
            bit_offset += slot.bit_offset
            bit_size, may_grow = slot.bit_size, slot.last
        elif not isinstance(inside, Array):
            return Mismatch(f"{spell_type(btf, inside.id)} is not an array in {btf.origin}")
        elif number < inside.count or (may_grow and inside.count == 0):
            bit_offset += element_offset(btf, inside, number)
            bit_size, may_grow = 0, False
            inside = resolve(btf, inside.element_type)
        else:
            return Mismatch(f"the array in {btf.origin} has no element {number}: it has {inside.count}")
    return _new(Field, (inside, bit_offset, bit_size))


def match_enumerator(enumerator: Enumerator, candidate: TypeCandidate) -> Enumerator | Mismatch:
    """Return the candidate's enumerator of the same essential name."""
    btf = candidate.btf
    enum = resolve(btf, candidate.id)
    if not isinstance(enum, Enum | Enum64):
        return Mismatch(f"{spell_type(btf, candidate.id)} is not an enum in {btf.origin}")
    wanted = essential_name(enumerator.name)
    for value in enum.values:
        if value.name == wanted or essential_name(value.name) == wanted:
            return value
    return Mismatch(f"{spell_type(btf, candidate.id)} has no value {wanted} in {btf.origin}")


def _other_type(member: str, local: Btf, ours: BtfType, btf: Btf, theirs: BtfType) -> str:
    here, there = spell_type(local, ours.id), spell_type(btf, theirs.id)
    return f"{member} is {there} in {btf.origin}, and {here} in the object"
