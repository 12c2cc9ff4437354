"""Check the relocations, helpers, arguments and externs of programs. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple, TypeAlias

from structops_cli.asm.insn import CALL, LD_IMM64, PseudoCall, opcode_at, set_src_reg
from structops_cli.btf.btf import Btf
from structops_cli.core.apply import POISON_BASE, apply_fixups, why_poisoned
from structops_cli.core.externs import EXTERN_POISON_BASE, Externs, apply_externs, poisoned_extern
from structops_cli.core.fixup import Fixup, Relocator
from structops_cli.errors import StructopsError
from structops_cli.obj.link import exception_callback, exception_tags
from structops_cli.obj.sparse_bytes import SparseBytes
from structops_cli.obj.spec import ExternCategory, LinkedProgram, ObjectSpec, RelocationTarget, source_line
from structops_cli.struct_ops.capabilities import has_lazy_globals, helpers_of
from structops_cli.struct_ops.check_arguments import (
    Arguments,
    arguments_of,
    check_arguments,
    pointer_words,
)
from structops_cli.struct_ops.findings import Finding, Severity
from structops_cli.struct_ops.flow import Act, Code, Effect, effects_of
from structops_cli.struct_ops.kinds import kind_of
from structops_cli.struct_ops.plan import Plan, ProgramPlan
from structops_cli.struct_ops.rules.verifier import is_allowed

__all__ = ["Allows", "ProgramReport", "check_program"]

Allows: TypeAlias = Callable[[ProgramPlan, int], "bool | None"]
THROW = "bpf_throw"
"""The kernel function that ends the calling program."""


class ProgramReport(NamedTuple):
    """A checked program; ``poisoned`` counts the relocations without an answer."""

    plan: ProgramPlan
    section: str
    sleepable: bool
    relocations: int
    poisoned: int
    arguments: Arguments
    findings: tuple[Finding, ...]


def check_program(
    spec: ObjectSpec,
    plan: Plan,
    program: ProgramPlan,
    linked: LinkedProgram,
    externs: Externs,
    relocator: Relocator,
    kernel: Btf,
    allows: Allows,
) -> ProgramReport:
    """Check one linked program of a plan, with its known externs.

    ``allows`` asks the kernel whether a program may call a helper, and returns None without an answer.
    """
    function = spec.function(program.name)
    variables = [
        item.variable for item in plan.maps if any(one.program == program.name for one in item.members)
    ]
    arguments = arguments_of(spec, program, variables)
    head = program, function.section, linked.sleepable, len(linked.core_relos)
    try:
        fixups = relocator.fixups(linked.core_relos)
        applied = apply_externs(spec, linked, externs)
        insns = apply_fixups(applied.insns, fixups)
    except StructopsError as error:
        error.add(program=program.name, member=program.member.name)
        return ProgramReport(*head, 0, arguments, (Finding.of_error(error),))
    effects = effects_of(_code(spec, program, linked, applied._replace(insns=insns), externs, kernel))
    findings = [
        *_poisoned(spec, program, linked, fixups, effects),
        *_refused_helpers(spec, program, linked, effects, externs, kernel, allows),
        *check_arguments(spec, program, linked, arguments, effects, kernel),
    ]
    poisoned = sum(bool(fixup.poison) for fixup in fixups)
    return ProgramReport(*head, poisoned, arguments, tuple(findings))


def _code(
    spec: ObjectSpec,
    program: ProgramPlan,
    linked: LinkedProgram,
    applied: LinkedProgram,
    externs: Externs,
    kernel: Btf,
) -> Code:
    sections = (*spec.data, externs.kconfig) if externs.kconfig else spec.data
    constant = {section.name: section.contents for section in sections if section.read_only}
    categories = {one.name: one.category for one in spec.externs}
    insns = bytearray(applied.insns)
    data: dict[int, tuple[SparseBytes | None, int]] = {}
    addresses, unknown = set(), set()
    for item in applied.relocations:
        index = item.insn_index
        if item.target is RelocationTarget.DATA and item.symbol in constant:
            data[index] = constant[item.symbol], item.addend
        elif item.target is RelocationTarget.EXTERN and opcode_at(insns, index) == CALL:
            set_src_reg(insns, index, PseudoCall.KFUNC_CALL)
        elif item.target is RelocationTarget.EXTERN and categories[item.symbol] is ExternCategory.KCONFIG:
            data[index] = None, 0
        elif item.target is RelocationTarget.EXTERN:
            unknown.add(index)
        elif opcode_at(insns, index) == LD_IMM64:
            addresses.add(index)
    return Code(
        bytes(insns),
        data,
        pointer_words(program),
        frozenset(addresses),
        _existing(linked, externs),
        frozenset(unknown),
        **_functions(spec, linked),
        lazy=has_lazy_globals(kernel),
        ends=any(item.symbol == THROW for item in linked.relocations),
    )


def _existing(linked: LinkedProgram, externs: Externs) -> frozenset[int]:
    """Return the loads of addresses of kernel functions that exist (``bpf_ksym_exists``).

    The verifier knows that such an address is not zero (1057d2994596, Linux 6.4).
    """
    there = {
        name
        for name, one in externs.resolved.items()
        if one.extern.category is ExternCategory.FUNCTION and not one.missing
    }
    return frozenset(
        item.insn_index
        for item in linked.relocations
        if item.target is RelocationTarget.EXTERN
        and item.symbol in there
        and opcode_at(linked.insns, item.insn_index) == LD_IMM64
    )


def _functions(spec: ObjectSpec, linked: LinkedProgram) -> dict[str, frozenset[int]]:
    """Return where the global functions begin, and the exception callback among them."""
    begins = {name: start for start, name in linked.functions if start and spec.function(name).is_global}
    main = spec.function(linked.name)
    callback = exception_callback({one.name: one for one in spec.functions}, main, exception_tags(spec.btf))
    called = {begins[callback.name]} if callback and callback.name in begins else set()
    return {"global_functions": frozenset(begins.values()), "callbacks": frozenset(called)}


def _fields(spec: ObjectSpec, program: ProgramPlan, effect: Effect) -> dict[str, object]:
    return {"object": spec.name, "program": program.name, "member": program.member.name, "insn": effect.insn}


def _refusal(
    spec: ObjectSpec,
    program: ProgramPlan,
    linked: LinkedProgram,
    effect: Effect,
    reason: str,
    hint: str,
    *,
    unsure: str = "; it lets it pass only where it can tell that this is never reached",
) -> Finding:
    """Return a finding for a forbidden effect: an error if the verifier surely meets it."""
    line = source_line(spec, linked, effect.insn)
    at = f", at {line}" if line else ""
    words = "refuses" if effect.sure else "may refuse"
    return Finding(
        Severity.ERROR if effect.sure else Severity.UNKNOWN,
        f"the verifier {words} {program.name} (member {program.member.name})",
        f"{reason}{at}{'' if effect.sure else unsure}",
        hint,
        _fields(spec, program, effect),
    )


def _poisoned(
    spec: ObjectSpec,
    program: ProgramPlan,
    linked: LinkedProgram,
    fixups: Sequence[Fixup],
    effects: Sequence[Effect],
) -> Iterator[Finding]:
    for effect in _first_of_each(Act.POISON, effects):
        if effect.number < len(fixups):
            why = why_poisoned(fixups[effect.number])
            reason = f"it reaches a CO-RE relocation that this kernel cannot satisfy: {why}"
            yield _refusal(
                spec, program, linked, effect, reason, "ask first: bpf_core_field_exists() and its like"
            )


def _refused_helpers(
    spec: ObjectSpec,
    program: ProgramPlan,
    linked: LinkedProgram,
    effects: Sequence[Effect],
    externs: Externs,
    kernel: Btf,
    allows: Allows,
) -> Iterator[Finding]:
    known = helpers_of(kernel)
    for effect in _first_of_each(Act.HELPER, effects):
        if EXTERN_POISON_BASE <= effect.number < POISON_BASE:
            name = poisoned_extern(spec, effect.number)
            reason = f"it calls {name}, {externs.resolved[name].absence()}"
            yield _refusal(spec, program, linked, effect, reason, "ask first: bpf_ksym_exists()")
        elif known and effect.number not in known:
            reason = f"it calls helper {effect.number}, and the last that this kernel has is {max(known)}"
            yield _refusal(spec, program, linked, effect, reason, "ask first: bpf_core_enum_value_exists()")
        elif known:
            yield from _disallowed(spec, program, linked, effect, known[effect.number], allows)


def _disallowed(
    spec: ObjectSpec, program: ProgramPlan, linked: LinkedProgram, effect: Effect, name: str, allows: Allows
) -> Iterator[Finding]:
    helper = name.removeprefix("BPF_FUNC_")
    allowed = is_allowed(kind_of(program.type.name), program.member.name, helper)
    if allowed is None:
        allowed = allows(program, effect.number)
    if allowed:
        return
    who = f"a program of {program.member.name} of {program.type.name}"
    if allowed is False:
        reason = f"it calls bpf_{helper}, which {who} may not"
        yield _refusal(spec, program, linked, effect, reason, "do without it")
    else:
        reason = f"it calls bpf_{helper}, and whether {who} may is unknown here"
        hint = "ask the kernel: check as root on the machine that runs it"
        yield _refusal(spec, program, linked, effect._replace(sure=False), reason, hint, unsure="")


def _first_of_each(act: Act, effects: Sequence[Effect]) -> Iterator[Effect]:
    """Yield the first effect of each number, the sure effects before the others."""
    told: set[int] = set()
    for effect in sorted(effects, key=lambda effect: (not effect.sure, effect.insn)):
        if effect.act is act and effect.number not in told:
            told.add(effect.number)
            yield effect
