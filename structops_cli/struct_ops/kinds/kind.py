"""The shape of what is known of one struct_ops type."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum

from structops_cli.records import IntEnum, NamedTuple

__all__ = ["Kind", "Need"]


class Need(Enum):
    """What a subsystem wants of a member."""

    REQUIRED = "required"
    EITHER = "one of"
    OPTIONAL = "optional"
    UNSUPPORTED = "unsupported"
    """No program may implement it."""
    RESERVED = "reserved"
    """A data member that the kernel fills itself: it must be zero."""


class Kind(NamedTuple):
    """One struct_ops type's own rules.

    ``required`` members must be there, and one of each set of ``either``.
    ``name_member`` is the ``char`` array under which users know a registered
    instance, ``name_pattern`` the regular expression of what it may hold, and
    ``names_listed_in`` where the kernel lists all of them, its own included.
    ``flags`` maps a data member to the names of its bits, which C spells with
    ``flag_prefix``.
    ``settable`` are the data members that the subsystem takes (None: unknown).
    ``registers`` is false for a type that exists for test runs only.
    """

    name: str
    required: frozenset[str] = frozenset()
    either: tuple[frozenset[str], ...] = ()
    unsupported: frozenset[str] = frozenset()
    reserved: frozenset[str] = frozenset()
    settable: frozenset[str] | None = None
    name_member: str = ""
    name_pattern: str = ""
    names_listed_in: str = ""
    flags: Mapping[str, type[IntEnum]] = {}
    flag_prefix: str = ""
    registers: bool = True

    def need(self, member: str) -> Need:
        """Return what the subsystem wants of a member; OPTIONAL when nothing is known."""
        if member in self.required:
            return Need.REQUIRED
        if any(member in group for group in self.either):
            return Need.EITHER
        if member in self.unsupported:
            return Need.UNSUPPORTED
        if member in self.reserved:
            return Need.RESERVED
        return Need.OPTIONAL
