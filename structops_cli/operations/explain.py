"""Find the causes of an errno, and narrow them by an object or a live map on this kernel."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import NamedTuple

from structops_cli.runtime.checking import taken_names
from structops_cli.runtime.inventory import list_maps
from structops_cli.runtime.kernel import live_kernel
from structops_cli.runtime.objects import bundled_objects, open_object
from structops_cli.runtime.selection import find_one, is_path
from structops_cli.struct_ops.capabilities import capabilities_of
from structops_cli.struct_ops.plan import plan_object
from structops_cli.struct_ops.rules.diagnose import Possible, narrowed, possible_causes
from structops_cli.struct_ops.rules.model import MapModel, Model, World
from structops_cli.struct_ops.rules.predict import predict_registration
from structops_cli.syscall.bpffs import is_bpffs

UNDECIDED = frozenset({"", "capable", "trampoline-pages"})
"""Rules that an object alone does not decide; "" marks a cause outside the model."""


class NarrowedBy(StrEnum):
    """The subject that the causes were compared with."""

    OBJECT = "object"
    MAP = "map"


class NarrowedCauses(NamedTuple):
    """The causes that apply to a subject, the likeliest first."""

    causes: tuple[Possible, ...]
    by: NarrowedBy


def narrowed_causes(operations: Sequence[str], number: int, subject: str) -> NarrowedCauses:
    """Return the causes of errno ``number`` that apply to an object or a live map here.

    ``subject`` is an object if it ends in .o, is bundled, or is a path outside a bpffs.
    Otherwise it is a selector of a map. Raises as ``open_object`` or ``find_one``.
    """
    if _is_object(subject):
        return NarrowedCauses(_of_object(operations, number, subject), NarrowedBy.OBJECT)
    return NarrowedCauses(_of_map(operations, number, subject), NarrowedBy.MAP)


def _is_object(subject: str) -> bool:
    if is_path(subject):
        return not is_bpffs(subject)
    return subject.endswith(".o") or subject in bundled_objects()


def _of_type(operations: Sequence[str], number: int, type_name: str) -> tuple[Possible, ...]:
    return tuple(item for name in operations for item in possible_causes(name, number, type_name))


def _of_object(operations: Sequence[str], number: int, name: str) -> tuple[Possible, ...]:
    """Return the rules that an object breaks here, or else those that it does not decide."""
    spec, kernel = open_object(name), live_kernel()
    plan = plan_object(spec, kernel)
    findings = predict_registration(
        plan,
        kernel,
        taken_names=taken_names(),
        licence=spec.licence,
        sleepable=[function.name for function in spec.functions if function.sleepable],
    )
    broken = tuple(
        Possible(
            item.operation, item.errno, item.rule, item.member, f"{item.variable}: {item.why}", item.hint
        )
        for item in findings
        if item.operation in operations and item.errno == number
    )
    type_name = plan.maps[0].type.name
    return broken or tuple(item for item in _of_type(operations, number, type_name) if item.rule in UNDECIDED)


def _of_map(operations: Sequence[str], number: int, selector: str) -> tuple[Possible, ...]:
    kernel = live_kernel()
    live = find_one(list_maps(kernel), selector)
    held = MapModel(live.type, live.info.map_flags, live.kernel_state, live.raw)
    model = Model({"map": held}, {str(link.id): "map" for link in live.links})
    world = World(capabilities_of(kernel), fds=None)
    return narrowed(_of_type(operations, number, live.type.name), model, "map", world)
