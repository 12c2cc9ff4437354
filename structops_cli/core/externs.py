"""What an object leaves to the kernel, what must be known of a kernel to find it, and what was found. Values only.

``facts_needed`` says what the kernel's types cannot tell, ``resolve_externs``
takes the answers and finds everything, ``apply_externs`` writes it into instructions.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from structops_cli.obj.spec import (
    DataSection,
    Extern,
    ExternKind,
    LinkedProgram,
    ObjectSpec,
    RelocationTarget,
)

__all__ = [
    "OPTION",
    "VERSION",
    "Externs",
    "FactsNeeded",
    "KernelFacts",
    "Resolved",
    "Use",
    "facts_needed",
    "uses_of",
]

OPTION = "CONFIG_"
"""What the name of a variable begins with that is an option of the kernel's configuration."""
VERSION = "LINUX_KERNEL_VERSION"


class FactsNeeded(NamedTuple):
    """What must be known of a kernel beside its types: addresses of symbols, options, and its version."""

    symbols: frozenset[str]
    options: frozenset[str]
    version: bool


class KernelFacts(NamedTuple):
    """What a kernel says of itself beside its types.

    ``symbols`` has the addresses of each name, ``options`` the text behind
    ``CONFIG_X=``, "" for one that is known not to be set. ``sought`` are the places where the configuration was looked
    for, and ``found`` the one where it was, "" for none. ``version`` is a ``KERNEL_VERSION``, 0 for unknown.
    ``whole`` says that the kernel itself was asked: what it does not show is not there. Of a kernel that is
    known by files alone, that is unknown.
    """

    symbols: Mapping[str, tuple[int, ...]] = {}
    options: Mapping[str, str] = {}
    sought: tuple[str, ...] = ()
    found: str = ""
    version: int = 0
    whole: bool = True


class Resolved(NamedTuple):
    """What an extern is on a kernel.

    ``number`` is the id of a type (of ``module``, "" for vmlinux), an address,
    or the offset of a variable in ``.kconfig``; 0 when ``missing`` says why
    the kernel has none. ``differs`` tells that it has a function of that name, and of
    another prototype.
    """

    extern: Extern
    number: int
    module: str
    missing: str
    differs: bool = False

    def absence(self) -> str:
        """Return why the kernel's is not used: a clause that follows the name."""
        if self.differs:
            return f"which this kernel has with another prototype ({self.missing})"
        return f"which this kernel does not have ({self.missing})"


class Externs(NamedTuple):
    """The externs that an object's programs use.

    ``kconfig`` is the section of configuration variables, None for none.
    ``modules`` are those whose functions are called; a call names one by its place here, from 1.
    ``loads_functions`` tells whether a program may load the address of a function.
    ``unknown`` are the names of those whose value nobody knows.
    """

    resolved: Mapping[str, Resolved]
    kconfig: DataSection | None
    modules: tuple[str, ...]
    loads_functions: bool = True
    unknown: tuple[str, ...] = ()

    def missing(self) -> tuple[Resolved, ...]:
        """Return those that the kernel lacks."""
        return tuple(one for one in self.resolved.values() if one.missing)


class Use(NamedTuple):
    """The first place where an extern is used."""

    extern: Extern
    program: LinkedProgram
    insn_index: int


def facts_needed(spec: ObjectSpec, programs: Iterable[LinkedProgram]) -> FactsNeeded:
    """Return what ``resolve_externs`` must be told for these programs: all that is used, and nothing else."""
    externs = [use.extern for use in uses_of(spec, programs)]
    names = [one.name for one in externs if one.kind is ExternKind.KCONFIG]
    return FactsNeeded(
        frozenset(one.name for one in externs if one.kind is ExternKind.ADDRESS),
        frozenset(name for name in names if name.startswith(OPTION)),
        VERSION in names,
    )


def uses_of(spec: ObjectSpec, programs: Iterable[LinkedProgram]) -> list[Use]:
    """Return the first use of each extern, in the order of the object's symbols."""
    externs = {extern.name: extern for extern in spec.externs}
    uses: dict[str, Use] = {}
    for program in programs:
        for item in program.relocations:
            if item.target is RelocationTarget.EXTERN and item.symbol not in uses:
                uses[item.symbol] = Use(externs[item.symbol], program, item.insn_index)
    return [uses[name] for name in externs if name in uses]
