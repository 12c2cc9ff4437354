"""``structops status``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import groupby
from typing import Any

import click

from structops_cli.cli.live import map_data
from structops_cli.cli.output import Output, common_options, fields, shown, table
from structops_cli.cli.selectors import optional_selector_argument
from structops_cli.cli.unread_btf import warn_unread_types
from structops_cli.counted import counted
from structops_cli.library.system import status as find_status
from structops_cli.net.socket_owners import CommandNames
from structops_cli.operations.references import References, SocketHolder
from structops_cli.operations.status import MapStatus, Status, has_leaked, held_by
from structops_cli.runtime.selection import is_kernels_own, is_path

LEAKED = "leaked, until the next boot, or of a socket that no process has open: on its way to one in a message, or in io_uring"
ENDED = "connections that ended before they were accepted"
HEADER = ("ID", "NAME", "TYPE", "STATE", "HELD BY")


@click.command()
@optional_selector_argument
@common_options
@click.pass_obj
def command(output: Output, selector: str | None) -> None:
    """Show every struct_ops map with its holders: links, pins, defaults, sockets, processes.

    Two versions under one name are told apart by the map that each socket and default
    really uses. Notes on stderr name the parts of the system that could not be inspected;
    JSON has them as "unseen".
    """
    status = find_status(selector)
    lost = "defaults, routes, sockets and devices that use it cannot be told"
    warn_unread_types(output, [one.live for one in status.maps], lost)
    for sentence in status.references.not_inspected:
        output.note(f"not seen: {sentence}")
    if selector is not None:
        _note_other_name(output, selector, status)
    output.result("status", lambda: _data(status), lambda: _text(output, status))


def _note_other_name(output: Output, selector: str, status: Status) -> None:
    """Note that a selector matches maps only by their own name."""
    if is_path(selector) or any(selector in (one.live.name, f"id:{one.live.info.id}") for one in status.maps):
        return
    names = ", ".join(dict.fromkeys(one.live.name for one in status.maps))
    own = " is one of the kernel's own algorithms, and" if is_kernels_own(selector) else ""
    output.note(f"note: {selector}{own} is only the map name of {names}")


# Text


def _text(output: Output, status: Status) -> str:
    if not status.maps:
        output.note("no struct_ops map on this kernel")
        return ""
    rows = [
        (one.live.info.id, one.live.name, one.live.type.name, one.live.state, held_by(one) or "-")
        for one in status.maps
    ]
    commands = CommandNames()
    details = [_details(one, status.references, commands) for one in status.maps]
    return "\n\n".join([table(HEADER, rows), *[text for text in details if text]])


def _details(one: MapStatus, found: References, commands: CommandNames) -> str:
    lines = [*_lines(one, found, commands)]
    if not lines:
        return ""
    head = shown(f"{one.live.name} id:{one.live.info.id}")
    if one.replaced_by:
        head += f": {one.live.state}; under its name id:{one.replaced_by} is registered"
    return f"{head}\n{fields(lines, indent=2)}"


def _lines(one: MapStatus, found: References, commands: CommandNames) -> Iterator[tuple[str, str]]:
    if one.live.reason:
        yield "ejected", one.live.reason
    for link in one.live.links:
        where = ", ".join(link.pins)
        yield "link", f"{link.id}, pinned at {where}" if where else f"{link.id}, not pinned"
    for pin in one.live.pins:
        yield "pin", pin
    for use in one.defaults:
        yield "default", f"of {found.title(use.netns)}"
    for route in one.routes:
        yield (
            "route",
            f"{route.destination} in {found.title(route.netns)}{', locked' if route.locked else ''}",
        )
    yield from _socket_lines(one.sockets, found, commands)
    yield from _device_lines(one, found)
    for process in dict.fromkeys(file.process for file in one.files):
        whats = {"link" if file.link_id else "map" for file in one.files if file.process == process}
        yield "process", f"{_process(process, commands)} has the {' and the '.join(sorted(whats))} open"
    if one.references.unexplained:
        number = counted(one.references.unexplained, "reference")
        yield "unexplained", f"{number}: {_why_unexplained(found)}"


def _why_unexplained(found: References) -> str:
    if found.not_inspected:
        return "something that could not be looked at"
    if found.queues:
        queues = ", ".join(f"{q.listener} in {found.title(q.netns)} has {q.ended}" for q in found.queues)
        return f"{ENDED}, and are in their listeners' queues still ({queues}), or {LEAKED}"
    return LEAKED


def _socket_lines(
    sockets: tuple[SocketHolder, ...], found: References, commands: CommandNames
) -> Iterator[tuple[str, str]]:
    if not sockets:
        return
    from structops_cli.net.sock_diag import state_name  # 10 ms, and many maps have no socket

    groups: dict[tuple[int, int, bool], list[SocketHolder]] = {}
    for holder in sockets:
        owner = holder.owners[0][0] if holder.owners else 0
        groups.setdefault((owner, holder.use.netns, holder.ended_in_queue), []).append(holder)
    for (owner, netns, ended), members in groups.items():
        if ended:
            yield (
                "sockets",
                f"{len(members)} in {found.title(netns)}: {ENDED}, and their listeners' queues have still",
            )
            continue
        states = Counter(state_name(holder.use.state) for holder in members)
        shown = ", ".join(f"{number} {state}" for state, number in states.most_common())
        yield "sockets", f"{len(members)} of {_process(owner, commands)} in {found.title(netns)}: {shown}"


def _device_lines(one: MapStatus, found: References) -> Iterator[tuple[str, str]]:
    for netns, used in groupby(sorted(one.devices), key=lambda use: use.netns):
        names = ", ".join(dict.fromkeys(use.qdisc.device for use in used))
        yield "devices", f"{names} in {found.title(netns)}"
    if one.default_of_devices:
        yield "default", "of new network devices (net.core.default_qdisc)"


def _process(process: int, commands: CommandNames) -> str:
    if not process:
        return "no process"
    name = commands[process]
    return f"{name} ({process})" if name else f"process {process}"


# JSON


def _data(status: Status) -> dict[str, Any]:
    from structops_cli.net.congestion_controls import read_congestion_controls

    found, commands = status.references, CommandNames()
    controls = read_congestion_controls()
    maps = {use.netns: use for use in found.defaults}
    return {
        "maps": [_map(one, found, commands) for one in status.maps],
        "namespaces": [
            {
                "netns": inode,
                "title": item.title,
                "default": maps[inode].name if inode in maps else None,
                "default_map_id": (maps[inode].map_id or None) if inode in maps and found.exact else None,
            }
            for inode, item in found.namespaces.items()
        ],
        "available": list(controls.available),
        "allowed": list(controls.allowed),
        "exact": found.exact,
        "unseen": list(found.not_inspected),
    }


def _map(one: MapStatus, found: References, commands: CommandNames) -> dict[str, Any]:
    from structops_cli.net.sock_diag import state_name  # for JSON only

    references = one.references
    return map_data(one.live) | {
        "replaced_by": one.replaced_by or None,
        "defaults": [{"netns": use.netns, "title": found.title(use.netns)} for use in one.defaults],
        "routes": [
            {
                "netns": route.netns,
                "title": found.title(route.netns),
                "destination": route.destination,
                "locked": route.locked,
            }
            for route in one.routes
        ],
        "sockets": [
            {
                "netns": holder.use.netns,
                "title": found.title(holder.use.netns),
                "state": state_name(holder.use.state),
                "cookie": holder.use.cookie or None,
                "ended_in_queue": holder.ended_in_queue,
                "owners": [
                    {"process": process, "command": commands[process], "fd": fd}
                    for process, fd in holder.owners
                ],
            }
            for holder in one.sockets
        ],
        "devices": [
            {"netns": use.netns, "title": found.title(use.netns)} | use.qdisc._asdict() for use in one.devices
        ],
        "default_of_devices": one.default_of_devices,
        "processes": [
            {
                "process": file.process,
                "command": commands[file.process],
                "fd": file.fd,
                "has": "link" if file.link_id else "map",
            }
            for file in one.files
        ],
        "references": references._asdict(),
        "leaked": has_leaked(one, found),
        "unexplained_why": _why_unexplained(found) if references.unexplained else None,
    }
