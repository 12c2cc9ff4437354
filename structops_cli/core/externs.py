"""What an object leaves to the kernel, what must be known of a kernel to find it, and what was found. Values only.

``facts_needed`` says what the kernel's types cannot tell, ``resolve_externs``
takes the answers and finds everything, ``apply_externs`` writes it into instructions.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from structops_cli.asm.insn import (
    CALL,
    Insn,
    PseudoCall,
    PseudoSrc,
    opcode_at,
    put_insn,
    set_imm64,
    set_src_reg,
)
from structops_cli.obj.sections import KCONFIG
from structops_cli.obj.spec import (
    DataSection,
    Extern,
    ExternCategory,
    LinkedProgram,
    ObjectSpec,
    Relocation,
    RelocationTarget,
)

__all__ = [
    "EXTERN_POISON_BASE",
    "OPTION",
    "VERSION",
    "ExternReference",
    "Externs",
    "FactsNeeded",
    "KernelFacts",
    "Resolved",
    "apply_externs",
    "extern_references",
    "facts_needed",
    "poisoned_extern",
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


class ExternReference(NamedTuple):
    """The first place where an extern is used."""

    extern: Extern
    program: LinkedProgram
    insn_index: int


def facts_needed(spec: ObjectSpec, programs: Iterable[LinkedProgram]) -> FactsNeeded:
    """Return what ``resolve_externs`` must be told for these programs: all that is used, and nothing else."""
    externs = [use.extern for use in extern_references(spec, programs)]
    names = [one.name for one in externs if one.category is ExternCategory.KCONFIG]
    return FactsNeeded(
        frozenset(one.name for one in externs if one.category is ExternCategory.ADDRESS),
        frozenset(name for name in names if name.startswith(OPTION)),
        VERSION in names,
    )


def extern_references(spec: ObjectSpec, programs: Iterable[LinkedProgram]) -> list[ExternReference]:
    """Return the first use of each extern, in the order of the object's symbols."""
    externs = {extern.name: extern for extern in spec.externs}
    uses: dict[str, ExternReference] = {}
    for program in programs:
        for item in program.relocations:
            if item.target is RelocationTarget.EXTERN and item.symbol not in uses:
                uses[item.symbol] = ExternReference(externs[item.symbol], program, item.insn_index)
    return [uses[name] for name in externs if name in uses]


EXTERN_POISON_BASE = 2_002_000_000
"""A poisoned call's number is this plus the place of the extern among those of the object: readable in decimal.

There is room up to ``core.apply.POISON_BASE``, for more symbols than the largest object has.
"""

THERE = 1
"""What is loaded for a function that is there, where its address cannot be (before 6.4: ``check_pseudo_btf_id``)."""


def apply_externs(spec: ObjectSpec, program: LinkedProgram, externs: Externs) -> LinkedProgram:
    """Return the program with every extern filled in that needs no fd.

    What is left in ``relocations``: configuration, now as data of ``.kconfig``,
    loads of something of a module, as ``RelocationTarget.MODULE``, and externs that were not resolved, as they are.
    """
    insns = bytearray(program.insns)
    numbers = {name: number for number, name in enumerate(_in_order(spec))}
    left: list[Relocation] = []
    for item in program.relocations:
        resolved = externs.resolved.get(item.symbol) if item.target is RelocationTarget.EXTERN else None
        if resolved is None:
            left.append(item)
            continue
        index = item.insn_index
        if resolved.extern.category is ExternCategory.KCONFIG:
            offset = _kconfig_offset(externs, item.symbol)
            left.append(Relocation(index, RelocationTarget.DATA, KCONFIG, offset))
        elif opcode_at(insns, index) == CALL:
            put_insn(insns, index, _call(resolved, externs, numbers[item.symbol]))
        else:
            _load(insns, index, resolved, externs)
            if resolved.module and not _stands_for_itself(resolved, externs):
                left.append(Relocation(index, RelocationTarget.MODULE, resolved.module, resolved.number))
    return program._replace(insns=bytes(insns), relocations=tuple(left))


def poisoned_extern(spec: ObjectSpec, call_imm: int) -> str:
    """Return the name of the extern that a poisoned call stands for, from the helper number in it; "" for others."""
    number = call_imm - EXTERN_POISON_BASE
    return _in_order(spec)[number] if 0 <= number < len(spec.externs) else ""


def _in_order(spec: ObjectSpec) -> list[str]:
    """Return the externs' names, configuration first, in libbpf's order: a program's tag is made of these numbers too."""
    order = sorted(spec.externs, key=lambda one: (one.category is not ExternCategory.KCONFIG, one.name))
    return [extern.name for extern in order]


def _kconfig_offset(externs: Externs, name: str) -> int:
    """Return where a variable lies; a missing one is there too, and zero."""
    assert externs.kconfig is not None
    return next(one.offset_bytes for one in externs.kconfig.variables if one.name == name)


def _call(resolved: Resolved, externs: Externs, number: int) -> Insn:
    if resolved.missing:
        return Insn(CALL, 0, PseudoCall.HELPER, 0, EXTERN_POISON_BASE + number)
    place = externs.modules.index(resolved.module) + 1 if resolved.module else 0
    return Insn(CALL, 0, PseudoCall.KFUNC_CALL, place, resolved.number)


def _stands_for_itself(resolved: Resolved, externs: Externs) -> bool:
    """Tell whether what is loaded is a function on a kernel that takes variables only: it can but be tested."""
    is_function = resolved.extern.category is ExternCategory.FUNCTION
    return is_function and not resolved.missing and not externs.loads_functions


def _load(insns: bytearray, index: int, resolved: Resolved, externs: Externs) -> None:
    """Fill in a 64-bit load: an address as it is, a type by its id; a missing one is 0."""
    if _stands_for_itself(resolved, externs):
        set_imm64(insns, index, THERE, 0)
        set_src_reg(insns, index, 0)
        return
    set_imm64(insns, index, resolved.number, resolved.number >> 32)
    by_id = resolved.extern.category is not ExternCategory.ADDRESS and not resolved.missing
    set_src_reg(insns, index, PseudoSrc.BTF_ID if by_id else 0)
