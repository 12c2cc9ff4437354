"""The kernel's side of CO-RE: which types may answer for a local one, and where their members are.

A ``Target`` remembers both. One can serve any number of objects: what it keeps
depends on the kernel's types alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from structops_cli.btf.btf import Btf
from structops_cli.btf.kernel_types import KernelTypes
from structops_cli.btf.layout import resolve
from structops_cli.btf.types import BtfType, Composite, Member
from structops_cli.core.compatibility import MAX_NESTING
from structops_cli.syscall.uapi import BtfKind

__all__ = ["Candidate", "Slot", "Target"]

_new = tuple.__new__
"""Makes what there is one of for every relocation: the constructor of a NamedTuple takes twice as long."""


class Candidate(NamedTuple):
    """A type of the kernel that may answer for a local type; ``btf`` is vmlinux's or a module's."""

    btf: Btf
    id: int


class Slot(NamedTuple):
    """A named member of a composite or of an anonymous one in it; ``last`` in the one it is directly in."""

    type: int
    bit_offset: int
    bit_size: int
    last: bool


class _Names(NamedTuple):
    """The direct members of a composite: the named ones by name, and the others."""

    named: dict[str, Member]
    anonymous: list[Member]


class Target:
    """What of a kernel's types has been looked up so far."""

    def __init__(self, kernel: KernelTypes) -> None:
        self.kernel = kernel
        self._candidates: dict[tuple[str, BtfKind], tuple[Candidate, ...]] = {}
        self._names: dict[tuple[Btf, int], _Names] = {}
        self._slots: dict[tuple[Btf, int, str], Slot | None] = {}

    def candidates(self, essential: str, kind: BtfKind) -> tuple[Candidate, ...]:
        """Return the types of that essential name and kind; modules are asked only when vmlinux has none."""
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
        """Return where a composite has a member of this name, in it or in an anonymous one; None for none."""
        return self._member(btf, composite, name, MAX_NESTING)

    def _member(self, btf: Btf, composite: BtfType, name: str, depth: int) -> Slot | None:
        key = btf, composite.id, name
        if key not in self._slots:
            # for now: an anonymous member that leads back here has nothing to add
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


def _of_kind(btf: Btf, essential: str, kind: BtfKind) -> Iterator[Candidate]:
    kinds = (BtfKind.ENUM, BtfKind.ENUM64) if kind == BtfKind.ENUM else (kind,)
    return (Candidate(btf, type_id) for type_id in btf.candidates(essential) if btf.kind(type_id) in kinds)


def _names(composite: Composite) -> _Names:
    return _Names(
        {member.name: member for member in reversed(composite.members) if member.name},
        [member for member in composite.members if not member.name],
    )
