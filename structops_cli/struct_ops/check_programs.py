"""Check programs against a kernel without its verifier: relocations, helpers, arguments, externs, licence. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from structops_cli.btf.btf import Btf
from structops_cli.btf.types import Enum, Enum64
from structops_cli.core.apply import POISON_BASE, apply_fixups, why_poisoned
from structops_cli.core.apply_externs import EXTERN_POISON_BASE, poisoned_extern
from structops_cli.core.fixup import Fixup, Relocator
from structops_cli.errors import StructopsError
from structops_cli.obj.insn import LD_IMM64, opcode
from structops_cli.obj.lines import source_line
from structops_cli.obj.spec import LinkedProgram, ObjectSpec, RelocationTarget
from structops_cli.records import NamedTuple
from structops_cli.struct_ops.check_arguments import (
    Arguments,
    arguments_of,
    check_arguments,
    pointer_words,
)
from structops_cli.struct_ops.findings import Finding, Severity
from structops_cli.struct_ops.flow import Code, Use, uses_of
from structops_cli.struct_ops.plan import Plan, ProgramPlan
from structops_cli.syscall.uapi import BtfKind

__all__ = ["ProgramReport", "check_program"]

HELPERS = "bpf_func_id"


class ProgramReport(NamedTuple):
    """A program as checked. ``poisoned`` counts relocations without an answer, ``arguments`` are None where unknown."""

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
    relocator: Relocator,
    kernel: Btf,
) -> ProgramReport:
    """Check one program of a plan, linked and with its externs filled in as far as they are known."""
    function = spec.function(program.name)
    variables = [
        item.variable for item in plan.maps if any(one.program == program.name for one in item.members)
    ]
    arguments = arguments_of(spec, program, variables)
    head = program, function.section, linked.sleepable, len(linked.core_relos)
    try:
        fixups = relocator.fixups(linked.core_relos)
        insns = apply_fixups(linked.insns, fixups)
    except StructopsError as error:
        error.add(program=program.name, member=program.member.name)
        return ProgramReport(*head, 0, arguments, (Finding.of_error(error),))
    uses = uses_of(_code(spec, program, linked, insns))
    findings = [
        *_poisoned(spec, program, linked, fixups, uses),
        *_unknown_helpers(spec, program, linked, uses, kernel),
        *check_arguments(spec, program, linked, arguments, uses),
    ]
    poisoned = sum(bool(fixup.poison) for fixup in fixups)
    return ProgramReport(*head, poisoned, arguments, tuple(findings))


def _code(spec: ObjectSpec, program: ProgramPlan, linked: LinkedProgram, insns: bytes) -> Code:
    constant = {section.name: section.contents for section in spec.data if section.read_only}
    data, pointers = {}, set()
    for item in linked.relocations:
        if item.target is RelocationTarget.DATA and item.symbol in constant:
            data[item.insn_index] = constant[item.symbol], item.addend
        elif opcode(insns, item.insn_index) == LD_IMM64:
            pointers.add(item.insn_index)
    globals_at = tuple(start for start, name in linked.functions if start and _is_global(spec, name))
    return Code(insns, data, globals_at, pointer_words(program), frozenset(pointers))


def _is_global(spec: ObjectSpec, name: str) -> bool:
    return spec.function(name).is_global


def _fields(spec: ObjectSpec, program: ProgramPlan, use: Use) -> dict[str, object]:
    return {"object": spec.name, "program": program.name, "member": program.member.name, "insn": use.insn}


def _refusal(
    spec: ObjectSpec, program: ProgramPlan, linked: LinkedProgram, use: Use, reason: str, hint: str
) -> Finding:
    """Return what a use means that no verifier lets pass: an error where it is sure to come to it."""
    line = source_line(spec, linked, use.insn)
    at = f", at {line}" if line else ""
    words = "refuses" if use.sure else "may refuse"
    unsure = "" if use.sure else "; it lets it pass only where it can tell that this is never reached"
    return Finding(
        Severity.ERROR if use.sure else Severity.WARNING,
        f"the verifier {words} {program.name} (member {program.member.name})",
        f"{reason}{at}{unsure}",
        hint,
        _fields(spec, program, use),
    )


def _poisoned(
    spec: ObjectSpec,
    program: ProgramPlan,
    linked: LinkedProgram,
    fixups: Sequence[Fixup],
    uses: Sequence[Use],
) -> Iterator[Finding]:
    for use in _first_of_each("poison", uses):
        if use.number < len(fixups):
            why = why_poisoned(fixups[use.number])
            reason = f"it reaches a CO-RE relocation that this kernel cannot satisfy: {why}"
            yield _refusal(
                spec, program, linked, use, reason, "ask first: bpf_core_field_exists() and its like"
            )


def _unknown_helpers(
    spec: ObjectSpec, program: ProgramPlan, linked: LinkedProgram, uses: Sequence[Use], kernel: Btf
) -> Iterator[Finding]:
    known = _helpers(kernel)
    for use in _first_of_each("helper", uses):
        if EXTERN_POISON_BASE <= use.number < POISON_BASE:
            name = poisoned_extern(spec, use.number)
            reason = f"it calls {name}, which this kernel does not have"
            yield _refusal(spec, program, linked, use, reason, "ask first: bpf_ksym_exists()")
        elif known and use.number not in known:
            reason = f"it calls helper {use.number}, and the last that this kernel has is {max(known)}"
            yield _refusal(spec, program, linked, use, reason, "ask first: bpf_core_enum_value_exists()")


def _helpers(kernel: Btf) -> Mapping[int, str]:
    """Return the helpers of a kernel by number; none when its BTF does not list them."""
    type_id = kernel.find(HELPERS, BtfKind.ENUM, BtfKind.ENUM64)
    listed = kernel.type(type_id) if type_id else None
    if not isinstance(listed, Enum | Enum64):
        return {}
    return {item.value: item.name for item in listed.values if not item.name.startswith("__")}


def _first_of_each(kind: str, uses: Sequence[Use]) -> Iterator[Use]:
    """Go through the uses of a kind, the first of each number, those that are sure before the others."""
    told: set[int] = set()
    for use in sorted(uses, key=lambda use: (not use.sure, use.insn)):
        if use.kind == kind and use.number not in told:
            told.add(use.number)
            yield use
