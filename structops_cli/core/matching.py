"""Follow what a local access means in a candidate of the kernel: by names, and by numbers of elements."""

from __future__ import annotations

from typing import NamedTuple

from structops_cli.btf.btf import Btf
from structops_cli.btf.layout import resolve, size_of
from structops_cli.btf.names import essential_name
from structops_cli.btf.types import Array, BtfType, Enum, Enum64, Enumerator
from structops_cli.core.access import Field, FieldAccess, element_offset, spell_type
from structops_cli.core.compatibility import fields_compatible
from structops_cli.core.target import Candidate, Target

__all__ = ["Mismatch", "match_enumerator", "match_field"]

_new = tuple.__new__
"""Makes what there is one of for every relocation: the constructor of a NamedTuple takes twice as long."""


class Mismatch(NamedTuple):
    """A candidate cannot answer; ``why`` is a sentence without its full stop."""

    why: str


def match_field(local: Btf, path: FieldAccess, target: Target, candidate: Candidate) -> Field | Mismatch:
    """Return where the field that ``path`` means is in the candidate.

    Members are found by name, in anonymous members too, and their types must
    be compatible; an element must be within its array, unless that is a
    flexible one at the end of its struct.
    """
    if path.tail_bits:
        return Mismatch("the object takes an anonymous member as a whole, and that has no name to look for")
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
            return Mismatch(f"{spell_type(btf, inside.id)} is no array in {btf.origin}")
        elif number < inside.count or (may_grow and inside.count == 0):
            bit_offset += element_offset(btf, inside, number)
            bit_size, may_grow = 0, False
            inside = resolve(btf, inside.element_type)
        else:
            return Mismatch(f"the array has no element {number} in {btf.origin}, only {inside.count}")
    return _new(Field, (inside, bit_offset, bit_size))


def match_enumerator(enumerator: Enumerator, candidate: Candidate) -> Enumerator | Mismatch:
    """Return the candidate's enumerator of the same essential name."""
    btf = candidate.btf
    enum = resolve(btf, candidate.id)
    if not isinstance(enum, Enum | Enum64):
        return Mismatch(f"{spell_type(btf, candidate.id)} is no enum in {btf.origin}")
    wanted = essential_name(enumerator.name)
    for value in enum.values:
        if value.name == wanted or essential_name(value.name) == wanted:
            return value
    return Mismatch(f"{spell_type(btf, candidate.id)} has no value {wanted} in {btf.origin}")


def _other_type(member: str, local: Btf, ours: BtfType, btf: Btf, theirs: BtfType) -> str:
    here, there = spell_type(local, ours.id), spell_type(btf, theirs.id)
    return f"{member} is {there} in {btf.origin}, and {here} in the object"
