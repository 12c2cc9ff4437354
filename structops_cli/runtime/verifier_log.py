"""Say in a few lines why the verifier refused a program; the whole log stays in the error.

The log is prose for people and changes shape between kernels, so only loose
facts are taken from it: the report that 7.3 writes for most refusals, or else the
lines before its closing statistics and the last instruction that it speaks of;
and a call of a number that stands for a poisoned CO-RE relocation.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from errno import EINVAL
from typing import TYPE_CHECKING

from structops_cli.core.apply import poisoned_relocation, why_poisoned
from structops_cli.core.fixup import Fixup
from structops_cli.errors import VerifierError
from structops_cli.obj.lines import source_line
from structops_cli.obj.spec import LinkedProgram, ObjectSpec
from structops_cli.runtime.verifier_report import report_in
from structops_cli.struct_ops.plan import ProgramPlan

if TYPE_CHECKING:
    from structops_cli.core.externs import Resolved

__all__ = ["explain_refusal", "meaningful_lines", "refusing_instruction"]

STATISTICS = re.compile(r"^(processed \d+ insns|verification time|stack depth|mark_precise:|max_states)")
INSTRUCTION = re.compile(r"^\s*(\d+): \(")
STATE = re.compile(
    r"^\s*(\d+: )?(R\d+(_\w+)?=|frame\d|last_idx|regs=|from \d+ to|(cur|old) state:)|^\s*;|^\s*\d+: (\(|R|frame)"
)
INVALID_CALL = re.compile(r"invalid func \S*#(\d+)")
GPL = re.compile(r"GPL", re.IGNORECASE)
NO_ADDRESS = "failed to find the address for kernel symbol"
UNSUPPORTED = "attach to unsupported member"
SHOWN = 3


def explain_refusal(
    error: VerifierError,
    spec: ObjectSpec,
    plan: ProgramPlan,
    linked: LinkedProgram,
    fixups: tuple[Fixup, ...],
    missing: Sequence[Resolved] = (),
) -> VerifierError:
    """Return the refusal with program, member, source line and the verifier's last meaningful words."""
    report = report_in(error.log)
    insn = refusing_instruction(error.log)
    said = meaningful_lines(error.log)
    if report:
        insn, said = (insn if report.insn is None else report.insn), (report.reason.rstrip("."),)
    poisoned = _poisoned(error.log, fixups) or _poisoned_call(error.log, spec, missing)
    if poisoned:
        said = (poisoned,)
    elif not said:
        said = (_silent_refusal(spec, plan, error.errno or 0),)
    elif linked.sleepable and UNSUPPORTED in error.log:
        said = (*said, "it is sleepable, and this member may not sleep, or takes no program at all")
    line = source_line(spec, linked, insn) if insn is not None else ""
    answer = VerifierError(
        f"the verifier refused {plan.name} of {spec.name} (member {plan.member.name})",
        errno=error.errno or 0,
        log=error.log,
        why="; ".join(said) + (f", at {line}" if line else ""),
        hint=_hint(error.log, missing, report.suggestion.rstrip(".") if report else ""),
        object=spec.name,
        program=plan.name,
        member=plan.member.name,
    )
    if insn is not None:
        answer.add(insn=insn)
    return answer


def _silent_refusal(spec: ObjectSpec, plan: ProgramPlan, errno: int) -> str:
    """Name the cause of a refusal that comes before the verifier has a word."""
    from structops_cli.struct_ops.rules.generation import confused_indexes
    from structops_cli.struct_ops.rules.programs import CONFUSED

    if errno == EINVAL and plan.member.member_index in confused_indexes(plan.type.btf):
        return CONFUSED.format(index=plan.member.member_index)
    if errno == EINVAL and not GPL.search(spec.licence):
        return f"struct_ops programs need a GPL-compatible licence, and the object's is {spec.licence or 'missing'!r}"
    return "the kernel refused it before verifying it: type, member or licence"


def meaningful_lines(log: str) -> tuple[str, ...]:
    """Return the verifier's last words: up to three lines that are neither states, instructions nor statistics."""
    words: list[str] = []
    for line in reversed(log.splitlines()):
        if not line.strip() or STATISTICS.match(line.strip()):
            continue
        if STATE.match(line):
            if words:
                break
            continue
        words.append(line.strip())
        if len(words) == SHOWN:
            break
    return tuple(reversed(words))


def refusing_instruction(log: str) -> int | None:
    """Return the index of the last instruction that the log speaks of."""
    last = None
    for line in log.splitlines():
        match = INSTRUCTION.match(line)
        if match:
            last = int(match.group(1))
    return last


def _poisoned(log: str, fixups: tuple[Fixup, ...]) -> str:
    match = INVALID_CALL.search(log)
    index = poisoned_relocation(int(match.group(1))) if match else None
    if index is None or index >= len(fixups):
        return ""
    return f"it reaches a CO-RE relocation that this kernel cannot satisfy: {why_poisoned(fixups[index])}"


def _poisoned_call(log: str, spec: ObjectSpec, missing: Sequence[Resolved]) -> str:
    match = INVALID_CALL.search(log)
    if not match or not missing:
        return ""
    from structops_cli.core.apply_externs import poisoned_extern  # only objects with externs need it

    name = poisoned_extern(spec, int(match.group(1)))
    why = next((one.missing for one in missing if one.extern.name == name), "")
    return f"it calls the kernel function {name}, which this kernel does not have ({why})" if name else ""


def _hint(log: str, missing: Sequence[Resolved], suggestion: str = "") -> str:
    if NO_ADDRESS in log:
        return "variables of the kernel need one that was built with CONFIG_KALLSYMS_ALL=y"
    count = len(log.splitlines())
    hint = (
        f"-v shows the verifier's whole log ({count} lines)"
        if count
        else "check the object's licence and member types"
    )
    if suggestion:
        hint = f"{suggestion}; {hint}"
    if not missing:
        return hint
    names = ", ".join(one.extern.name for one in missing)
    return f"{hint}; test a weak symbol before it is used: this kernel lacks {names}"
