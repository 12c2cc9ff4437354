"""Predict the rules that the registration of an object would break on a kernel. Pure.

The prediction follows from the plan, BTF and the rules. The verifier, memory, capabilities and other
processes may still refuse.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from structops_cli.btf.kernel_types import KernelTypes
from structops_cli.errors import ENOTSUPP
from structops_cli.struct_ops.capabilities import Capabilities, capabilities_of
from structops_cli.struct_ops.findings import Severity
from structops_cli.struct_ops.kinds import REGISTRY as KINDS
from structops_cli.struct_ops.kinds import kind_of
from structops_cli.struct_ops.plan import MapPlan, Plan
from structops_cli.struct_ops.rules.causes import NO_LINKS
from structops_cli.struct_ops.rules.model import (
    BtfFacts,
    CreateLink,
    CreateMap,
    FdFacts,
    LoadProgram,
    Model,
    Operation,
    ProgramFacts,
    Update,
    World,
)
from structops_cli.struct_ops.rules.offered import why_not
from structops_cli.struct_ops.rules.rule import Broken, answer_of
from structops_cli.struct_ops.rules.step import broken_by, step
from structops_cli.struct_ops.value import encode_value
from structops_cli.syscall.uapi import BPF_F_LINK, BPF_F_VTYPE_BTF_OBJ_FD, BpfProgType

BTF_FD, MODULE_FD, FIRST_PROGRAM_FD = 3, 4, 10
"""Stand-ins for fds: nothing is open."""


class Prediction(NamedTuple):
    """A rule that a registration would break, or a note.

    An ERROR has the ``operation``, ``errno`` and ``rule`` of the refusal. A NOTE has errno 0. The kernel
    would answer with the first error of a variable.
    """

    severity: Severity
    rule: str
    variable: str
    member: str
    why: str
    hint: str = ""
    operation: str = ""
    errno: int = 0


def predict_registration(
    plan: Plan,
    kernel: KernelTypes,
    capabilities: Capabilities | None = None,
    *,
    taken_names: Iterable[tuple[str, str]] = (),
    licence: str = "GPL",
    sleepable: Iterable[str] = (),
    flag_masks: Mapping[tuple[str, str], int] = {},
) -> tuple[Prediction, ...]:
    """Return the predictions for a plan, map by map in the plan's order.

    ``capabilities`` default to those of the kernel's BTF. ``taken_names`` are the registered
    (type, name) pairs. ``sleepable`` names the programs that may sleep. ``flag_masks`` are as in ``World``.
    """
    known = capabilities or capabilities_of(kernel)
    world = World(known, _fds(plan), frozenset(taken_names), flag_masks=flag_masks)
    sleeping, model = frozenset(sleepable), Model()
    found: list[Prediction] = []
    for item in plan.maps:
        found += _of_type(item, known)
        found += _of_programs(plan, item, world, licence=licence, sleepable=sleeping)
        model, findings = _of_map(plan, item, model, world)
        found += findings
    found += [
        Prediction(Severity.NOTE, "member-unknown", item.variable, item.member, f"this kernel has no {item.member}: it is left out")
        for item in plan.skipped
    ]  # fmt: skip
    return tuple(found)


def _fds(plan: Plan) -> dict[int, FdFacts]:
    fds: dict[int, FdFacts] = {
        BTF_FD: BtfFacts(is_kernel=False),
        MODULE_FD: BtfFacts(is_kernel=True, is_module=True),
    }
    for index, program in enumerate(plan.programs):
        fds[FIRST_PROGRAM_FD + index] = ProgramFacts(
            index + 1, BpfProgType.STRUCT_OPS, program.type.struct.id, program.member.member_index
        )
    return fds


def _program_fds(plan: Plan) -> Mapping[str, int]:
    return {program.name: FIRST_PROGRAM_FD + index for index, program in enumerate(plan.programs)}


def _of_type(item: MapPlan, capabilities: Capabilities) -> Iterator[Prediction]:
    for reason in why_not(item.type.btf, item.type.value, capabilities, item.type.module):
        if reason.certain:
            yield Prediction(
                Severity.ERROR,
                f"type-{reason.rule}",
                item.variable,
                reason.member,
                f"this kernel does not offer {item.type.name}: {reason.why}",
                "see what it offers: structops types --all",
                "MAP_CREATE",
                ENOTSUPP,
            )
    if item.type.name not in KINDS:
        why = f"nothing is known of {item.type.name} beside its BTF: its subsystem may ask for more"
        yield Prediction(Severity.NOTE, "kind-unknown", item.variable, "", why)
    elif not kind_of(item.type.name).proven:
        why = f"the rules of {item.type.name} were read in its source and never tried"
        yield Prediction(Severity.NOTE, "kind-unproven", item.variable, "", why)
    if wants := kind_of(item.type.name).registration.wants:
        yield Prediction(Severity.NOTE, "kind-wants", item.variable, "", f"{item.type.name}: {wants}")
    if item.link_wanted and not item.link and not capabilities.links:
        why = f"{NO_LINKS.why}: it is registered without one"
        yield Prediction(Severity.NOTE, "no-links-here", item.variable, "", why)


def _of_programs(
    plan: Plan, item: MapPlan, world: World, *, licence: str, sleepable: frozenset[str]
) -> Iterator[Prediction]:
    names = {member.program for member in item.members if member.program}
    for program in plan.programs:
        if program.name in names:
            load = LoadProgram(
                program.type,
                program.type.struct.id,
                program.member.member_index,
                licence,
                program.name in sleepable,
            )
            for finding in broken_by(Model(), load, world):
                yield _finding(item, finding, program.member.name)


def _of_map(plan: Plan, item: MapPlan, model: Model, world: World) -> tuple[Model, list[Prediction]]:
    """Create, update and link one map in the model, up to the first broken rules."""
    flags = (BPF_F_LINK if item.link else 0) | (BPF_F_VTYPE_BTF_OBJ_FD if item.type.module else 0)
    create = CreateMap(
        item.variable,
        item.type,
        key_size=4,
        value_size=item.type.value.size_bytes,
        max_entries=1,
        map_flags=flags,
        btf_vmlinux_value_type_id=item.type.value.id,
        btf_fd=BTF_FD,
        value_type_btf_obj_fd=MODULE_FD if item.type.module else 0,
    )
    update = Update(item.variable, encode_value(item, _program_fds(plan)))
    operations: list[Operation] = [create, update]
    if item.link:
        operations.append(CreateLink(item.variable, item.variable))
    for operation in operations:
        findings = [_own(model, item, _finding(item, found)) for found in broken_by(model, operation, world)]
        if findings:
            return model, findings
        model, _ = step(model, operation, world)
    return model, []


def _own(model: Model, item: MapPlan, finding: Prediction) -> Prediction:
    """Name the other map of the object, if both want the one place of a subsystem."""
    other = next((name for name, there in model.maps.items() if there.type.name == item.type.name), None)
    if finding.rule != "one-at-a-time" or other is None:
        return finding
    why = f"the subsystem takes one at a time, and {other} of the same object comes first"
    return finding._replace(why=why, hint=f"choose one: --only {item.variable}, or --only {other}")


def _finding(item: MapPlan, found: Broken, member: str = "") -> Prediction:
    answer = answer_of(found, item.variable)
    return Prediction(
        Severity.ERROR, answer.rule, item.variable, answer.member or member, answer.why, answer.hint, answer.operation, answer.errno
    )  # fmt: skip
