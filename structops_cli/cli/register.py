"""``structops register``."""

from __future__ import annotations

import os
import select
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any

import click

from structops_cli.cli.changes import changing_options, open_changed, selection_from
from structops_cli.cli.output import Output, common_options, fields, table
from structops_cli.core.target import Target
from structops_cli.errors import StateError, UsageError
from structops_cli.obj.spec import ObjectSpec
from structops_cli.runtime.interrupts import from_here_uninterrupted
from structops_cli.runtime.kernel import begin_live_kernel
from structops_cli.runtime.objects import DEFAULT_OBJECT, RegisteredObject, keep, register_object
from structops_cli.runtime.pins import DEFAULT_PIN_DIR, prepare_pin_dir
from structops_cli.runtime.registration import Registered
from structops_cli.runtime.token import acting
from structops_cli.struct_ops.catalogue import has_links
from structops_cli.struct_ops.plan import Selection
from structops_cli.syscall import bpffs

__all__ = ["command", "registered_data", "registered_text"]

HOLD_POLL_MS = 500


@click.command()
@click.argument("objects", metavar="[OBJ]...", nargs=-1, type=click.Path())
@click.option(
    "--pin-dir",
    metavar="DIR",
    help="Directory of a bpffs for the links' pins.  [default: structops/ of the bpffs]",
)
@click.option("--transient", is_flag=True, help="Hold the registration until Ctrl-C instead of pinning it.")
@click.option(
    "--link/--no-link", "link", default=None, help="Force registration through a link, or without one."
)
@click.option(
    "--only", metavar="VAR", multiple=True, help="Register this struct_ops variable only; may be repeated."
)
@click.option(
    "--with",
    "also",
    metavar="VAR",
    multiple=True,
    help="Register this optional variable too; may be repeated.",
)
@changing_options
@click.option(
    "--map-pin-dir",
    metavar="DIR",
    help="Directory of a bpffs for maps that are shared by name.  [default: the bpffs]",
)
@click.option(
    "--no-check", "check", is_flag=True, flag_value=False, default=True, help="Leave the rules to the kernel."
)
@click.option(
    "--token",
    metavar="DIR",
    help="Act with the BPF token that this bpffs delegates.  [default: the usual bpffs, if it delegates]",
)
@common_options
@click.pass_obj
def command(
    output: Output,
    objects: tuple[str, ...],
    pin_dir: str | None,
    *,
    transient: bool,
    link: bool | None,
    only: tuple[str, ...],
    also: tuple[str, ...],
    members: tuple[str, ...],
    constants: tuple[str, ...],
    maps: tuple[str, ...],
    map_pin_dir: str | None,
    check: bool,
    token: str | None,
) -> None:
    """Register the struct_ops of compiled objects, or of the bundled default: all of it, or nothing.

    OBJ is a path, or the name of a bundled object. If one step fails, all that
    was done before is undone. A link is pinned, so that it outlives this
    command; --transient holds it instead, and Ctrl-C unregisters.
    """
    if transient and pin_dir is not None:
        raise UsageError("--transient pins nothing", hint="leave out --pin-dir or --transient")
    selection = selection_from(only, link, members, also)
    kernel = begin_live_kernel()
    specs = [open_changed(name, constants, maps) for name in objects or (DEFAULT_OBJECT,)]
    target = Target(kernel())
    with acting(token), ExitStack() as undo:
        place = None if transient else os.path.abspath(pin_dir or DEFAULT_PIN_DIR)
        shared = os.path.abspath(map_pin_dir or bpffs.DEFAULT)
        done = [
            _register(spec, target, selection, undo, place=place, shared=shared, check=check)
            for spec in specs
        ]
        if not transient:
            from_here_uninterrupted()
            keep(undo, done)  # before a word is said: a reader that goes away undoes nothing
        _say(output, done)
        if transient:
            _hold(output, [one for item in done for one in item.registered])


def _register(
    spec: ObjectSpec,
    target: Target,
    selection: Selection,
    undo: ExitStack,
    *,
    place: str | None,
    shared: str,
    check: bool,
) -> RegisteredObject:
    if place is not None and _may_link(spec, target, selection):
        prepare_pin_dir(place, undo)
    return register_object(spec, target, selection, place, undo, map_pin_dir=shared, check=check)


def _may_link(spec: ObjectSpec, target: Target, selection: Selection) -> bool:
    """Tell whether an object may need a place for pins: only links are pinned."""
    wanted = any(one.link for one in spec.struct_ops) if selection.link is None else selection.link
    return wanted and has_links(target.kernel)


def _hold(output: Output, held: list[Registered]) -> None:
    """Wait until Ctrl-C, or until the kernel takes one of the links away (it says so from 6.11 on)."""
    poll = select.poll()
    links = {one.link.fileno(): one for one in held if one.link is not None}
    for number in links:
        poll.register(number, select.POLLHUP)
    try:
        output.note("held until Ctrl-C")
        while not (events := poll.poll(HOLD_POLL_MS)):
            pass  # a signal that came just before the wait is seen at its end
        for number, _ in events:
            gone = links[number]
            raise StateError(
                f"{gone.name} was unregistered by somebody else",
                why=f"link {gone.link_id} was detached, by a process or by the kernel itself",
                hint="the kernel log (dmesg) may say why",
                type_name=gone.type_name,
            )
    except KeyboardInterrupt:
        output.note("unregistering")


# Rendering


def _say(output: Output, done: Sequence[RegisteredObject]) -> None:
    data = {"changed": True, "registered": [entry for item in done for entry in registered_data(item)]}
    output.result("register", data, lambda: "\n\n".join(registered_text(item) for item in done))
    for item in done:
        say_aside(output, item)


def say_aside(output: Output, item: RegisteredObject) -> None:
    """Say what was left out, and what went another way than the object asked for."""
    for skipped in item.plan.skipped:
        program = f"; its program {skipped.program} is not loaded" if skipped.program else ""
        output.note(f"note: this kernel has no member {skipped.member} ({skipped.variable}){program}")
    for one in item.registered:
        if one.legacy_fallback:
            output.note(
                f"note: {one.name} is registered without a link: this kernel has none, so no pin holds it"
            )
    for lost in item.unheld:
        output.note(
            f"note: {lost.loss} when this command ends, for nobody holds map {lost.name} then: "
            "pin it by name (__uint(pinning, LIBBPF_PIN_BY_NAME)), or use --transient"
        )
    for shared in item.shared_maps:
        how = "pinned at" if shared.created else "the one that was pinned at"
        output.note(f"note: map {shared.name} (map {shared.map_id}) is {how} {shared.pin}")
    if item.missing:
        output.debug(f"note: weak symbols that this kernel lacks: {', '.join(item.missing)}")
    if item.spec.other_programs:
        others = ", ".join(f"{one.name} ({one.section})" for one in item.spec.other_programs)
        output.debug(f"note: not loaded, programs of other types: {others}")
    if item.plan.unused:
        output.debug(f"note: not loaded, no registered variable uses them: {', '.join(item.plan.unused)}")


def registered_data(item: RegisteredObject) -> list[dict[str, Any]]:
    """Return what became of an object as plain data, one entry a struct_ops variable."""
    return [
        {
            "object": item.spec.name,
            "variable": one.variable,
            "type": one.type_name,
            "name": one.name,
            "state": one.state,
            "map_id": one.map_id,
            "map_name": one.map_name,
            "link_id": one.link_id,
            "pin": one.pin,
            "legacy_fallback": one.legacy_fallback,
            "programs": [
                {
                    "name": name,
                    "id": info.id,
                    "tag": info.tag,
                    "jited_bytes": info.jited_bytes,
                    "xlated_bytes": info.xlated_bytes,
                    "verified_insns": info.verified_insns,
                    "map_ids": list(info.map_ids),
                }
                for name, info in one.programs
            ],
            "skipped_members": [s.member for s in item.plan.skipped if s.variable == one.variable],
            "shared_maps": [shared._asdict() for shared in item.shared_maps],
        }
        for one in item.registered
    ]


def registered_text(item: RegisteredObject) -> str:
    """Return what became of an object as text."""
    return "\n\n".join(_one_text(one) for one in item.registered)


def _pin_text(one: Registered) -> str | None:
    if one.pin is not None and one.pin.startswith("/proc/self/fd/"):
        return f"{one.pin.rpartition('/')[2]}, in a bpffs of this process only"
    return one.pin or ("none: held by this process" if one.link_id is not None else None)


def _one_text(one: Registered) -> str:
    head = f"registered {one.name} ({one.type_name})\n" + fields([
        ("map", f"{one.map_id} ({one.map_name})"),
        ("link", one.link_id if one.link_id is not None else "none: registered without a link"),
        ("pin", _pin_text(one)),
        ("state", one.state),
    ], indent=2)  # fmt: skip
    rows = [(info.id, name, info.jited_bytes, info.verified_insns or "-") for name, info in one.programs]
    return (
        head
        + "\n"
        + "\n".join(
            "  " + line for line in table(("PROGRAM", "NAME", "JITED", "VERIFIED"), rows).splitlines()
        )
    )
