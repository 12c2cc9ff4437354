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
    operations_named,
    possible_causes,
    unknown_cause,
)


@click.command()
@click.argument("operation")
@click.argument("errno")
@click.argument("subject", metavar="[OBJ|SELECTOR]", required=False, type=ObjectName())
@common_options
@click.pass_obj
def command(output: Output, operation: str, errno: str, subject: str | None) -> None:
    """Explain an errno of a struct_ops operation.

    OPERATION is a command of bpf(2) (MAP_UPDATE_ELEM), or a word for it: create,
    update, lookup, delete, next-key, freeze, load, run, link, replace, detach,
    pin, register, unregister. ERRNO is a name or a number.

    Without a third argument every cause is listed, the likeliest first, with the
    command that tells it from the others. With an object or a live map (its name,
    id:N or the path of its pin) only the causes that apply to it on this kernel are listed.
    """
    number, operations = errno_number(errno), operations_named(operation)
    found, by = _causes(operations, number, subject)
    data = {
        "operation": operation,
        "errno": errno_name(number),
        "errno_number": number,
        "narrowed_by": by,
        "causes": [item._asdict() | {"errno": errno_name(item.errno)} for item in found],
    }
    about = f" for {shown(subject)}" if subject else ""
    output.result("explain", data, lambda: _text(operations, number, found, about))


def _causes(
    operations: tuple[str, ...], number: int, subject: str | None
) -> tuple[tuple[Possible, ...], str]:
    """Return the causes, and the JSON name of the subject that narrowed them."""
    if subject is None:
        return tuple(item for name in operations for item in possible_causes(name, number)), ""
    from structops_cli.operations.explain import narrowed_causes  # imports pyelftools

    return narrowed_causes(operations, number, subject)


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
    """Return one cause with the rules, operations and kernels that share it."""
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
