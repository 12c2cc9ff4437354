"""``structops unregister``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from structops_cli.cli.mutation import change_data, did, dry_run_option, mutating
from structops_cli.cli.numbers import Seconds
from structops_cli.cli.output import Output, Stands, common_options, shown
from structops_cli.cli.selectors import selectors_argument
from structops_cli.cli.unread_btf import warn_unread_types
from structops_cli.counted import counted
from structops_cli.errors import NotFoundError, StateError, StructopsError, UsageError
from structops_cli.operations.standing_uses import Uses, refuse_in_use, uses_of
from structops_cli.operations.transaction import Change
from structops_cli.operations.unregistering import (
    Retired,
    changes_of,
    choose,
    drain_first,
    named_in_errors,
    rehearse,
    unregister_all,
    wait_until_gone,
)
from structops_cli.operations.versions import drop
from structops_cli.runtime.inventory import list_maps
from structops_cli.runtime.kernel import readable_kernel
from structops_cli.runtime.live_map import LiveMap
from structops_cli.runtime.pins import remove_pin
from structops_cli.runtime.unregistration import Unregistered
from structops_cli.shell_words import shell_words
from structops_cli.struct_ops.kinds import kind_of

if TYPE_CHECKING:
    from structops_cli.operations.drain_report import Drained

__all__ = ["command"]

DRAIN_S = 10.0
"""How long sockets are moved when --wait says nothing."""


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
    with mutating(output, dry_run=dry_run):
        stock = list_maps(kernel)
        found = choose(stock, selectors, every=every)
        if not if_present:
            _refuse_absent(found.absent)
        chosen, dead = found.maps, found.dead_pins
        lost = "it cannot be told whether a namespace, a route or a device uses it"
        warn_unread_types(output, chosen, lost)
        uses = [uses_of(live) for live in chosen]
        for one in uses:
            if not force:
                refuse_in_use(one)
        drained = (
            drain_first(
                stock,
                chosen,
                to,
                timeout_s=DRAIN_S if wait is None else wait,
                dry_run=dry_run,
                say=output.note,
            )
            if drain
            else ()
        )
        _say_left(output, drained, dry_run=dry_run)
        done = rehearse(kernel, stock, chosen, drained) if dry_run else unregister_all(stock, chosen)
        for one in uses:
            _say_forced(output, one)
            _say_hidden(output, one)
        if not dry_run:
            with named_in_errors(done):
                _unpin(dead)
    for error in found.absent.values():
        output.note(f"note: {error}: nothing to do")
    left = _wait(output, done, wait) if wait is not None and not dry_run else ()
    gone = {item.done.map_id for item in done} - {live.info.id for live in left}
    data = change_data([*changes_of(done, drained), *map(_unpinned, dead)], dry_run=dry_run)
    data["absent"] = list(found.absent)
    data["dead_pins"] = list(dead)
    data["drained"] = [
        {"map_ids": list(item.source.of_maps), "moved": sum(item.moved.values()), "left": len(item.left)}
        for item in drained
    ]
    data["unregistered"] = [_data(item, waited=wait is not None, gone=gone) for item in done]
    lines = [
        *(_line(item, dry_run=dry_run) for item in done),
        *(_dead_line(one, dry_run=dry_run) for one in dead),
    ]
    stands = Stands(_done_words(done, dead), "see structops list")
    output.result("unregister", data, lambda: "\n".join(map(shown, lines)), stands)
    if left:
        raise _not_gone(left, wait or 0)
    if still := [pin for item in done for pin in item.still_kept]:
        raise StructopsError(
            f"{len(still)} of the kept versions could not be removed",
            why=f"all else is done; still there: {', '.join(still)}",
            hint=f"remove them: {shell_words('rm', *still)}",
        )


def _unpin(dead: Sequence[str]) -> None:
    for path in dead:
        remove_pin(path)
    drop(dead)  # the folders, where they are empty now


def _say_left(output: Output, drained: Sequence[Drained], *, dry_run: bool) -> None:
    for item in drained:
        for sentence in item.unseen:
            output.note(f"not seen: {sentence}")
        for note in item.notes:
            output.note(f"note: {note}")
        moved = sum(item.moved.values())
        if moved or item.left:
            ids = ", ".join(f"id:{number}" for number in item.source.of_maps)
            again = " && ".join(f"structops drain id:{number}" for number in item.source.of_maps)
            left = f", {len(item.left)} left: {again} says why" if item.left else ""
            verb = "would be moved" if dry_run else "moved"
            output.note(f"{counted(moved, 'socket')} {verb} off {item.source.name} ({ids}){left}")


def _say_forced(output: Output, uses: Uses) -> None:
    name = uses.live.name
    if uses.defaults:
        output.warn(
            f"{name} is still the default of {', '.join(uses.defaults)}",
            why="new sockets there get the retired one",
            fix=uses.another_default,
        )
    for namespace, route in uses.routes:
        where = f"the route to {route.destination} in {namespace.title}"
        output.note(f"note: {where} names {name}: nothing until that name is registered again")
    if uses.default_of_devices:
        output.note(f"note: {name} is net.core.default_qdisc: new network devices get the retired one")
    for device, title in uses.devices:
        output.note(f"note: {device} in {title} goes on with the retired {name}")


def _say_hidden(output: Output, uses: Uses) -> None:
    for title in uses.hidden:
        output.note(
            f"note: {uses.live.name} is the default of {title}, which nothing in sight leads into: it is on its end, "
            "or new sockets there get the retired one"
        )


def _refuse_absent(absent: Mapping[str, NotFoundError]) -> None:
    """Raise the error of the first selector that matches nothing; it lists the others."""
    for error in absent.values():
        if len(absent) > 1:
            error.add(absent=list(absent))
        raise error


def _wait(output: Output, done: Sequence[Retired], seconds: float) -> tuple[LiveMap, ...]:
    """Wait for the kernel; Ctrl-C ends the waiting, and what was done is said first."""
    kernel = readable_kernel()
    try:
        return wait_until_gone(lambda: list_maps(kernel), done, seconds, output.note)
    except KeyboardInterrupt:
        for item in done:
            output.note(_line(item, dry_run=False))
        raise


def _not_gone(left: Sequence[LiveMap], seconds: float) -> StateError:
    first = left[0]
    pins = f", and it is pinned at {', '.join(first.pins)}" if first.pins else ""
    return StateError(
        f"{first.name} (id:{first.info.id}) is unregistered, and not gone after {seconds:g} s",
        why=f"{first.refcnt or 'no sockets or defaults'} still hold it{pins}",
        hint=f"structops status id:{first.info.id} says who",
        candidates=[f"id:{live.info.id}" for live in left],
    )


def _data(item: Retired, *, waited: bool, gone: set[int]) -> dict[str, Any]:
    done = item.done
    is_gone = done.map_id in gone if waited else done.gone
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


def _done_words(done: Sequence[Retired], dead: Sequence[str]) -> str:
    """Return what is undone by now, in one sentence."""
    names = dict.fromkeys(item.done.name for item in done if item.changed)
    return f"unregistered {', '.join([*names, *dead])}"


def _unpinned(path: str) -> Change:
    return Change(f"pin {path}", {"pinned": True}, {"pinned": False})


def _held(done: Unregistered) -> str:
    if done.gone or not done.refcnt:
        return ""
    holder = kind_of(done.type_name).registration.held_by
    return f"; {done.refcnt} still hold it: the kernel keeps it until the last {holder} lets go"
