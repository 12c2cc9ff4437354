"""The knowledge of one struct_ops type that BTF does not hold, in five groups of fields."""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum, StrEnum
from typing import NamedTuple


def words(text: str) -> frozenset[str]:
    """Return the words of a text."""
    return frozenset(text.split())


class Need(StrEnum):
    """The subsystem's demand on a member."""

    REQUIRED = "required"
    EITHER = "one of"
    OPTIONAL = "optional"
    UNSUPPORTED = "unsupported"
    """No program may implement it."""
    RESERVED = "reserved"
    """A data member that the kernel fills: it must be zero."""


class MemberRules(NamedTuple):
    """The members that a value must have, may have, and must leave zero."""

    required: frozenset[str] = frozenset()
    required_to_register: frozenset[str] = frozenset()
    """An update accepts a value without these; its registration fails."""
    either: tuple[frozenset[str], ...] = ()
    """Of each set one member must have a program."""
    optional_before_6_0: frozenset[str] | None = None
    """The functions that kernels before 6.0 do not require. None: those kernels require none."""
    unsupported: frozenset[str] = frozenset()
    reserved: frozenset[str] = frozenset()

    def need(self, member: str) -> Need:
        """Return the demand on a member; OPTIONAL when no field names it."""
        if member in self.required | self.required_to_register:
            return Need.REQUIRED
        if any(member in group for group in self.either):
            return Need.EITHER
        if member in self.unsupported:
            return Need.UNSUPPORTED
        return Need.RESERVED if member in self.reserved else Need.OPTIONAL


class DataRules(NamedTuple):
    """The data members that the subsystem accepts, and their values."""

    settable: frozenset[str] | None = None
    """None: unknown."""
    at_most: Mapping[str, int] = {}
    """The largest value of a member; a larger one is E2BIG, unless ``beyond`` has it."""
    at_least: Mapping[str, int] = {}
    """The smallest value besides 0; a smaller one is EINVAL."""
    beyond: Mapping[str, frozenset[int]] = {}
    flags: Mapping[str, type[IntEnum]] = {}
    """The names of the bits of a member."""
    flag_prefix: str = ""
    """The beginning of these names in C."""
    flag_mask: Mapping[str, tuple[str, str]] = {}
    """The enum and the enumerator of the kernel's BTF that has all bits of a member."""


class Naming(NamedTuple):
    """The names of instances, and who chooses an instance by its name."""

    member: str | None = None
    """The ``char`` array with the name; None: instances have no names."""
    listed_in: str | None = None
    """The file or sysctl that lists all names, those of the kernel's own instances included."""
    chosen_by_name: bool = False
    """Sockets (TCP_CONGESTION), sysctls (net.ipv4.tcp_congestion_control) and routes (RTAX_CC_ALGO) choose one."""
    chosen_by_devices: bool = False
    """Network devices choose one (TCA_KIND)."""
    unrestricted_by: tuple[str, int] | None = None
    """The data member and its bit that open an instance to unprivileged processes and other namespaces."""


class RegistrationRules(NamedTuple):
    """The subsystem's ``reg``, ``update`` and ``unreg``."""

    registers: bool = True
    """False: the type exists for test runs only."""
    replaceable: bool = True
    """False: LINK_UPDATE is refused."""
    one_at_a_time: bool = False
    """True: a second registration is EBUSY."""
    refusals: Mapping[int, tuple[str, str]] = {}
    """The errnos of ``reg`` for a sound value: each with its cause and its remedy."""
    held_by: str = "user"
    """The holder of an unregistered instance."""
    asks_for: str | None = None
    """The thing that must exist on a machine; ``reg`` answers EINVAL without it."""
    wants: str | None = None
    """A demand, in a sentence, that the shape of the value does not show."""


class ProgramRules(NamedTuple):
    """The verifier's rules for programs of the type, as far as the subsystem sets them."""

    sleepable: frozenset[str] | None = None
    """The members whose programs may sleep. None: unknown, or all."""
    sleepable_with: Mapping[str, str] = {}
    """Members whose programs may sleep in kernels whose struct has another member as well."""
    helpers: frozenset[str] = frozenset()
    """Helpers besides those of every type."""
    base_helpers: bool = True
    """False: programs may not even call the helpers of every type."""
    helpers_not_in: Mapping[str, frozenset[str]] = {}
    """Exceptions from ``helpers``, by member."""
    passed_as: Mapping[str, str] = {}
    """The struct of an argument, and the larger struct that the verifier takes it for."""


class Kind(NamedTuple):
    """One struct_ops type. ``proven``: a running kernel confirmed the rules."""

    name: str
    members: MemberRules = MemberRules()
    data: DataRules = DataRules()
    naming: Naming = Naming()
    registration: RegistrationRules = RegistrationRules()
    programs: ProgramRules = ProgramRules()
    proven: bool = False

    def need(self, member: str) -> Need:
        """Return the subsystem's demand on a member."""
        return self.members.need(member)
