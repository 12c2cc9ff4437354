"""From an errno of a call that was made back to the one rule behind it, for the error that a user sees. Pure."""

from __future__ import annotations

from errno import EINVAL

from structops_cli.struct_ops.catalogue import StructOpsType
from structops_cli.struct_ops.explain import Cause
from structops_cli.struct_ops.rules.facts import MapModel, Model, Operation, Update, World
from structops_cli.struct_ops.rules.rule import answer_of, broken
from structops_cli.struct_ops.rules.step import RULES, case_of
from structops_cli.struct_ops.rules.update import update_findings

__all__ = ["refusal", "refused_update"]

OTHER_PROGRAM = Cause(
    "a program is of another type, or was loaded for another struct or another member than the one that holds it",
    "load one for each member: a program serves one member of one struct",
)
"""What is left when the value breaks no rule: the kernel tells nobody for which member a program was loaded."""


def refusal(model: Model, operation: Operation, world: World, errno: int, variable: str = "") -> Cause | None:
    """Return the cause of an errno that the kernel gave to an operation; None when no rule here knows it."""
    case = case_of(model, operation, world)
    findings = (
        update_findings(case) if isinstance(operation, Update) else broken(RULES[type(operation)], case)
    )
    for found in findings:
        if found.rule.errno == errno:
            answer = answer_of(found, variable)
            return Cause(answer.why, answer.hint)
    return None


def refused_update(
    kernel_type: StructOpsType,
    raw: bytes,
    flags: int = 0,
    *,
    key: int = 0,
    errno: int = EINVAL,
    variable: str = "",
    world: World = World(fds=None),  # noqa: B008 -- immutable
) -> Cause | None:
    """Return the cause for which MAP_UPDATE_ELEM answers an errno to this value; None when no rule here knows it."""
    model = Model({"map": MapModel(kernel_type)})
    found = refusal(model, Update("map", raw, key, flags), world, errno, variable)
    return found or (OTHER_PROGRAM if errno == EINVAL and world.fds is not None else None)
