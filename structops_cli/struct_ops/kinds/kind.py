"""The shape of what is known of one struct_ops type."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum, IntEnum
from typing import NamedTuple

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

    ``required`` members must be there, and one of each set of ``either``; the kernel
    misses ``required_to_register`` only when it registers a value that it has taken;
    ``optional_before_6_0`` are the functions that old kernels do not require.
    ``name_member`` is the ``char`` array under which users know a registered
    instance, and ``names_listed_in`` where the kernel lists all of them, its
    own included. ``chosen_by_name`` says that sockets (TCP_CONGESTION), network namespaces'
    defaults (net.ipv4.tcp_congestion_control) and routes (RTAX_CC_ALGO) choose an instance by that name, ``chosen_by_devices`` that network devices (TCA_KIND) do.
    ``unrestricted_by`` is the data member, and the bit of it, by which processes without a privilege and other namespaces than
    the initial one may choose it. ``asks_for`` names what has to be there on a machine, and is refused with EINVAL where it is not.
    ``held_by`` says who keeps an unregistered one.
    ``refusals`` has what the subsystem's own ``reg`` answers to a sound value:
    errno to why, and what to do. ``flags`` maps a data member to the names of its bits, which C
    spells with ``flag_prefix``; ``flag_mask`` to the (enum, enumerator) of the
    kernel's BTF that has all bits. ``settable`` are the data members that the
    subsystem takes (None: unknown), and of these ``at_most`` has the largest
    values (beyond: E2BIG, but for ``beyond``, which mean something of their own) and
    ``at_least`` the smallest that are not 0 (below: EINVAL). ``reserved`` must be zero. ``sleepable`` are the
    members whose programs may sleep (None: unknown, or all), and ``sleepable_with`` those
    that may where the struct has another member as well, which came with that.
    ``registers`` is false for a type that exists for test runs only,
    ``replaceable`` for one whose links refuse LINK_UPDATE, ``one_at_a_time``
    true where a second registration is EBUSY. ``ejected_by`` names the module of
    ``runtime/`` that knows which links have outlived what they registered, "" where
    none does. ``wants`` says in a sentence what else the subsystem asks for, where that
    is not in the value's own shape. ``helpers`` may be called beside those that all types may,
    but for ``helpers_not_in``, by member; ``base_helpers`` is false for a type whose programs may call none of those
    so far. ``passed_as`` maps a struct that an argument points to to the one that
    the verifier takes it for. ``proven`` says that the running
    kernel was asked, and not only its source.
    """

    name: str
    required: frozenset[str] = frozenset()
    required_to_register: frozenset[str] = frozenset()
    either: tuple[frozenset[str], ...] = ()
    optional_before_6_0: frozenset[str] | None = None
    unsupported: frozenset[str] = frozenset()
    reserved: frozenset[str] = frozenset()
    settable: frozenset[str] | None = None
    at_most: Mapping[str, int] = {}
    at_least: Mapping[str, int] = {}
    beyond: Mapping[str, frozenset[int]] = {}
    name_member: str = ""
    names_listed_in: str = ""
    chosen_by_name: bool = False
    chosen_by_devices: bool = False
    unrestricted_by: tuple[str, int] = ("", 0)
    asks_for: str = ""
    held_by: str = "user"
    refusals: Mapping[int, tuple[str, str]] = {}
    flags: Mapping[str, type[IntEnum]] = {}
    flag_prefix: str = ""
    flag_mask: Mapping[str, tuple[str, str]] = {}
    sleepable: frozenset[str] | None = None
    sleepable_with: Mapping[str, str] = {}
    registers: bool = True
    replaceable: bool = True
    one_at_a_time: bool = False
    ejected_by: str = ""
    wants: str = ""
    helpers: frozenset[str] = frozenset()
    base_helpers: bool = True
    helpers_not_in: Mapping[str, frozenset[str]] = {}
    passed_as: Mapping[str, str] = {}
    proven: bool = False

    def need(self, member: str) -> Need:
        """Return what the subsystem wants of a member; OPTIONAL when nothing is known."""
        if member in self.required | self.required_to_register:
            return Need.REQUIRED
        if any(member in group for group in self.either):
            return Need.EITHER
        if member in self.unsupported:
            return Need.UNSUPPORTED
        if member in self.reserved:
            return Need.RESERVED
        return Need.OPTIONAL
