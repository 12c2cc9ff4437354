"""``structops map``: the raw operations, with the kernel's answers explained."""

from __future__ import annotations

from typing import Any

import click

from structops_cli.cli.live import c_text
from structops_cli.cli.numbers import WholeNumber
from structops_cli.cli.output import Output, Stands, common_options, shown
from structops_cli.errors import UsageError
from structops_cli.runtime import raw_map
from structops_cli.runtime.kernel import live_kernel
from structops_cli.runtime.pins import raw_map_path
from structops_cli.struct_ops.value import state_name

MEANINGS = {
    "unset": "it holds no value yet",
    "init": "it holds no value yet",
    "inuse": "it is registered",
    "tobefree": "it is unregistered; the kernel keeps it while something holds it",
    "ready": "its value is set; a link registers it",
}
"""The name of each state of the kernel."""
KEY = WholeNumber(0, (1 << 32) - 1)
FLAGS = WholeNumber(0, (1 << 64) - 1)


@click.group()
@common_options
def command() -> None:
    """Raw operations on a struct_ops map, with the kernel's answers explained.

    MAP is a SELECTOR: id:N, the path of a pin, or a name.
    """


key_option = click.option(
    "--key", type=KEY, default=0, show_default=True, help="The key; the kernel knows only 0."
)


@command.command()
@click.argument("type_name", metavar="TYPE")
@click.argument("name", default="bpf_map")
@click.option(
    "--link", is_flag=True, help="A link map (BPF_F_LINK): set its value, then a link registers it."
)
@click.option("--pin", metavar="PATH", help="Where to pin it.  [default: structops/map_NAME of the bpffs]")
@common_options
@click.pass_obj
def create(output: Output, type_name: str, name: str, pin: str | None, *, link: bool) -> None:
    """Create a map for struct_ops type TYPE and pin it."""
    path = pin or raw_map_path(name)
    answer = raw_map.create(live_kernel(), type_name, name, path, link=link)
    _show(
        output,
        "map create",
        answer,
        {"pin": path},
        shown(f"created map {answer.info.id} ({name}), pinned at {path}"),
    )


@command.command()
@click.argument("selector", metavar="MAP")
@click.argument("assignments", metavar="[MEMBER=VALUE]...", nargs=-1)
@key_option
@click.option(
    "--flags", type=FLAGS, default=0, show_default=True, help="Flags of the call; the kernel takes only 0."
)
@common_options
@click.pass_obj
def update(output: Output, selector: str, assignments: tuple[str, ...], key: int, flags: int) -> None:
    """Set the value of a map: data by MEMBER=VALUE, programs by MEMBER=id:N or MEMBER=PIN."""
    pairs = dict(_pair(text) for text in assignments)
    kernel = live_kernel()
    with raw_map.open_map(kernel, selector, to_change=True) as fd:
        answer = raw_map.update(kernel, fd, pairs, key=key, flags=flags)
    _show(output, "map update", answer, {}, "")


@command.command()
@click.argument("selector", metavar="MAP")
@key_option
@common_options
@click.pass_obj
def lookup(output: Output, selector: str, key: int) -> None:
    """Look the value of a map up."""
    kernel = live_kernel()
    with raw_map.open_map(kernel, selector) as fd:
        answer = raw_map.lookup(kernel, fd, key=key)
    members = {
        item.member.name: {"program_id": item.program_id} if item.member.proto is not None else item.value
        for item in answer.value.members
    }
    lines = [shown(f"  {name} = {_plain(value)}") for name, value in members.items()]
    _show(output, "map lookup", answer, {"refcnt": answer.value.refcnt, "members": members}, "\n".join(lines))


@command.command()
@click.argument("selector", metavar="MAP")
@key_option
@common_options
@click.pass_obj
def delete(output: Output, selector: str, key: int) -> None:
    """Delete the value of a map, which unregisters a map without a link."""
    kernel = live_kernel()
    with raw_map.open_map(kernel, selector, to_change=True) as fd:
        answer = raw_map.delete(kernel, fd, key=key)
    _show(output, "map delete", answer, {}, "")


@command.command(name="next-key")
@click.argument("selector", metavar="MAP")
@click.option("--key", type=KEY, default=None, help="The key to start after; without it, the first key.")
@common_options
@click.pass_obj
def next_key(output: Output, selector: str, key: int | None) -> None:
    """Ask for the key after a key."""
    with raw_map.open_map(live_kernel(), selector) as fd:
        following = raw_map.next_key(fd, key=key)
    output.result(
        "map next-key",
        {"key": key, "next_key": following},
        lambda: f"MAP_GET_NEXT_KEY answered key {following}",
    )


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals:
        raise UsageError(f"{text} has no '='", hint="write MEMBER=VALUE")
    return name, value


def _plain(value: Any) -> str:
    if isinstance(value, dict) and set(value) == {"program_id"}:
        return f"program {value['program_id']}" if value["program_id"] else "none"
    return c_text(value)


def _show(output: Output, verb: str, answer: raw_map.RawResult, more: dict[str, Any], text: str) -> None:
    state = state_name(answer.value.state)
    data = {
        "operation": answer.operation,
        "result": answer.result,
        "map_id": answer.info.id,
        "map_name": answer.info.name,
        "type": answer.type.name,
        "kernel_state": state,
        **more,
    }
    said = f"{answer.operation} answered {answer.result}; map {answer.info.id} is {state}: {MEANINGS.get(state, 'unknown')}"
    stands = None if verb == "map lookup" else Stands(said, "see structops list")
    output.result(verb, data, lambda: f"{said}\n{text}" if text else said, stands)
