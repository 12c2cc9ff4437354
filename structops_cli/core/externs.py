"""Define resolved externs, and write them into the instructions of a program.

``facts_needed`` names the facts that types cannot tell, ``resolve_externs``
finds every extern, ``apply_externs`` writes it into instructions.

A call of a missing function becomes a call of a helper that no kernel has. The
verifier first removes dead code. So a program that tests with ``bpf_ksym_exists``
loads; another is refused with ``invalid func unknown#N``, where N identifies
the extern.
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

OPTION = "CONFIG_"
"""The prefix of variables that are options of the kernel's configuration."""
VERSION = "LINUX_KERNEL_VERSION"


class FactsNeeded(NamedTuple):
    """The facts about a kernel that its types lack."""

    symbols: frozenset[str]
    options: frozenset[str]
    version: bool


class KernelFacts(NamedTuple):
    """The facts about a kernel that its types lack.

    ``symbols`` has all addresses of a name. ``options`` has the text behind
    ``CONFIG_X=``, "" for an option that is not set. ``sought`` are the searched
    places of the configuration, ``found`` the one that has it. ``version`` is a
    ``KERNEL_VERSION``. ``whole`` is true for the running kernel, which shows all
    it has, and false for a kernel known by files only.
    """

    symbols: Mapping[str, tuple[int, ...]] = {}
    options: Mapping[str, str] = {}
    sought: tuple[str, ...] = ()
    found: str | None = None
    version: int | None = None
    whole: bool = True


class Resolved(NamedTuple):
    """The counterpart of an extern on a kernel.

    ``number`` is a type id (of ``module``, None for vmlinux), an address, or an
    offset in ``.kconfig``. It is 0 if ``missing`` holds the reason for its
    absence. ``differs``: the kernel has that function with another prototype.
    """

    extern: Extern
    number: int
    module: str | None = None
    missing: str | None = None
    differs: bool = False

    def absence(self) -> str:
        """Return why the kernel's function is not used, as a clause behind the name."""
        if self.differs:
            return f"which this kernel has with another prototype ({self.missing})"
        return f"which this kernel does not have ({self.missing})"


class Externs(NamedTuple):
    """The externs that an object's programs use.

    ``modules`` are those with called functions; a call names one by its place,
    from 1. ``loads_functions``: a program may load the address of a function.
    ``unknown`` are the externs without a known value.
    """

    resolved: Mapping[str, Resolved]
    kconfig: DataSection | None
    modules: tuple[str, ...]
    loads_functions: bool = True
    unknown: tuple[str, ...] = ()

    def missing(self) -> tuple[Resolved, ...]:
        """Return the externs that the kernel lacks."""
        return tuple(one for one in self.resolved.values() if one.missing)


class ExternReference(NamedTuple):
    """The first reference of a program to an extern."""

    extern: Extern
    program: LinkedProgram
    insn_index: int


def facts_needed(spec: ObjectSpec, programs: Iterable[LinkedProgram]) -> FactsNeeded:
    """Return the facts that ``resolve_externs`` needs for these programs."""
    externs = [use.extern for use in extern_references(spec, programs)]
    names = [one.name for one in externs if one.category is ExternCategory.KCONFIG]
    return FactsNeeded(
        frozenset(one.name for one in externs if one.category is ExternCategory.ADDRESS),
        frozenset(name for name in names if name.startswith(OPTION)),
        VERSION in names,
    )


def extern_references(spec: ObjectSpec, programs: Iterable[LinkedProgram]) -> list[ExternReference]:
    """Return the first reference to each extern, in the order of the object's symbols."""
    externs = {extern.name: extern for extern in spec.externs}
    uses: dict[str, ExternReference] = {}
    for program in programs:
        for item in program.relocations:
            if item.target is RelocationTarget.EXTERN and item.symbol not in uses:
                uses[item.symbol] = ExternReference(externs[item.symbol], program, item.insn_index)
    return [uses[name] for name in externs if name in uses]


EXTERN_POISON_BASE = 2_002_000_000
"""A poisoned call has EXTERN_POISON_BASE + the extern's place in the object.

The numbers end below ``core.apply.POISON_BASE``, far beyond the largest object.
"""

THERE = 1
"""Stands for the address of a function before 6.4 (``check_pseudo_btf_id``)."""


def apply_externs(spec: ObjectSpec, program: LinkedProgram, externs: Externs) -> LinkedProgram:
    """Return the program with every extern filled in that needs no fd.

    The remaining ``relocations`` are configuration (as data of ``.kconfig``),
    loads of something in a module (as ``RelocationTarget.MODULE``), and
    externs that were not resolved.
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
    """Return the name of the extern that poisoned a call, "" for other calls."""
    number = call_imm - EXTERN_POISON_BASE
    return _in_order(spec)[number] if 0 <= number < len(spec.externs) else ""


def _in_order(spec: ObjectSpec) -> list[str]:
    """Return the externs' names in libbpf's order, on which a program's tag depends."""
    order = sorted(spec.externs, key=lambda one: (one.category is not ExternCategory.KCONFIG, one.name))
    return [extern.name for extern in order]


def _kconfig_offset(externs: Externs, name: str) -> int:
    """Return the offset of a configuration variable. A missing one is there, and zero."""
    assert externs.kconfig is not None
    return next(one.offset_bytes for one in externs.kconfig.variables if one.name == name)


def _call(resolved: Resolved, externs: Externs, number: int) -> Insn:
    if resolved.missing:
        return Insn(CALL, 0, PseudoCall.HELPER, 0, EXTERN_POISON_BASE + number)
    place = externs.modules.index(resolved.module) + 1 if resolved.module else 0
    return Insn(CALL, 0, PseudoCall.KFUNC_CALL, place, resolved.number)


def _stands_for_itself(resolved: Resolved, externs: Externs) -> bool:
    """Tell whether a function's address is replaced by ``THERE``."""
    is_function = resolved.extern.category is ExternCategory.FUNCTION
    return is_function and not resolved.missing and not externs.loads_functions


def _load(insns: bytearray, index: int, resolved: Resolved, externs: Externs) -> None:
    """Fill in a 64-bit load: an address, a type id, or 0 for a missing extern."""
    if _stands_for_itself(resolved, externs):
        set_imm64(insns, index, THERE, 0)
        set_src_reg(insns, index, 0)
        return
    set_imm64(insns, index, resolved.number, resolved.number >> 32)
    by_id = resolved.extern.category is not ExternCategory.ADDRESS and not resolved.missing
    set_src_reg(insns, index, PseudoSrc.BTF_ID if by_id else 0)
