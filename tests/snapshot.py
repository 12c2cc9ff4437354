"""List the kernel resources that a live test can leave behind.

Maps, programs and links have ids. Pins, mounts, congestion controls, defaults
and network namespaces have names. Processes are those that this run started.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import NamedTuple

from structops_cli.errors import StructopsError
from structops_cli.net.congestion_controls import read_congestion_controls
from structops_cli.syscall import bpf, bpffs
from structops_cli.syscall.info import prog_info
from structops_cli.syscall.uapi import BpfCmd
from tests.kernel_lock import RUN

__all__ = [
    "WITH_ID",
    "Resource",
    "Snapshot",
    "bpf_objects",
    "open_resources",
    "open_resources_by_owner",
    "orphan_processes",
    "pinned_resources",
    "take_snapshot",
    "with_maps",
]

NETNS = "/run/netns"
FDINFO = re.compile(rb"^(map|prog|link)_id:\s*(\d+)", re.MULTILINE)
TYPES = {b"map": "map", b"prog": "program", b"link": "link"}
WITH_ID = frozenset(TYPES.values())


class Resource(NamedTuple):
    """One kernel resource: its type, and its id, path or name."""

    type: str
    key: int | str

    def __str__(self) -> str:
        return f"{self.type} {self.key}"


Snapshot = frozenset[Resource]


def take_snapshot() -> Snapshot:
    """Return all resources of the kernel, and the processes that this run started."""
    controls = read_congestion_controls()
    mounts = [item.path for item in bpffs.mounts()]
    found: dict[str, Iterable[int | str]] = {
        "mount": mounts,
        "pin": [path for item in mounts for path in bpffs.pins(item)],
        "algorithm": controls.available,
        "allowed algorithm": controls.allowed,
        "default": [controls.default],
        "namespace": os.listdir(NETNS) if os.path.isdir(NETNS) else (),
        "process": _descendants(os.getpid()),
    }
    return bpf_objects() | frozenset(Resource(type_, key) for type_, keys in found.items() for key in keys)


def bpf_objects() -> Snapshot:
    """Return the maps, programs and links of the kernel."""
    found = {"map": bpf.map_ids(), "program": bpf.ids(BpfCmd.PROG_GET_NEXT_ID), "link": bpf.link_ids()}
    return frozenset(Resource(type_, number) for type_, numbers in found.items() for number in numbers)


def with_maps(programs: Iterable[int]) -> set[Resource]:
    """Return resources for the programs with these ids and for the maps that they use."""
    found = set()
    for program in programs:
        with suppress(StructopsError), bpf.prog_get_fd_by_id(program) as fd:
            maps = prog_info(fd).map_ids
            found |= {Resource("program", program), *(Resource("map", one) for one in maps)}
    return found


def pinned_resources(resources: Iterable[Resource]) -> set[Resource]:
    """Return the pinned objects of the pins among the resources, with the maps of programs."""
    found = set()
    for one in resources:
        if one.type == "pin":
            with suppress(StructopsError), bpf.obj_get(str(one.key)) as fd:
                found |= _in_fdinfo(f"/proc/self/fdinfo/{fd.fileno()}")
    return found | with_maps(int(one.key) for one in found if one.type == "program")


def open_resources() -> set[Resource]:
    """Return the maps, programs and links that this process has open."""
    return {one for fd in _bpf_descriptors(os.getpid()) for one in _in_fdinfo(f"/proc/self/fdinfo/{fd}")}


def open_resources_by_owner(own: set[int]) -> tuple[set[Resource], set[Resource]]:
    """Return the open maps, programs and links of ``own`` processes, and those of all others."""
    found: tuple[set[Resource], set[Resource]] = (set(), set())
    for pid in _pids():
        for fd in _bpf_descriptors(pid):
            found[pid not in own].update(_in_fdinfo(f"/proc/{pid}/fdinfo/{fd}"))
    for objects in found:
        objects.update(with_maps([int(one.key) for one in objects if one.type == "program"]))
    return found


def _in_fdinfo(path: str) -> set[Resource]:
    try:
        with open(path, "rb") as file:
            return {Resource(TYPES[name], int(number)) for name, number in FDINFO.findall(file.read())}
    except OSError:  # closed, or its process ended
        return set()


def _bpf_descriptors(pid: int) -> Iterator[str]:
    with suppress(OSError):
        for fd in os.listdir(f"/proc/{pid}/fd"):
            with suppress(OSError):
                if os.readlink(f"/proc/{pid}/fd/{fd}").startswith("anon_inode:bpf"):
                    yield fd


def orphan_processes(before: Snapshot) -> set[int]:
    """Return the processes of this run whose parents have ended, without those of ``before``."""
    mark = f"{RUN}={os.environ.get(RUN)}".encode()
    found = set()
    for pid in set(_pids()) - {os.getpid()} - {one.key for one in before if one.type == "process"}:
        with suppress(OSError), open(f"/proc/{pid}/environ", "rb") as file:
            if any(word == mark or word.startswith(mark + b".") for word in file.read().split(b"\0")):
                found.add(pid)
    return found


def _pids() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdecimal()]


def _descendants(pid: int) -> set[int]:
    """Return the children of a process and their descendants that have not ended."""
    found: set[int] = set()
    left = [pid]
    while left:
        children = [child for child in _children(left.pop()) if not _is_zombie(child)]
        found.update(children)
        left += children
    return found


def _children(pid: int) -> list[int]:
    """Return the children of a process's threads; none without CONFIG_PROC_CHILDREN."""
    found: list[int] = []
    with suppress(OSError):
        for thread in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{thread}/children", encoding="ascii") as file:
                found += map(int, file.read().split())
    return found


def _is_zombie(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return file.read().rpartition(b") ")[2].startswith(b"Z")
    except OSError:
        return True
