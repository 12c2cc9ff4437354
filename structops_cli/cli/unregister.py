"""``structops unregister``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from structops_cli.cli.mutation import caller_of, change_data, did, dry_run_option
from structops_cli.cli.numbers import Seconds
from structops_cli.cli.output import Output, Stands, common_options, shown
from structops_cli.cli.selectors import selectors_argument
from structops_cli.cli.unread_btf import warn_unread_types
from structops_cli.counted import counted
from structops_cli.errors import UsageError
from structops_cli.operations.unregister import (
    Retired,
    UnregisterOptions,
    UnregisterResult,
    refuse_not_freed,
    unregister,
    wait_until_freed,
)
from structops_cli.runtime.kernel import readable_kernel
from structops_cli.struct_ops.kinds import kind_of

if TYPE_CHECKING:
    from structops_cli.btf.kernel_types import KernelTypes
    from structops_cli.operations.dependents import Dependents
    from structops_cli.operations.drain_report import Drained
    from structops_cli.runtime.live_map import LiveMap
    from structops_cli.runtime.unregistration import Unregistered


@click.command()
@selectors_argument
@click.option("--all", "every", is_flag=True, help="Unregister every map that a SELECTOR matches.")
@click.option("--if-present", is_flag=True, help="End with 0 when a SELECTOR matches nothing.")
@click.option(
    "--wait", metavar="SECONDS", type=Seconds(min=0), help="Wait until the kernel has let go of it."
)
@click.option("--drain", is_flag=True, help="Move its sockets to another congestion control first.")
@click.option("--to", metavar="NAME", help="Where --drain moves them.  [default: their namespace's default]")
@click.option(
    "--force", is_flag=True, help="Though a namespace, a route, a device or another process uses it."
)
@dry_run_option
@common_options
@click.pass_obj
def command(
    output: Output,
    selectors: tuple[str, ...],
    *,
    every: bool,
    if_present: bool,
    wait: float | None,
    drain: bool,
    to: str | None,
    force: bool,
    dry_run: bool,
) -> None:
    """Unregister what each SELECTOR means: delete, detach and unpin, by what is found.

    Every SELECTOR is looked up before anything is changed. One that matches nothing, or several maps, is
    an error, and nothing is changed: choose by id, or give --if-present or --all. A map's name is not a
    SELECTOR here.

    A map that is retired already stays as it is. Without --force a map is refused that is the default of a
    namespace, the choice of a route, the queueing discipline of a device, or held by another process. Pins of
    detached links under its name are removed too, and so are the versions that structops update kept. A kept
    version that is selected by its id is dropped alone.
    """
    if to is not None and not drain:
        raise UsageError("--to says where --drain moves sockets", hint="give --drain as well")
    kernel = readable_kernel()
    options = UnregisterOptions(every, if_present, force, drain, to, wait)
    done = unregister(
        kernel,
        selectors,
        options,
        dry_run=dry_run,
        caller=caller_of(output),
        progress=output.note,
        drained=lambda item: _note_drained(output, item, dry_run=dry_run),
    )
    _note_dependents(output, done)
    left = _wait(output, kernel, done, wait) if wait is not None and not dry_run else ()
    gone = {item.done.map_id for item in done.retired} - {live.info.id for live in left}
    _report(output, done, gone=gone if wait is not None else None, dry_run=dry_run)
    refuse_not_freed(done, left, wait or 0)


def _note_drained(output: Output, done: Drained, *, dry_run: bool) -> None:
    for sentence in done.not_inspected:
        output.note(f"not seen: {sentence}")
    for note in done.notes:
        output.note(f"note: {note}")
    moved = sum(done.moved.values())
    if moved or done.left:
        ids = ", ".join(f"id:{number}" for number in done.source.of_maps)
        again = " && ".join(f"structops drain id:{number}" for number in done.source.of_maps)
        left = f", {len(done.left)} left: {again} says why" if done.left else ""
        verb = "would be moved" if dry_run else "moved"
        output.note(f"{counted(moved, 'socket')} {verb} off {done.source.name} ({ids}){left}")


def _note_dependents(output: Output, done: UnregisterResult) -> None:
    lost = "it cannot be told whether a namespace, a route or a device uses it"
    warn_unread_types(output, done.selected, lost)
    for one in done.dependents:
        _note_forced(output, one)
        for title in one.unreachable:
            output.note(
                f"note: {one.live.name} is the default of {title}, which this process cannot reach: "
                "the kernel is freeing it, or new sockets there get the retired map"
            )
    for error in done.absent.values():
        output.note(f"note: {error}: nothing to do")


def _note_forced(output: Output, one: Dependents) -> None:
    name = one.live.name
    if one.defaults:
        output.warn(
            f"{name} is still the default of {', '.join(one.defaults)}",
            why="new sockets there get the retired one",
            fix=one.another_default or "",
        )
    for namespace, route in one.routes:
        where = f"the route to {route.destination} in {namespace.title}"
        output.note(f"note: {where} names {name}: nothing until that name is registered again")
    if one.default_of_devices:
        output.note(f"note: {name} is net.core.default_qdisc: new network devices get the retired one")
    for device, title in one.devices:
        output.note(f"note: {device} in {title} goes on with the retired {name}")


def _wait(output: Output, kernel: KernelTypes, done: UnregisterResult, seconds: float) -> tuple[LiveMap, ...]:
    """Wait for the kernel. If Ctrl-C ends the wait, report first."""
    map_ids = {item.done.map_id for item in done.retired}
    try:
        return wait_until_freed(kernel, map_ids, seconds, output.note)
    except KeyboardInterrupt:
        for item in done.retired:
            output.note(_line(item, dry_run=False))
        raise


def _report(output: Output, done: UnregisterResult, *, gone: set[int] | None, dry_run: bool) -> None:
    """Report the result. ``gone`` are the freed maps after a wait, None without one."""
    data = change_data(done.changes, dry_run=dry_run)
    data["absent"] = list(done.absent)
    data["dead_pins"] = list(done.dead_pins)
    data["drained"] = [
        {"map_ids": list(item.source.of_maps), "moved": sum(item.moved.values()), "left": len(item.left)}
        for item in done.drained
    ]
    data["unregistered"] = [_data(item, gone) for item in done.retired]
    lines = [
        *(_line(item, dry_run=dry_run) for item in done.retired),
        *(_dead_line(one, dry_run=dry_run) for one in done.dead_pins),
    ]
    stands = Stands(_done_words(done), "see structops list")
    output.result("unregister", data, lambda: "\n".join(map(shown, lines)), stands)


def _data(item: Retired, gone: set[int] | None) -> dict[str, Any]:
    done = item.done
    is_gone = done.gone if gone is None else done.map_id in gone
    return {
        "map_id": done.map_id,
        "name": done.name,
        "type": done.type_name,
        "changed": item.changed,
        "how": _how(item),
        "link_ids": list(done.link_ids),
        "pins_removed": list(done.pins_removed),
        "kept_removed": list(item.dropped),
        "still_kept": list(item.still_kept),
        "gone": is_gone,
        "refcnt": 0 if is_gone else done.refcnt,
    }


def _how(item: Retired) -> str:
    return "drop" if item.changed and not item.done.changed else item.done.how


def _line(item: Retired, *, dry_run: bool) -> str:
    done, unpinned = item.done, did("unpinned", "unpin", dry_run=dry_run)
    if not item.changed:
        return f"{done.name} (map {done.map_id}) was not registered: nothing to do"
    if not done.changed:
        dropped = did("dropped", "drop", dry_run=dry_run)
        return f"{dropped} {done.name} (map {done.map_id}), a version that was kept; {unpinned} {', '.join(item.dropped)}"
    said = f"{did('unregistered', 'unregister', dry_run=dry_run)} {done.name} (map {done.map_id}, {done.type_name}) by {done.how}"
    if done.pins_removed:
        said += f"; {unpinned} {', '.join(done.pins_removed)}"
    if item.dropped:
        said += f"; {did('dropped', 'drop', dry_run=dry_run)} {counted(len(item.dropped), 'kept version')}"
    return said + _held(done)


def _dead_line(path: str, *, dry_run: bool) -> str:
    return f"{did('unpinned', 'unpin', dry_run=dry_run)} {path}: its link was detached before"


def _done_words(done: UnregisterResult) -> str:
    """Return a sentence that names the unregistered maps and the removed pins."""
    names = dict.fromkeys(item.done.name for item in done.retired if item.changed)
    return f"unregistered {', '.join([*names, *done.dead_pins])}"


def _held(done: Unregistered) -> str:
    if done.gone or not done.refcnt:
        return ""
    holder = kind_of(done.type_name).registration.held_by
    return f"; {done.refcnt} still hold it: the kernel keeps it until the last {holder} lets go"
