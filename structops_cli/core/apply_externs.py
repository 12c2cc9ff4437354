"""Write what externs are on a kernel into the instructions of a program.

A missing kernel function that is called becomes a call of a helper that no
kernel has. The verifier removes what it proves dead before it looks, so a
program that tests first (``bpf_ksym_exists``) loads; one that does not is
refused with ``invalid func unknown#N``, and N says which extern it was.
"""

from __future__ import annotations

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
from structops_cli.core.externs import Externs, Resolved
from structops_cli.obj.kconfig import KCONFIG
from structops_cli.obj.spec import ExternKind, LinkedProgram, ObjectSpec, Relocation, RelocationTarget

__all__ = ["EXTERN_POISON_BASE", "apply_externs", "poisoned_extern"]

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
        if resolved.extern.kind is ExternKind.KCONFIG:
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
    order = sorted(spec.externs, key=lambda one: (one.kind is not ExternKind.KCONFIG, one.name))
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
    is_function = resolved.extern.kind is ExternKind.FUNCTION
    return is_function and not resolved.missing and not externs.loads_functions


def _load(insns: bytearray, index: int, resolved: Resolved, externs: Externs) -> None:
    """Fill in a 64-bit load: an address as it is, a type by its id; a missing one is 0."""
    if _stands_for_itself(resolved, externs):
        set_imm64(insns, index, THERE, 0)
        set_src_reg(insns, index, 0)
        return
    set_imm64(insns, index, resolved.number, resolved.number >> 32)
    by_id = resolved.extern.kind is not ExternKind.ADDRESS and not resolved.missing
    set_src_reg(insns, index, PseudoSrc.BTF_ID if by_id else 0)
