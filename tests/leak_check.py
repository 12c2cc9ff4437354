"""Fail a live test that changes the kernel's resources, and remove its leftovers.

Only resources that are certainly the test's are removed. Others are only reported
(``tests/leftovers.py`` has the rule).

The kernel frees the programs of a struct_ops map some 100 ms after the map, after a
grace period of RCU tasks (``bpf_struct_ops_map_free``). The next tests run meanwhile.
A program that stays is reported later, under the name of its test.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import NamedTuple

import pytest

from structops_cli.errors import StructopsError
from structops_cli.net.congestion_controls import SYSCTL_DIR, read_congestion_controls
from structops_cli.operations.versions import drop
from structops_cli.runtime.maps_by_id import SETTLE_S
from structops_cli.runtime.unregistration import unregister
from structops_cli.syscall import bpf, bpffs
from structops_cli.syscall.info import link_info, map_info, prog_info
from tests.leftovers import Leftovers, Owner, find_leftovers, find_missing, live_maps
from tests.snapshot import Resource, Snapshot, bpf_objects, open_resources, take_snapshot
from tests.time_scale import scaled

__all__ = ["check_unchanged", "unfreed_programs"]

SETTLED_S = 5.0
"""Time for an RCU grace period, and for the commands of other processes to end."""


class Freeing(NamedTuple):
    """A program that the kernel was freeing when a test ended, and the deadline for that."""

    program: Resource
    test: str
    owner: Owner
    deadline: float


_freeing: list[Freeing] = []


def check_unchanged(before: Snapshot, owner: Owner, test: str = "an earlier test") -> None:
    """Fail the running test if resources appeared or disappeared; remove those that it left."""
    problems = unfreed_programs()
    _wait_for_freeing(before)
    gone, left = _settled_difference(before | _freed_later(before, owner, test), owner)
    groups = (
        ("left behind", left.own),
        ("left behind, or another process's", left.unexplained),
        ("taken away", gone),
    )
    problems += [f"{group}: {_described(resources)}" for group, resources in groups if resources]
    if not problems:
        return
    _remove(left.own, before, owner)
    if remaining := _remaining(left.own):
        problems.append(f"still there: {_described(remaining)}")
    pytest.fail("; ".join(problems), pytrace=False)


def unfreed_programs(*, wait: bool = False) -> list[str]:
    """Return a line for each program of an earlier test that outlived its deadline.

    ``wait`` waits until the deadlines.
    """
    while True:
        there, now = bpf_objects(), time.monotonic()
        _freeing[:] = [one for one in _freeing if one.program in there]
        late = [one for one in _freeing if now > one.deadline]
        if not wait or len(late) == len(_freeing):
            break
        time.sleep(0.02)
    _freeing[:] = [one for one in _freeing if one not in late]
    return [
        f"left behind by {one.test}: {_described([one.program])}"
        for one in late
        if not _is_another_process(one)
    ]


def _is_another_process(one: Freeing) -> bool:
    """Tell whether a program belongs to another process, which loaded it as the test ended."""
    after = take_snapshot()
    left = find_leftovers(after - {one.program}, after, one.owner)
    return one.program not in left.own | left.unexplained


def _wait_for_freeing(before: Snapshot) -> None:
    """Wait for the kernel to free maps and links of ended processes.

    A program array that is opened by id meanwhile may leak until reboot.
    """
    deadline = time.monotonic() + scaled(SETTLE_S)
    while not _only_programs(bpf_objects() - before) and time.monotonic() < deadline:
        time.sleep(0.01)


def _freed_later(before: Snapshot, owner: Owner, test: str) -> Snapshot:
    """Return and note the new programs, if the test left nothing else.

    This process must not have any of them open.
    """
    new = take_snapshot() - before
    if not _only_programs(new) or new & open_resources():
        return frozenset()
    deadline = time.monotonic() + scaled(SETTLED_S)
    known = {one.program for one in _freeing}
    _freeing.extend(Freeing(program, test, owner, deadline) for program in new - known)
    return new


def _only_programs(resources: Snapshot) -> bool:
    return all(one.type == "program" for one in resources)


def _settled_difference(before: Snapshot, owner: Owner) -> tuple[Snapshot, Leftovers]:
    """Take snapshots for some seconds; return the difference that all of them have."""
    deadline = time.monotonic() + scaled(SETTLED_S)
    own = unexplained = None
    while True:
        after = take_snapshot()
        gone, left = find_missing(before, after, owner), find_leftovers(before, after, owner)
        own = left.own if own is None else own & left.own
        unexplained = left.unexplained if unexplained is None else unexplained & left.unexplained
        if not (gone or own or unexplained) or time.monotonic() > deadline:
            return gone, Leftovers(own, unexplained)
        time.sleep(0.05)


def _remaining(resources: Snapshot) -> Snapshot:
    """Wait for the kernel to free resources, and return those that remain."""
    deadline = time.monotonic() + scaled(SETTLED_S)
    while (remaining := resources & take_snapshot()) and time.monotonic() < deadline:
        time.sleep(0.02)
    return remaining


def _remove(own: Snapshot, before: Snapshot, owner: Owner) -> None:
    """Remove resources, those that hold others first; ignore errors."""
    defaults = [str(one.key) for one in before if one.type == "default"]
    _each(own, "process", lambda pid: os.kill(int(pid), signal.SIGKILL))
    _each(own, "default", lambda _: _write("tcp_congestion_control", defaults))
    _each(own, "allowed algorithm", _disallow)
    for live in live_maps():
        if live.name.startswith(owner.prefix) and Resource("map", live.info.id) in own:
            with suppress(StructopsError):
                unregister(live)
    _each(own, "pin", lambda path: drop([path]))
    _each(own, "mount", bpffs.unmount)
    _each(own, "namespace", _remove_namespace)


def _each(own: Snapshot, type_: str, remove: Callable[[str], object]) -> None:
    for one in own:
        if one.type == type_:
            with suppress(OSError, StructopsError):
                remove(str(one.key))


def _disallow(name: str) -> None:
    _write("tcp_allowed_congestion_control", [n for n in read_congestion_controls().allowed if n != name])


def _write(sysctl: str, names: list[str]) -> None:
    with open(f"{SYSCTL_DIR}/{sysctl}", "w", encoding="ascii") as file:
        file.write(" ".join(names))


def _remove_namespace(name: str) -> None:
    subprocess.run(["ip", "netns", "del", name], capture_output=True, check=False)


def _described(resources: Iterable[Resource]) -> str:
    """Return resources as one line, with the kernel's names."""
    return ", ".join(sorted(f"{one}{_name_of(one)}" for one in resources))


def _name_of(one: Resource) -> str:
    with suppress(StructopsError, OSError):
        if one.type == "map":
            with bpf.map_get_fd_by_id(int(one.key)) as fd:
                return f" ({map_info(fd).name})"
        if one.type == "program":
            with bpf.prog_get_fd_by_id(int(one.key)) as fd:
                return f" ({prog_info(fd).name})"
        if one.type == "link":
            with bpf.link_get_fd_by_id(int(one.key)) as fd:
                return f" (of map {link_info(fd).map_id})"
        if one.type == "process":
            with open(f"/proc/{one.key}/cmdline", encoding="utf-8", errors="replace") as file:
                return f" ({file.read().replace(chr(0), ' ').strip()[:100]})"
    return ""
