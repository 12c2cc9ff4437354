"""Objects of the kernel that a live test could leave behind: finding them, telling whose they are, taking them away.

Other processes register and unregister while a live test runs, so a difference between
two looks is not yet the test's. The rule is:

- *Another process's*: a registered name or a pin under a name that begins with ``bpf_``, all that
  such a registration uses, all that a process outside of this run has open, and what other runs mount below
  the temporary directory. No test registers such a name and keeps it: tests take the fixture ``name``.
- *The test's*: a name that begins as the fixture ``name`` has it, with the process id of this run, all
  below a mount that the test made, and all that a process of the test has open. Only this is taken away.
- *Unexplained*: the rest. An object that is being loaded or freed is so for a moment. One that
  stays is reported, and left alone.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from typing import NamedTuple

import pytest

from structops_cli.errors import StructopsError
from structops_cli.net.congestion_controls import SYSCTL_DIR, read_congestion_controls
from structops_cli.operations.memory import MEMORY_PATH, Memory
from structops_cli.operations.versions import drop
from structops_cli.runtime.inventory import list_maps
from structops_cli.runtime.kernel import live_kernel
from structops_cli.runtime.live_map import LiveMap
from structops_cli.runtime.other_maps import SETTLE_S
from structops_cli.runtime.unregistration import unregister
from structops_cli.syscall import bpf, bpffs
from structops_cli.syscall.info import link_info, map_info, prog_info
from tests.alone import RUN
from tests.patience import patient

__all__ = ["Footprint", "Leftovers", "Owner", "Thing", "hold_unchanged", "open_here", "take_footprint"]

SETTLED_S = 5.0
"""The kernel frees maps and programs after an RCU grace period, and the commands of other processes end meanwhile."""
NETNS = "/run/netns"
FDINFO = re.compile(rb"^(map|prog|link)_id:\s*(\d+)", re.MULTILINE)
SORTS = {b"map": "map", b"prog": "program", b"link": "link"}
IDS = frozenset(SORTS.values())


class Thing(NamedTuple):
    """One thing that a test can leave: its sort, and its id, path or name."""

    sort: str
    key: int | str

    def __str__(self) -> str:
        return f"{self.sort} {self.key}"


Footprint = frozenset[Thing]


class Owner(NamedTuple):
    """How to tell the things of a test: by the folder of its files and the beginning of its names.

    ``others`` are beginnings of other processes' names.
    """

    folder: str
    prefix: str
    others: tuple[str, ...] = ("bpf_",)


class Leftovers(NamedTuple):
    """Things that came during a test and are not another process's; ``own`` are certainly the test's."""

    own: Footprint
    unexplained: Footprint


def take_footprint() -> Footprint:
    """Look at maps, programs, links, pins, mounts, congestion controls, namespaces and processes of this run."""
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
    return _objects() | frozenset(Thing(sort, key) for sort, keys in found.items() for key in keys)


def _missing(before: Footprint, after: Footprint, owner: Owner) -> Footprint:
    """Return named things that have gone, but for those of other processes, and what runs of tests mount for themselves.

    Ids are left out: maps, programs and links go with their last user, and nobody
    but that user can tell whether it meant to.
    """
    return frozenset(
        one
        for one in before - after
        if not (one.sort in {*IDS, "process"} or _is_others_name(one, owner) or _is_temporary(str(one.key)))
    )


def hold_unchanged(before: Footprint, owner: Owner) -> None:
    """Fail a test that left something or took something away; take away what it left, and name both."""
    _let_objects_go(before)
    gone, left = _settled(before, owner)
    if not gone and not left.own and not left.unexplained:
        return
    told = [f"left behind: {_named(left.own)}"] if left.own else []
    told += [f"left behind, or another process's: {_named(left.unexplained)}"] if left.unexplained else []
    told += [f"taken away: {_named(gone)}"] if gone else []
    _take_away(left.own, before, owner)
    if stays := _staying(left.own):
        told.append(f"still there: {_named(stays)}")
    pytest.fail("; ".join(told), pytrace=False)


def _let_objects_go(before: Footprint) -> None:
    """Give maps of ended processes a moment: a program array that is opened by id meanwhile may stay until reboot."""
    deadline = time.monotonic() + patient(SETTLE_S)
    while _objects() - before and time.monotonic() < deadline:
        time.sleep(0.01)


def _objects() -> Footprint:
    """Return the maps, programs and links of the kernel."""
    found = {"map": bpf.map_ids(), "program": bpf.prog_ids(), "link": bpf.link_ids()}
    return frozenset(Thing(sort, number) for sort, numbers in found.items() for number in numbers)


def _settled(before: Footprint, owner: Owner) -> tuple[Footprint, Leftovers]:
    """Look until nothing differs, or for some seconds; return what differed at every look."""
    deadline = time.monotonic() + patient(SETTLED_S)
    own = unexplained = None
    while True:
        after = take_footprint()
        gone, left = _missing(before, after, owner), _find_leftovers(before, after, owner)
        own = left.own if own is None else own & left.own
        unexplained = left.unexplained if unexplained is None else unexplained & left.unexplained
        if not (gone or own or unexplained) or time.monotonic() > deadline:
            return gone, Leftovers(own, unexplained)
        time.sleep(0.05)


def _staying(things: Footprint) -> Footprint:
    """Wait for the kernel to free things, and return those that stay."""
    deadline = time.monotonic() + patient(SETTLED_S)
    while (stays := things & take_footprint()) and time.monotonic() < deadline:
        time.sleep(0.02)
    return stays


def _find_leftovers(before: Footprint, after: Footprint, owner: Owner) -> Leftovers:
    """Tell whose the things are that came between two looks."""
    new = after - before
    if not new:
        return Leftovers(frozenset(), frozenset())
    mounts = {
        str(one.key) for one in new if one.sort == "mount" and str(one.key).startswith(f"{owner.folder}/")
    }
    own_pids = {int(one.key) for one in new if one.sort == "process"} | _orphans(before)
    here, elsewhere = _open_objects({os.getpid(), *own_pids})
    stock = _stock()
    own = {one for one in new if one.sort not in IDS and _is_own_name(one, mounts, owner)}
    others = {one for one in new - own if _is_others_name(one, owner) or _is_temporary(str(one.key))}
    others |= elsewhere | _used_by(stock, owner.others) | _objects_of(others)
    own |= _used_by(stock, (owner.prefix,)) | _objects_of(own)
    own = (own - elsewhere | here) & new
    return Leftovers(
        frozenset(own | {Thing("process", pid) for pid in own_pids}), frozenset(new - own - others)
    )


def _is_own_name(one: Thing, mounts: set[str], owner: Owner) -> bool:
    if one.sort == "mount":
        return one.key in mounts
    if one.sort == "pin":
        path = str(one.key)
        return (
            path.startswith(tuple(f"{mount}/" for mount in mounts))
            or _in_path(path, (owner.prefix,))
            or _is_own_memory(path, owner)
        )
    if one.sort in ("default", "allowed algorithm"):
        return not _is_others_name(one, owner)
    return one.sort == "process" or str(one.key).startswith(owner.prefix)


def _is_others_name(one: Thing, owner: Owner) -> bool:
    if one.sort == "pin":
        return _in_path(str(one.key), owner.others)
    return one.sort not in IDS and str(one.key).startswith(owner.others)


def _in_path(path: str, prefixes: tuple[str, ...]) -> bool:
    return any(part.removeprefix("map_").startswith(prefixes) for part in path.split("/"))


def _is_own_memory(path: str, owner: Owner) -> bool:
    """Tell whether a saved state is the test's: it names no algorithm of another process."""
    if path != MEMORY_PATH:
        return False
    try:
        with Memory() as memory:
            return not any(entry.name.startswith(owner.others) for entry in memory.defaults().values())
    except StructopsError:  # a test has put something else there
        return True


def _is_temporary(path: str) -> bool:
    return path.startswith(f"{tempfile.gettempdir()}/")


def _stock() -> tuple[LiveMap, ...]:
    return list_maps(live_kernel()) if any(True for _ in bpf.map_ids()) else ()


def _used_by(stock: tuple[LiveMap, ...], prefixes: tuple[str, ...]) -> set[Thing]:
    """Return the struct_ops maps whose name begins so, with their links, pins and programs, and the maps of these."""
    found = set()
    for live in stock:
        if live.name.startswith(prefixes):
            found |= {Thing("map", live.info.id), *(Thing("link", link.id) for link in live.links)}
            found |= {
                Thing("pin", path)
                for path in (*live.pins, *(pin for link in live.links for pin in link.pins))
            }
            found |= _with_maps(live.program_ids)
    return found


def _with_maps(programs: Iterable[int]) -> set[Thing]:
    found = set()
    for program in programs:
        with suppress(StructopsError), bpf.prog_get_fd_by_id(program) as fd:
            found |= {Thing("program", program), *(Thing("map", one) for one in prog_info(fd).map_ids)}
    return found


def _objects_of(things: Iterable[Thing]) -> set[Thing]:
    """Return what pins lead to."""
    found = set()
    for one in things:
        if one.sort == "pin":
            with suppress(StructopsError), bpf.obj_get(str(one.key)) as fd:
                found |= _in_descriptor(f"/proc/self/fdinfo/{fd.fileno()}")
    return found | _with_maps(int(one.key) for one in found if one.sort == "program")


def _in_descriptor(path: str) -> set[Thing]:
    try:
        with open(path, "rb") as file:
            return {Thing(SORTS[sort], int(number)) for sort, number in FDINFO.findall(file.read())}
    except OSError:  # closed, or its process has ended
        return set()


def open_here() -> set[Thing]:
    """Return the maps, programs and links that this process has open."""
    return {one for fd in _bpf_descriptors(os.getpid()) for one in _in_descriptor(f"/proc/self/fdinfo/{fd}")}


def _open_objects(own: set[int]) -> tuple[set[Thing], set[Thing]]:
    """Return the maps, programs and links that processes have open: those of some processes, and those of all others."""
    found: tuple[set[Thing], set[Thing]] = (set(), set())
    for pid in _pids():
        for fd in _bpf_descriptors(pid):
            found[pid not in own].update(_in_descriptor(f"/proc/{pid}/fdinfo/{fd}"))
    for objects in found:
        objects.update(_with_maps([int(one.key) for one in objects if one.sort == "program"]))
    return found


def _bpf_descriptors(pid: int) -> Iterator[str]:
    with suppress(OSError):
        for fd in os.listdir(f"/proc/{pid}/fd"):
            with suppress(OSError):
                if os.readlink(f"/proc/{pid}/fd/{fd}").startswith("anon_inode:bpf"):
                    yield fd


def _pids() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdecimal()]


def _descendants(pid: int) -> set[int]:
    """Return the children of a process, and theirs, that have not ended."""
    found: set[int] = set()
    left = [pid]
    while left:
        children = [child for child in _children(left.pop()) if not _is_zombie(child)]
        found.update(children)
        left += children
    return found


def _children(pid: int) -> list[int]:
    """Return the children of a process's threads; none where the kernel does not tell (CONFIG_PROC_CHILDREN)."""
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


def _orphans(before: Footprint) -> set[int]:
    """Return the programs that this run has started, whose parents have ended, and that were not there before."""
    mark = f"{RUN}={os.environ.get(RUN)}".encode()
    found = set()
    for pid in set(_pids()) - {os.getpid()} - {one.key for one in before if one.sort == "process"}:
        with suppress(OSError), open(f"/proc/{pid}/environ", "rb") as file:
            if any(word == mark or word.startswith(mark + b".") for word in file.read().split(b"\0")):
                found.add(pid)
    return found


def _take_away(own: Footprint, before: Footprint, owner: Owner) -> None:
    """Take away what a test left, in the order in which things hold each other; what cannot be taken away stays."""
    steps: tuple[tuple[str, Callable[[str], object]], ...] = (
        ("process", lambda pid: os.kill(int(pid), signal.SIGKILL)),
        (
            "default",
            lambda _: _write(
                "tcp_congestion_control", [str(one.key) for one in before if one.sort == "default"]
            ),
        ),
        ("allowed algorithm", lambda name: _write("tcp_allowed_congestion_control", _allowed_without(name))),
    )
    for sort, step in steps:
        _each(own, sort, step)
    for live in _stock():
        if live.name.startswith(owner.prefix) and Thing("map", live.info.id) in own:
            with suppress(StructopsError):
                unregister(live)
    _each(own, "pin", lambda path: drop([path]))
    _each(own, "mount", bpffs.unmount)
    _each(own, "namespace", _remove_namespace)


def _each(own: Footprint, sort: str, step: Callable[[str], object]) -> None:
    for one in own:
        if one.sort == sort:
            with suppress(OSError, StructopsError):
                step(str(one.key))


def _allowed_without(name: str) -> list[str]:
    return [one for one in read_congestion_controls().allowed if one != name]


def _write(sysctl: str, names: list[str]) -> None:
    with open(f"{SYSCTL_DIR}/{sysctl}", "w", encoding="ascii") as file:
        file.write(" ".join(names))


def _remove_namespace(name: str) -> None:
    subprocess.run(["ip", "netns", "del", name], capture_output=True, check=False)


def _named(things: Iterable[Thing]) -> str:
    """Return things as one line a test's report has room for, with the names that the kernel knows them by."""
    return ", ".join(sorted(f"{one}{_name_of(one)}" for one in things))


def _name_of(one: Thing) -> str:
    with suppress(StructopsError, OSError):
        if one.sort == "map":
            with bpf.map_get_fd_by_id(int(one.key)) as fd:
                return f" ({map_info(fd).name})"
        if one.sort == "program":
            with bpf.prog_get_fd_by_id(int(one.key)) as fd:
                return f" ({prog_info(fd).name})"
        if one.sort == "link":
            with bpf.link_get_fd_by_id(int(one.key)) as fd:
                return f" (of map {link_info(fd).map_id})"
        if one.sort == "process":
            with open(f"/proc/{one.key}/cmdline", encoding="utf-8", errors="replace") as file:
                return f" ({file.read().replace(chr(0), ' ').strip()[:100]})"
    return ""
