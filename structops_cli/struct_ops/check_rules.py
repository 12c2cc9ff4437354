"""Check a plan against the rules of the kernel and of the subsystems. Pure."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import TypeAlias

from structops_cli.btf.kernel_types import KernelTypes
from structops_cli.errors import ENOTSUPP
from structops_cli.obj.spec import ObjectSpec
from structops_cli.struct_ops.capabilities import shows_struct_ops
from structops_cli.struct_ops.catalogue import StructOpsType
from structops_cli.struct_ops.findings import Finding, Severity
from structops_cli.struct_ops.kinds import REGISTRY, kind_of
from structops_cli.struct_ops.plan import MapPlan, Plan
from structops_cli.struct_ops.rules.causes import NOT_REGISTERED
from structops_cli.struct_ops.rules.predict import Prediction, predict_registration

FlagMasks: TypeAlias = Callable[[StructOpsType], Mapping[tuple[str, str], int]]

TOLD_ELSEWHERE = frozenset({"member-unknown", "no-links-here"})
"""Predictions that a check reports with its own words."""


def check_rules(
    spec: ObjectSpec,
    plan: Plan,
    kernel: KernelTypes,
    taken: Collection[tuple[str, str]],
    flag_masks: FlagMasks = lambda kernel_type: {},  # noqa: ARG005
) -> Iterator[Finding]:
    """Find every rule that the maps of a plan break.

    ``flag_masks`` asks the kernel for the bits that it accepts in the flags of a type, by (type, member).
    It is called only for flags that some kernels refuse.
    """
    if not shows_struct_ops(kernel):
        yield _excerpt(spec, kernel)
        return
    asked: dict[tuple[str, str], int] = {}
    found = _predicted(spec, plan, kernel, taken, asked)
    doubtful = {one.variable for one in found if one.rule == "flags-known"}
    for item in plan.maps:
        if item.variable in doubtful:
            asked |= flag_masks(item.type)
    if asked:
        found = _predicted(spec, plan, kernel, taken, asked)
    maps = {item.variable: item for item in plan.maps}
    for one in found:
        if one.severity is Severity.ERROR or one.rule not in TOLD_ELSEWHERE:
            yield _finding(spec, maps[one.variable], one, asked)


def _predicted(
    spec: ObjectSpec,
    plan: Plan,
    kernel: KernelTypes,
    taken: Collection[tuple[str, str]],
    flag_masks: Mapping[tuple[str, str], int],
) -> tuple[Prediction, ...]:
    return predict_registration(
        plan,
        kernel,
        taken_names=taken,
        licence=spec.licence,
        sleepable=[function.name for function in spec.functions if function.sleepable],
        flag_masks=flag_masks,
    )


def check_offered(
    spec: ObjectSpec, plan: Plan, offers: Callable[[StructOpsType], bool | None], told: Sequence[Finding]
) -> Iterator[Finding]:
    """Find types of BTF that no subsystem has registered: only MAP_CREATE shows that.

    Skip variables with a MAP_CREATE refusal in ``told``. Without an answer of the kernel, report the types
    that ``kinds/`` does not know.
    """
    refused = {one.fields.get("variable") for one in told if one.fields.get("operation") == "MAP_CREATE"}
    for item in plan.maps:
        answer = None if item.variable in refused else offers(item.type)
        if answer is False:
            yield _not_offered(spec, item)
        elif answer is None and item.variable not in refused and item.type.name not in REGISTRY:
            yield _perhaps_offered(spec, item)


def _not_offered(spec: ObjectSpec, item: MapPlan) -> Finding:
    fields = _fields(spec, item) | {"operation": "MAP_CREATE", "errno": ENOTSUPP}
    what = f"{item.registered_name} could not be registered"
    return Finding(Severity.ERROR, what, *NOT_REGISTERED, fields)


def _perhaps_offered(spec: ObjectSpec, item: MapPlan) -> Finding:
    return Finding(
        Severity.UNKNOWN,
        f"{item.registered_name} may not be registered",
        f"whether a subsystem has registered {item.type.name} only the kernel tells, and asking takes CAP_BPF",
        "run as root",
        _fields(spec, item),
    )


def _fields(spec: ObjectSpec, item: MapPlan) -> dict[str, object]:
    return {
        "object": spec.name,
        "variable": item.variable,
        "type_name": item.type.name,
        "rule": "type-registered",
    }


def _excerpt(spec: ObjectSpec, kernel: KernelTypes) -> Finding:
    return Finding(
        Severity.UNKNOWN,
        f"{kernel.vmlinux.origin} does not tell which rules this kernel applies",
        why="it has no struct bpf_struct_ops_map: it is an excerpt of a kernel's BTF",
        hint="give the whole of it: /sys/kernel/btf/vmlinux of that kernel, or its image",
        fields={"object": spec.name},
    )


def _finding(
    spec: ObjectSpec, item: MapPlan, one: Prediction, asked: Mapping[tuple[str, str], int]
) -> Finding:
    severity = _severity(item, one, asked)
    fields: dict[str, object] = {
        "object": spec.name,
        "variable": item.variable,
        "type_name": item.type.name,
        "rule": one.rule,
    }
    if one.member:
        fields["member"] = one.member
    if severity is Severity.NOTE:
        return Finding(severity, one.why, fields=fields)
    fields |= {"operation": one.operation, "errno": one.errno}
    could_not = "may not be registered" if severity is Severity.UNKNOWN else "could not be registered"
    return Finding(severity, f"{item.registered_name} {could_not}", one.why, one.hint, fields)


def _severity(item: MapPlan, one: Prediction, asked: Mapping[tuple[str, str], int]) -> Severity:
    """Return the severity of a prediction: not every kernel's BTF lists its flags."""
    if one.severity is Severity.NOTE:
        return Severity.NOTE
    is_told = one.member in kind_of(item.type.name).data.flag_mask or (item.type.name, one.member) in asked
    if one.rule == "flags-known" and not is_told:
        return Severity.UNKNOWN
    return Severity.ERROR
