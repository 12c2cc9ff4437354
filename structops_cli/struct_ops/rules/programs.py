"""The rules of PROG_LOAD before the verifier reads an instruction, and of PROG_TEST_RUN.

They follow ``check_struct_ops_btf_id`` (kernel/bpf/verifier.c), the subsystems' ``check_member``, and
``bpf_struct_ops_test_run`` (net/bpf/bpf_dummy_struct_ops.c).
"""

from __future__ import annotations

from errno import EINVAL, EOPNOTSUPP

from structops_cli.errors import ENOTSUPP
from structops_cli.struct_ops.catalogue import KernelMember
from structops_cli.struct_ops.rules.causes import TEST_RUNS_ONLY
from structops_cli.struct_ops.rules.model import LoadProgram, RunProgram
from structops_cli.struct_ops.rules.rule import Case, Facts, Rule, when

GPL_COMPATIBLE = frozenset({
    "GPL", "GPL v2", "GPL and additional rights", "Dual BSD/GPL", "Dual MIT/GPL", "Dual MPL/GPL",
})  # fmt: skip
"""The licences that ``license_is_gpl_compatible`` accepts (include/linux/license.h)."""


def _load(case: Case) -> LoadProgram:
    assert isinstance(case.operation, LoadProgram)
    return case.operation


def _target(case: Case) -> KernelMember | None:
    index = _load(case).member_index
    return case.type.members[index] if 0 <= index < len(case.type.members) else None


def _licence(case: Case) -> Facts | None:
    licence = _load(case).licence
    return when(licence not in GPL_COMPATIBLE, licence=repr(licence or "missing"))


def _no_type(case: Case) -> Facts | None:
    return when(_load(case).attach_btf_id != case.type.struct.id, id=_load(case).attach_btf_id)


def _index(case: Case) -> Facts | None:
    index, count = _load(case).member_index, len(case.type.members)
    return when(_target(case) is None, index=index, type=case.type.name, count=count)


def _confused(case: Case) -> Facts | None:
    index = _load(case).member_index
    return when(index in case.capabilities.confused_indexes, index=index)


def _function(case: Case) -> Facts | None:
    target = _target(case)
    return {"member": target.name} if target and target.proto is None else None


def _unsupported(case: Case) -> Facts | None:
    target = _target(case)
    return {"member": target.name} if target and target.name in case.kind.members.unsupported else None


def _sleepable(case: Case) -> Facts | None:
    target, allowed = _target(case), case.kind.programs.sleepable
    if target is None or allowed is None or not _load(case).sleepable:
        return None
    here = {member.name for member in case.type.members}
    allowed |= {name for name, with_it in case.kind.programs.sleepable_with.items() if with_it in here}
    if target.name in allowed:
        return None
    return {"member": target.name, "allowed": ", ".join(sorted(allowed & here))}


LOAD_RULES = (
    Rule(
        "sleepable-here", "PROG_LOAD", EINVAL,
        lambda case: when(_load(case).sleepable and not case.capabilities.sleepable),
        "struct_ops programs of this kernel may not sleep, they may since 6.3", 'take it out of its "struct_ops.s" section',
        kernels="before 6.3", rank=4,
    ),
    Rule(
        "licence", "PROG_LOAD", EINVAL, _licence,
        "struct_ops programs need a GPL-compatible licence, and the object's is {licence}",
        'SEC("license") with "GPL" or "Dual BSD/GPL"', rank=2,
    ),
    Rule(
        "type-registered", "PROG_LOAD", ENOTSUPP, _no_type,
        "attach_btf_id {id} is no struct_ops type of this kernel", "see what this kernel offers: structops types",
        tell="structops types", rank=2,
    ),
    Rule(
        "member-index", "PROG_LOAD", EINVAL, _index,
        "expected_attach_type {index} is no member of struct {type}, which has {count}",
        "count members as this kernel's BTF does", rank=4,
    ),
    Rule(
        "member-index-confused", "PROG_LOAD", EINVAL, _confused,
        "this kernel takes the member's index, {index}, for an attach type of tracing programs, and refuses it",
        "leave the member out on this kernel", kernels="7.3", rank=1,
    ),
    Rule(
        "member-function", "PROG_LOAD", EINVAL, _function,
        "{member} is no pointer to a function", "count members as this kernel's BTF does", rank=4,
    ),
    Rule(
        "member-supported", "PROG_LOAD", ENOTSUPP, _unsupported,
        "no program may implement {member}", "leave {member} out", tell="structops types {TYPE}", rank=1,
    ),
    Rule(
        "member-sleepable", "PROG_LOAD", EINVAL, _sleepable,
        "{member} may not sleep; these may: {allowed}", 'take it out of its "struct_ops.s" section', rank=3,
    ),
)  # fmt: skip


def _run(case: Case) -> RunProgram:
    assert isinstance(case.operation, RunProgram)
    return case.operation


def _context(case: Case) -> Facts | None:
    member = case.type.members[_run(case).member_index]
    wanted = len(member.proto.params) if member.proto else 0
    given = _run(case).argument_count
    return when(wanted != given, member=member.name, wanted=wanted, given=given)


RUN_RULES = (
    Rule(
        "no-test-runs", "PROG_TEST_RUN", ENOTSUPP, lambda case: when(not case.capabilities.test_runs),
        "this kernel runs no struct_ops program on its own, bpf_dummy_ops came with 5.17", "register it instead",
        kernels="before 5.17", rank=1,
    ),
    Rule(
        "test-type", "PROG_TEST_RUN", EOPNOTSUPP, lambda case: when(case.kind.registration.registers),
        *TEST_RUNS_ONLY, rank=1,
    ),
    Rule(
        "context-size", "PROG_TEST_RUN", EINVAL, _context,
        "{member} takes {wanted} arguments, and {given} were given", "give one word for each argument", rank=1,
    ),
)  # fmt: skip
