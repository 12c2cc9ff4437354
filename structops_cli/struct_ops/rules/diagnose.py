"""Go from an errno back to the rules that answer it."""

from __future__ import annotations

import errno as errno_names
from errno import EBUSY, EEXIST, EINVAL
from typing import NamedTuple

from structops_cli.errors import ENOTSUPP, UsageError, errno_name
from structops_cli.obj.spec import ObjectSpec
from structops_cli.struct_ops.capabilities import Capabilities
from structops_cli.struct_ops.catalogue import StructOpsType
from structops_cli.struct_ops.kinds import REGISTRY, kind_of
from structops_cli.struct_ops.plan import ProgramPlan
from structops_cli.struct_ops.rules.causes import EVERYWHERE, OTHER_PROGRAM, REGISTERING, UNDECIDED, Cause
from structops_cli.struct_ops.rules.model import (
    CreateLink,
    Delete,
    DetachLink,
    Freeze,
    LoadProgram,
    MapModel,
    Model,
    Operation,
    Update,
    UpdateLink,
    World,
)
from structops_cli.struct_ops.rules.rule import Rule, answer_of, broken, filled
from structops_cli.struct_ops.rules.step import RULES, broken_by, case_of
from structops_cli.syscall.uapi import BpfCmd

ALL_RULES: tuple[Rule, ...] = tuple(rule for rules in RULES.values() for rule in rules)
"""Every rule of the model."""

OPERATIONS: dict[str, tuple[str, ...]] = {
    "create": ("MAP_CREATE",),
    "update": ("MAP_UPDATE_ELEM",),
    "lookup": ("MAP_LOOKUP_ELEM",),
    "delete": ("MAP_DELETE_ELEM",),
    "next-key": ("MAP_GET_NEXT_KEY",),
    "freeze": ("MAP_FREEZE",),
    "load": ("PROG_LOAD",),
    "run": ("PROG_TEST_RUN",),
    "link": ("LINK_CREATE",),
    "replace": ("LINK_UPDATE",),
    "detach": ("LINK_DETACH",),
    "pin": ("OBJ_PIN",),
    "register": ("MAP_UPDATE_ELEM", "LINK_CREATE"),
    "unregister": ("MAP_DELETE_ELEM", "LINK_DETACH"),
}
"""Words for operations, besides the names of the bpf(2) commands. The map's flags decide between two."""


class Possible(NamedTuple):
    """One possible cause of an errno; ``rule`` is "" for a cause of the tables."""

    operation: str
    errno: int
    rule: str
    member: str
    why: str
    hint: str
    tell: str = ""
    kernels: str = ""


def operations_named(word: str) -> tuple[str, ...]:
    """Return the bpf(2) commands that a word means; ``UsageError`` for none."""
    plain = word.lower().replace("_", "-")
    if plain in OPERATIONS:
        return OPERATIONS[plain]
    command = word.upper().removeprefix("BPF_")
    if command in BpfCmd.__members__:
        return (command,)
    raise UsageError(
        f"{word} names no operation",
        hint=f"a command of bpf(2) such as MAP_UPDATE_ELEM, or one of {', '.join(OPERATIONS)}",
    )


def errno_number(word: str) -> int:
    """Return the number of an errno from its name or number; ``UsageError`` for neither."""
    names = {name: number for number, name in errno_names.errorcode.items()}
    names |= {"ENOTSUPP": ENOTSUPP, "EOPNOTSUPP": errno_names.EOPNOTSUPP, "ENOTSUP": errno_names.EOPNOTSUPP}
    text = word.upper().lstrip("-")
    if text in names:
        return names[text]
    if text.isdecimal() and 0 < int(text) < 4096:
        return int(text)
    raise UsageError(f"{word} is no errno", hint="a name such as EINVAL, or a number such as 22")


# All causes of an errno


def _rules_of(operation: str, errno: int) -> list[Rule]:
    found = [rule for rule in ALL_RULES if (rule.operation, rule.errno) == (operation, errno)]
    return sorted(found, key=lambda rule: rule.rank)


def only_cause(operation: str, errno: int) -> Cause | None:
    """Return the one cause of an errno that needs no words of a case; None for several."""
    causes = {Cause(rule.why, rule.hint) for rule in _rules_of(operation, errno)}
    return causes.pop() if len(causes) == 1 and not any("{" in cause.why for cause in causes) else None


def possible_causes(operation: str, errno: int, type_name: str = "") -> tuple[Possible, ...]:
    """Return every known cause of an errno of an operation, the likeliest first."""
    found = [
        Possible(
            operation,
            errno,
            rule.name,
            "",
            filled(rule.why, type_name),
            filled(rule.hint, type_name),
            filled(rule.tell, type_name),
            rule.kernels,
        )
        for rule in _rules_of(operation, errno)
    ]
    refusals = kind_of(type_name).registration.refusals
    if operation in REGISTERING and errno in refusals:
        found.insert(0, Possible(operation, errno, "", "", *refusals[errno]))
    other = None if found else UNDECIDED.get((operation, errno))
    other = other or EVERYWHERE.get(errno)
    if other and not any(item.why == other.why for item in found):
        found.append(Possible(operation, errno, "", "", other.why, filled(other.hint, type_name)))
    return tuple(found)


def unknown_cause(operation: str, errno: int) -> str:
    """Return the sentence for an errno without a known cause."""
    return f"{operation} is not known to answer {errno_name(errno)}"


# The causes that a live map leaves

OF_THE_STATE = frozenset({
    "used-before", "link-map", "unregistered-already", "never-registered", "no-link-map", "not-ready", "no-links-here",
    "detachable", "detached", "replaceable", "never-frozen", "test-type",
})  # fmt: skip
"""The rules that the map, its type and the kernel decide."""


def narrowed(possible: tuple[Possible, ...], model: Model, handle: str, world: World) -> tuple[Possible, ...]:
    """Return the causes that a live map proves; without any, those that it cannot disprove.

    ``model`` has the map under ``handle``, and its links.
    """
    kept = [item for item in possible if item.rule not in OF_THE_STATE]
    shown = [item for item in possible if item.rule in OF_THE_STATE and _is_so(item, model, handle, world)]
    return tuple(shown or kept)


def _is_so(item: Possible, model: Model, handle: str, world: World) -> bool:
    link = next(iter(model.links), "")
    operations: dict[str, Operation] = {
        "MAP_UPDATE_ELEM": Update(handle, bytes(model.maps[handle].type.value.size_bytes)),
        "MAP_DELETE_ELEM": Delete(handle),
        "MAP_FREEZE": Freeze(handle),
        "LINK_CREATE": CreateLink("", handle),
        "LINK_UPDATE": UpdateLink(link, handle),
        "LINK_DETACH": DetachLink(link),
    }
    operation = operations.get(item.operation)
    rules = [rule for rule in ALL_RULES if (rule.operation, rule.name) == (item.operation, item.rule)]
    return operation is not None and any(broken(rules, case_of(model, operation, world)))


# The cause of a call that was made


def refusal(model: Model, operation: Operation, world: World, errno: int, variable: str = "") -> Cause | None:
    """Return the cause of the errno of an operation; None if no rule has it."""
    for found in broken_by(model, operation, world):
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
    """Return the cause of MAP_UPDATE_ELEM's errno for a value; None if no rule has it."""
    model = Model({"map": MapModel(kernel_type)})
    found = refusal(model, Update("map", raw, key, flags), world, errno, variable)
    return found or (OTHER_PROGRAM if errno == EINVAL and world.fds is not None else None)


def refused_load(
    spec: ObjectSpec, plan: ProgramPlan, capabilities: Capabilities, errno: int, *, sleepable: bool
) -> Cause:
    """Return the cause of PROG_LOAD's errno where the verifier wrote no log."""
    load = LoadProgram(
        plan.type, plan.type.struct.id, plan.member.member_index, spec.licence, sleepable=sleepable
    )
    found = refusal(Model(), load, World(capabilities), errno)
    return found or UNDECIDED.get(("PROG_LOAD", errno)) or UNDECIDED["PROG_LOAD", EINVAL]


def subsystem_refusal(kernel_type: StructOpsType, operation: str, errno: int) -> Cause | None:
    """Name the subsystem that refused a registration, if ``kinds/`` does not know its rules."""
    if operation not in REGISTERING or errno in BEFORE_THE_SUBSYSTEM or kernel_type.name in REGISTRY:
        return None
    who = f"module {kernel_type.module}" if kernel_type.module else f"the subsystem of {kernel_type.name}"
    why = {EEXIST: f"{who} has one like it already", EBUSY: f"{who} takes no more of them"}.get(
        errno, f"{who} refuses it by a rule of its own"
    )
    hint = (
        f"see structops types {kernel_type.name} for its members, and the kernel log (dmesg) for what it says"
    )
    return Cause(why, hint)


BEFORE_THE_SUBSYSTEM = frozenset({
    errno_names.E2BIG, errno_names.EACCES, errno_names.EBADF, errno_names.ENOMEM, ENOTSUPP, errno_names.EPERM,
})  # fmt: skip
"""The errnos that the kernel answers before it asks a subsystem."""
