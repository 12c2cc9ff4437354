"""``structops explain``."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import click

from structops_cli.cli.object_name import ObjectName
from structops_cli.cli.output import Output, common_options, fields, shown
from structops_cli.errors import errno_name
from structops_cli.struct_ops.rules.diagnose import (
    Possible,
    errno_number,
    narrowed,
    operations_named,
    possible_causes,
    unknown_cause,
)

__all__ = ["command"]

UNDECIDED = frozenset({"", "capable", "trampoline-pages"})
"""The rules that an object alone does not decide; "" is what the model does not know."""


@click.command()
@click.argument("operation")
@click.argument("errno")
@click.argument("subject", metavar="[OBJ|SELECTOR]", required=False, type=ObjectName())
@common_options
@click.pass_obj
def command(output: Output, operation: str, errno: str, subject: str | None) -> None:
    """Say what an errno of a struct_ops operation means.

    OPERATION is a command of bpf(2) (MAP_UPDATE_ELEM), or a word for it: create,
    update, lookup, delete, next-key, freeze, load, run, link, replace, detach,
    pin, register, unregister. ERRNO is a name or a number.

    Without a third argument every cause is listed, the likeliest first, with the
    command that tells it from the others. With an object or a live map (its name,
    id:N or the path of its pin) only those causes are left that apply to it on this kernel.
    """
    number = errno_number(errno)
    found, by = _look(operations_named(operation), number, subject)
    data = {
        "operation": operation,
        "errno": errno_name(number),
        "errno_number": number,
        "narrowed_by": by,
        "causes": [item._asdict() | {"errno": errno_name(item.errno)} for item in found],
    }
    output.result(
        "explain",
        data,
        lambda: _text(
            operations_named(operation), number, found, f" for {shown(subject)}" if subject else ""
        ),
    )


def _look(operations: tuple[str, ...], number: int, subject: str | None) -> tuple[tuple[Possible, ...], str]:
    """Return the causes that are left, and what narrowed them: "", ``object`` or ``map``."""
    if subject is None:
        return _of_all(operations, number, ""), ""
    from structops_cli.runtime.objects import bundled_objects  # an object costs pyelftools
    from structops_cli.runtime.selection import is_path
    from structops_cli.syscall.bpffs import is_bpffs

    is_object = subject.endswith(".o") or subject in bundled_objects()
    if is_path(subject):
        is_object = not is_bpffs(subject)
    if is_object:
        return _of_object(operations, number, subject), "object"
    return _of_map(operations, number, subject), "map"


def _of_all(operations: tuple[str, ...], number: int, type_name: str) -> tuple[Possible, ...]:
    return tuple(item for name in operations for item in possible_causes(name, number, type_name))


def _of_object(operations: tuple[str, ...], number: int, name: str) -> tuple[Possible, ...]:
    """Return the rules that an object breaks on this kernel; else those that it cannot decide."""
    from structops_cli.runtime.checking import taken_names
    from structops_cli.runtime.kernel import live_kernel
    from structops_cli.runtime.objects import open_object
    from structops_cli.struct_ops.plan import plan_object
    from structops_cli.struct_ops.rules.predict import predict_registration

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
    return broken or tuple(item for item in _of_all(operations, number, type_name) if item.rule in UNDECIDED)


def _of_map(operations: tuple[str, ...], number: int, selector: str) -> tuple[Possible, ...]:
    from structops_cli.runtime.inventory import list_maps
    from structops_cli.runtime.kernel import live_kernel
    from structops_cli.runtime.selection import find_one
    from structops_cli.struct_ops.capabilities import capabilities_of
    from structops_cli.struct_ops.rules.model import MapModel, Model, World

    kernel = live_kernel()
    live = find_one(list_maps(kernel), selector)
    held = MapModel(live.type, live.info.map_flags, live.kernel_state, live.raw)
    model = Model({"map": held}, {str(link.id): "map" for link in live.links})
    world = World(capabilities_of(kernel), fds=None)
    return narrowed(_of_all(operations, number, live.type.name), model, "map", world)


def _text(operations: tuple[str, ...], number: int, found: tuple[Possible, ...], subject: str) -> str:
    head = f"{' or '.join(operations)}: {errno_name(number)} ({number})"
    if not found:
        known = [name for name in operations if possible_causes(name, number)]
        if known:
            return f"{head}\n\nno cause that is known applies{subject}"
        return f"{head}\n\n{'; '.join(unknown_cause(name, number) for name in operations)}"
    several = len({item.operation for item in found}) > 1
    alike: dict[tuple[str, ...], list[Possible]] = {}
    for item in found:
        alike.setdefault((item.why, item.hint, item.tell), []).append(item)
    parts = [_cause(place, group, several=several) for place, group in enumerate(alike.values(), 1)]
    return "\n\n".join([head, *parts])


def _cause(place: int, group: list[Possible], *, several: bool) -> str:
    """Return one cause, once, though several rules may have it: of several operations, or of old and new kernels."""
    first = group[0]
    kernels = [item.kernels for item in group]
    rest: list[tuple[str, Any]] = [
        ("fix:", first.hint or None),
        ("tell:", first.tell or None),
        ("on:", _each(kernels) if all(kernels) else None),
        ("in:", _each(item.operation for item in group) if several else None),
        ("rule:", _each(item.rule for item in group) or None),
    ]
    return f"{place:2}. {shown(first.why)}\n{fields(rest, indent=4)}".rstrip()


def _each(words: Iterable[str]) -> str:
    return ", ".join(dict.fromkeys(filter(None, words)))
