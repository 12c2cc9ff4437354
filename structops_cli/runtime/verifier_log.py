"""Explain a refusal of the verifier in a few lines; the error keeps the whole log.

The log is prose, and its form changes between kernels. Two facts are taken from it. The
first is the report of Linux 7.3, or else the last instruction and the lines before the
statistics. The second is a call whose number marks a poisoned CO-RE relocation.
"""

from __future__ import annotations

import re
from collections.abc import Container, Sequence
from errno import E2BIG
from typing import TYPE_CHECKING

from structops_cli.asm.insn import INSN_BYTES, LD_IMM64, InsnClass, decode_insn, instructions
from structops_cli.core.apply import poisoned_relocation, why_poisoned
from structops_cli.core.fixup import Fixup
from structops_cli.counted import counted
from structops_cli.errors import VerifierError
from structops_cli.obj.spec import LinkedProgram, ObjectSpec, source_line
from structops_cli.runtime.verifier_report import hint_for, is_too_large, report_in
from structops_cli.struct_ops.plan import ProgramPlan

if TYPE_CHECKING:
    from structops_cli.core.externs import Resolved

STATISTICS = re.compile(r"^(processed \d+ insns|verification time|stack depth|mark_precise:|max_states)")
INSTRUCTION = re.compile(r"^\s*(\d+): \(")
STATE = re.compile(
    r"^\s*(\d+: )?(R\d+(_\w+)?=|frame\d|last_idx|regs=|from \d+ to|(cur|old) state:)|^\s*;|^\s*\d+: (\(|R|frame)"
)
INVALID_CALL = re.compile(r"invalid func \S*#(\d+)")
NO_ADDRESS = "failed to find the address for kernel symbol"
UNSUPPORTED = "attach to unsupported member"
SHOWN = 3
LONG = 1 << 12
CUT = "the program is too large for the verifier, whose log ends before its last words"
STORES = (InsnClass.ST, InsnClass.STX)
JUMPS = (InsnClass.JMP, InsnClass.JMP32)


def explain_refusal(
    error: VerifierError,
    spec: ObjectSpec,
    plan: ProgramPlan,
    linked: LinkedProgram,
    fixups: tuple[Fixup, ...],
    missing: Sequence[Resolved] = (),
) -> VerifierError:
    """Return the refusal with program, member, source line and the verifier's last lines."""
    insn, words = _reported(error, plan)
    hint = _hint(error.log, words, plan)
    absent = _absent_symbol(error.log, insn, spec, linked, missing)
    poisoned = _poisoned(error.log, fixups) or _poisoned_call(error.log, spec, missing)
    if poisoned:
        words, hint = (poisoned,), None
    elif not words:
        words = (_silent_refusal(spec, plan, linked, error.errno or 0),)
    elif linked.sleepable and UNSUPPORTED in error.log:
        words = (*words, "it is sleepable, and this member may not sleep, or takes no program at all")
    elif is_too_large(words):
        words = (*words, f"{plan.name} has {_size(spec, linked)}")
    if absent:
        hint = _hint_for_weak(absent, missing)
    line = source_line(spec, linked, insn) if insn is not None else ""
    answer = VerifierError(
        f"the verifier refused {plan.name} of {spec.name} (member {plan.member.name})",
        errno=error.errno or 0,
        log=error.log,
        why="; ".join(words) + (f", at {line}" if line else ""),
        hint=_with_the_log(error.log, hint),
        object=spec.name,
        program=plan.name,
        member=plan.member.name,
    )
    if insn is not None:
        answer.add(insn=insn)
    return answer


def _reported(error: VerifierError, plan: ProgramPlan) -> tuple[int | None, tuple[str, ...]]:
    """Return the refused instruction, and the cause as the verifier reports it."""
    insn = refusing_instruction(error.log)
    if error.errno == E2BIG and _is_cut(error.log):
        return None, (CUT,)
    if report := report_in(error.log):
        return insn if report.insn is None else report.insn, (report.reason.rstrip("."),)
    return insn, _about_the_cause(meaningful_lines(error.log), plan.name)


def _hint(log: str, words: Sequence[str], plan: ProgramPlan) -> str | None:
    """Return the suggestion of the report, else the hint for a known message."""
    report = report_in(log)
    return (report.suggestion.rstrip(".") if report else None) or hint_for(words, plan)


def _hint_for_weak(name: str, missing: Sequence[Resolved]) -> str:
    differs = any(one.differs for one in missing if one.extern.name == name)
    other = f"or declare {name} as this kernel has it" if differs else f"this kernel lacks {name}"
    return f"test the weak symbol before it is used: if (&{name}) ...; {other}"


def _about_the_cause(words: tuple[str, ...], program: str) -> tuple[str, ...]:
    """Drop remarks that are no cause, such as a missing scalar return of a struct_ops program.

    See ``btf_prepare_func_args``.
    """
    remark = re.compile(rf"^Validating \w+\(\) func#\d+\.|function {re.escape(program)}(\(\) |#\d)")
    return tuple(line for line in words if not remark.search(line)) or words


def _is_cut(log: str) -> bool:
    """Tell whether a long log lacks its statistics: before 6.4 the kernel keeps its beginning."""
    return len(log) > LONG and "processed " not in log[-LONG:]


def _size(spec: ObjectSpec, linked: LinkedProgram) -> str:
    count = counted(len(linked.insns) // INSN_BYTES, "instruction")
    return f"{count} (made by {spec.compiler})" if spec.compiler else count


def _silent_refusal(spec: ObjectSpec, plan: ProgramPlan, linked: LinkedProgram, errno: int) -> str:
    """Return the cause of a refusal whose log is empty."""
    from structops_cli.btf.kernel_types import KernelTypes
    from structops_cli.struct_ops.capabilities import capabilities_of
    from structops_cli.struct_ops.rules.diagnose import refused_load  # only a refusal needs them

    if errno == E2BIG:
        return f"it has {_size(spec, linked)}: a kernel takes at most 1000000, and 4096 without CAP_BPF"
    capabilities = capabilities_of(KernelTypes(plan.type.btf))
    return refused_load(spec, plan, capabilities, errno, sleepable=linked.sleepable).why


def meaningful_lines(log: str) -> tuple[str, ...]:
    """Return the last three lines that are neither states, instructions nor statistics."""
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
    """Return the index of the last instruction in the log."""
    last = None
    for line in log.splitlines():
        match = INSTRUCTION.match(line)
        if match:
            last = int(match.group(1))
    return last


def _poisoned(log: str, fixups: tuple[Fixup, ...]) -> str | None:
    match = INVALID_CALL.search(log)
    index = poisoned_relocation(int(match.group(1))) if match else None
    if index is None or index >= len(fixups):
        return None
    return f"it reaches a CO-RE relocation that this kernel cannot satisfy: {why_poisoned(fixups[index])}"


def _poisoned_call(log: str, spec: ObjectSpec, missing: Sequence[Resolved]) -> str | None:
    match = INVALID_CALL.search(log)
    if not match or not missing:
        return None
    from structops_cli.core.externs import poisoned_extern  # only objects with externs need it

    name = poisoned_extern(spec, int(match.group(1)))
    why = next((one.absence() for one in missing if one.extern.name == name), "")
    return f"it calls the kernel function {name}, {why}" if name else None


def _absent_symbol(
    log: str, insn: int | None, spec: ObjectSpec, linked: LinkedProgram, missing: Sequence[Resolved]
) -> str | None:
    """Return the missing weak symbol that the refused instruction uses."""
    if not missing:
        return None
    from structops_cli.core.externs import poisoned_extern  # only objects with externs need it
    from structops_cli.obj.link import link_program

    names = {one.extern.name for one in missing}
    if (called := INVALID_CALL.search(log)) and (
        name := poisoned_extern(spec, int(called.group(1)))
    ) in names:
        return name
    loads = {item.insn_index: item.symbol for item in link_program(spec, linked.name).relocations}
    place = _load_of_the_base(linked.insns, insn, loads) if insn is not None else None
    return loads[place] if place is not None and loads[place] in names else None


def _load_of_the_base(insns: bytes, index: int, loads: Container[int]) -> int | None:
    """Return the index of the load of the address that an instruction uses; None if unclear."""
    insn = decode_insn(insns, index) if index * INSN_BYTES < len(insns) else None
    if insn is None or insn.insn_class not in (InsnClass.LDX, *STORES):
        return None
    register = insn.src_reg if insn.insn_class == InsnClass.LDX else insn.dst_reg
    for place, earlier in reversed([item for item in instructions(insns) if item[0] < index]):
        if earlier.insn_class in JUMPS:
            return None
        if earlier.dst_reg == register and earlier.insn_class not in STORES:
            return place if earlier.opcode == LD_IMM64 and place in loads else None
    return None


def _with_the_log(log: str, hint: str | None) -> str:
    """Add the option that shows the whole log to a hint."""
    if NO_ADDRESS in log:
        return "variables of the kernel need one that was built with CONFIG_KALLSYMS_ALL=y"
    count = len(log.splitlines())
    shown = f"-v shows the verifier's whole log ({counted(count, 'line')})" if count else ""
    return "; ".join(filter(None, (hint, shown))) or "check the object's licence and member types"
