"""From an operation and an errno to all the rules that answer so, the likeliest first. Pure.

Behind ``structops explain``: what cannot be told apart without looking is
listed with the command that looks.
"""

from __future__ import annotations

import errno as errno_names
from typing import NamedTuple

from structops_cli.errors import ENOTSUPP, UsageError, errno_name
from structops_cli.struct_ops.explain import CAUSES, EVERYWHERE
from structops_cli.struct_ops.kinds import kind_of
from structops_cli.struct_ops.rules.create import CREATE_RULES
from structops_cli.struct_ops.rules.facts import (
    CreateLink,
    Delete,
    DetachLink,
    Freeze,
    Model,
    Operation,
    Update,
    UpdateLink,
    World,
)
from structops_cli.struct_ops.rules.links import DETACH_RULES, LINK_RULES, RELINK_RULES
from structops_cli.struct_ops.rules.maps import DELETE_RULES, FREEZE_RULES, LOOKUP_RULES, NEXT_KEY_RULES
from structops_cli.struct_ops.rules.programs import LOAD_RULES, RUN_RULES
from structops_cli.struct_ops.rules.rule import Rule, broken, general
from structops_cli.struct_ops.rules.step import case_of
from structops_cli.struct_ops.rules.update import RULES as UPDATE_RULES
from structops_cli.syscall.uapi import BpfCmd

__all__ = [
    "ALL_RULES",
    "OPERATIONS",
    "Possible",
    "errno_number",
    "narrowed",
    "operations_named",
    "possible_causes",
    "unknown_cause",
]

ALL_RULES: tuple[Rule, ...] = (
    *CREATE_RULES,
    *UPDATE_RULES,
    *LOOKUP_RULES,
    *NEXT_KEY_RULES,
    *DELETE_RULES,
    *FREEZE_RULES,
    *LINK_RULES,
    *RELINK_RULES,
    *DETACH_RULES,
    *LOAD_RULES,
    *RUN_RULES,
)
"""Every rule of the model; those of one operation stand in the kernel's order."""

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
"""Words for operations, beside the names of the bpf(2) commands; a word may mean two, by the map's flags."""


class Possible(NamedTuple):
    """One cause that an errno may have. ``rule`` is "" for what the model does not know; ``member`` where it is known."""

    operation: str
    errno: int
    rule: str
    member: str
    why: str
    hint: str
    tell: str = ""
    kernels: str = ""


REGISTERING = frozenset({"MAP_UPDATE_ELEM", "LINK_CREATE"})
"""The operations that end in the subsystem's own ``reg``: without a link, and with one."""


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
    """Return the number that an errno's name or number means; ``UsageError`` for neither."""
    names = {name: number for number, name in errno_names.errorcode.items()}
    names |= {"ENOTSUPP": ENOTSUPP, "EOPNOTSUPP": errno_names.EOPNOTSUPP, "ENOTSUP": errno_names.EOPNOTSUPP}
    text = word.upper().lstrip("-")
    if text in names:
        return names[text]
    if text.isdecimal() and 0 < int(text) < 4096:
        return int(text)
    raise UsageError(f"{word} is no errno", hint="a name such as EINVAL, or a number such as 22")


def possible_causes(operation: str, errno: int, type_name: str = "") -> tuple[Possible, ...]:
    """Return every cause that is known for an errno of an operation, the likeliest first; none when none is known."""
    rules = [rule for rule in ALL_RULES if (rule.operation, rule.errno) == (operation, errno)]
    found = [_possible(rule, type_name) for rule in sorted(rules, key=lambda rule: rule.rank)]
    if operation in REGISTERING and errno in (refusals := kind_of(type_name).registration.refusals):
        why, hint = refusals[errno]
        found.insert(0, Possible(operation, errno, "", "", why, hint))
    other = None if found else CAUSES.get((operation, errno))
    other = other or EVERYWHERE.get(errno)
    if other and not any(item.why == other.why for item in found):
        found.append(Possible(operation, errno, "", "", other.why, general(other.hint, type_name)))
    return tuple(found)


def _possible(rule: Rule, type_name: str) -> Possible:
    why, hint, tell = (general(text, type_name) for text in (rule.why, rule.hint, rule.tell))
    return Possible(rule.operation, rule.errno, rule.name, "", why, hint, tell, rule.kernels)


def unknown_cause(operation: str, errno: int) -> str:
    """Return the sentence for an errno that nothing here knows of an operation."""
    return f"{operation} is not known to answer {errno_name(errno)}"


def narrowed(possible: tuple[Possible, ...], model: Model, handle: str, world: World) -> tuple[Possible, ...]:
    """Return the causes that a live map's state leaves: those that it shows to be so, or else those that it cannot show.

    ``model`` has the map under ``handle``, and its links.
    """
    kept = [item for item in possible if item.rule not in OF_THE_STATE]
    shown = [item for item in possible if item.rule in OF_THE_STATE and _is_so(item, model, handle, world)]
    return tuple(shown or kept)


OF_THE_STATE = frozenset({
    "used-before", "link-map", "unregistered-already", "never-registered", "no-link-map", "not-ready", "no-links-here",
    "detachable", "detached", "replaceable", "never-frozen", "test-type",
})  # fmt: skip
"""The rules that ask for nothing but the map, its type and the kernel."""


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
