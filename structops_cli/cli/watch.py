"""``structops watch``."""

from __future__ import annotations

import gc
import select
import sys
import time
from functools import partial
from typing import Any

import click

from structops_cli.cli.numbers import Seconds, WholeNumber
from structops_cli.cli.output import Output, ReaderGone, common_options, shown
from structops_cli.counted import counted
from structops_cli.errors import ExitCode
from structops_cli.operations.watch import Event, Watcher
from structops_cli.runtime.kernel import readable_kernel


@click.command()
@click.option(
    "--interval",
    type=Seconds(min=0.01, max=86400),
    default=0.5,
    show_default=True,
    metavar="SECONDS",
    help="Time between two reads of the kernel.",
)
@click.option("--count", type=WholeNumber(min=1), metavar="N", help="End after N events.")
@click.option(
    "--timeout",
    type=Seconds(min=0),
    metavar="SECONDS",
    help="End after this time; with --count and fewer events, exit with 1.",
)
@common_options
@click.pass_obj
def command(output: Output, interval: float, count: int | None, timeout: float | None) -> int:
    """Report changes as they happen: one line for each event, with --json one object a line.

    Events: registered, replaced (the link names another map now), detached,
    retired, ejected, freed, default (of a network namespace). The kernel is
    read every --interval seconds, and a shorter state may be missed. Ctrl-C ends it.
    """
    gc.enable()  # this command may run for days
    left = count
    with Watcher(readable_kernel()) as watcher:
        try:
            first = watcher.begin()
            maps, namespaces = counted(len(first.maps), "map"), counted(len(first.defaults), "namespace")
            output.note(f"watching {maps} and {namespaces}")
            for event in watcher.events(interval, timeout, _wait):
                title = watcher.title(event.netns) if event.netns else None
                output.result("watch", _data(event, title), partial(_text, event, title))
                left = left and left - 1
                if left == 0:
                    break
        except KeyboardInterrupt:  # the usual end, an error only with --count
            if left:
                raise
    return ExitCode.FAILED if left else ExitCode.DONE


def _wait(seconds: float) -> None:
    """Sleep; raise ``ReaderGone`` at once if the reader of stdout ends (``watch | head -1``)."""
    poll = select.poll()
    try:
        poll.register(sys.stdout.fileno(), 0)  # POLLERR arrives without being requested
        gone = poll.poll(max(seconds, 0) * 1000)
    except (OSError, ValueError):  # stdout is no file
        time.sleep(max(seconds, 0))
        return
    if any(happened & (select.POLLERR | select.POLLHUP) for _, happened in gone):
        raise ReaderGone("its reader has ended")
    if gone:  # closed from the start
        time.sleep(max(seconds, 0))


def _data(event: Event, title: str | None) -> dict[str, Any]:
    return {
        "event": event.kind,
        "time": round(event.time, 3),
        "name": event.name,
        "type": event.type_name,
        "map_id": event.map_id,
        "old_map_id": event.old_map_id,
        "link_id": event.link_id,
        "holders": event.holders,
        "reason": event.reason,
        "netns": event.netns,
        "namespace": title,
        "before": event.before,
    }


def _text(event: Event, title: str | None) -> str:
    clock = time.strftime("%H:%M:%S", time.localtime(event.time))
    if event.kind == "default":
        old = _version(event.before or "", event.old_map_id)
        return shown(f"{clock} default of {title}: {_version(event.name, event.map_id)}, was {old}")
    about = {
        "replaced": f", in place of id:{event.old_map_id} behind link {event.link_id}",
        "retired": f", {event.holders or 'nothing'} still {'hold' if (event.holders or 0) > 1 else 'holds'} it",
        "ejected": f": {event.reason}" if event.reason else "",
    }.get(event.kind, f", link {event.link_id}" if event.link_id else "")
    return shown(f"{clock} {event.kind} {_version(event.name, event.map_id)} ({event.type_name}){about}")


def _version(name: str, map_id: int | None) -> str:
    return f"{name} id:{map_id}" if map_id else name
