"""Find the owners of resources that appeared while a live test ran.

Other processes register and unregister meanwhile. Each new resource is in one of three groups:

- *Another process's*: its name begins with ``bpf_``, or such a registration refers to it.
  Or a process outside of this run has it open. Or another run mounted it below the
  temporary directory. Tests never keep such a name: they take the fixture ``name``.
- *The test's own*: its name begins as those of the fixture ``name`` do. Or it is below a
  mount that the test made, or a process of the test has it open.
- *Unexplained*: all others. The kernel may still be loading or freeing them.
"""

from __future__ import annotations

import os
import tempfile
from contextlib import suppress
from typing import NamedTuple

from structops_cli.errors import KernelError, StructopsError
from structops_cli.operations.state_store import MAP_NAME, STATE_PATH, StateStore
from structops_cli.runtime.inventory import list_maps
from structops_cli.runtime.kernel import live_kernel
from structops_cli.runtime.live_map import LiveMap
from structops_cli.syscall import bpf
from structops_cli.syscall.info import map_info
from tests.snapshot import (
    WITH_ID,
    Resource,
    Snapshot,
    open_resources_by_owner,
    orphan_processes,
    pinned_resources,
    with_maps,
)

__all__ = ["Leftovers", "Owner", "find_leftovers", "find_missing", "live_maps"]


class Owner(NamedTuple):
    """The folder of a test's files, and the prefix of its names.

    ``others`` are the prefixes of other processes' names.
    """

    folder: str
    prefix: str
    others: tuple[str, ...] = ("bpf_",)


class Leftovers(NamedTuple):
    """New resources that are not another process's; those in ``own`` are certainly the test's."""

    own: Snapshot
    unexplained: Snapshot


def find_missing(before: Snapshot, after: Snapshot, owner: Owner) -> Snapshot:
    """Return the named resources that are gone, without those of other processes and runs.

    Maps, programs and links are left out: they go with their last reference, and only
    its owner knows whether that was intended.
    """
    return frozenset(
        one
        for one in before - after
        if not (
            one.type in {*WITH_ID, "process"} or _is_others_name(one, owner) or _is_temporary(str(one.key))
        )
    )


def find_leftovers(before: Snapshot, after: Snapshot, owner: Owner) -> Leftovers:
    """Compare two snapshots and group the new resources by their owner."""
    new = after - before
    if not new:
        return Leftovers(frozenset(), frozenset())
    paths = {str(one.key) for one in new if one.type == "mount"}
    mounts = {path for path in paths if path.startswith(f"{owner.folder}/")}
    own_pids = {int(one.key) for one in new if one.type == "process"} | orphan_processes(before)
    here, elsewhere = open_resources_by_owner({os.getpid(), *own_pids})
    maps = live_maps()
    own = {one for one in new if one.type not in WITH_ID and _is_own_name(one, mounts, owner)}
    others = {one for one in new - own if _is_others_name(one, owner) or _is_temporary(str(one.key))}
    others |= elsewhere | _used_by(maps, owner.others) | pinned_resources(others) | _saved_states(new)
    own |= _used_by(maps, (owner.prefix,)) | pinned_resources(own)
    own = (own - elsewhere | here) & new
    processes = {Resource("process", pid) for pid in own_pids}
    return Leftovers(frozenset(own | processes), frozenset(new - own - others))


def live_maps() -> tuple[LiveMap, ...]:
    """Return the struct_ops maps, without parsing the kernel's BTF if there is no map at all."""
    return list_maps(live_kernel()) if any(True for _ in bpf.map_ids()) else ()


def _used_by(maps: tuple[LiveMap, ...], prefixes: tuple[str, ...]) -> set[Resource]:
    """Return the struct_ops maps with a prefix, and everything that belongs to them.

    These are their links, pins and programs, and the maps of the programs.
    """
    found = set()
    for live in maps:
        if live.name.startswith(prefixes):
            pins = (*live.pins, *(pin for link in live.links for pin in link.pins))
            found |= {Resource("map", live.info.id), *(Resource("link", link.id) for link in live.links)}
            found |= {Resource("pin", path) for path in pins}
            found |= with_maps(live.program_ids)
    return found


def _saved_states(new: Snapshot) -> set[Resource]:
    """Return the maps of saved state. Another process's has the same name; a test's own also leaves a pin."""
    found = set()
    for one in new:
        if one.type == "map":
            with suppress(KernelError), bpf.map_get_fd_by_id(int(one.key)) as fd:
                if map_info(fd).name == MAP_NAME:
                    found.add(one)
    return found


def _is_own_name(one: Resource, mounts: set[str], owner: Owner) -> bool:
    if one.type == "mount":
        return one.key in mounts
    if one.type == "pin":
        path = str(one.key)
        return (
            path.startswith(tuple(f"{mount}/" for mount in mounts))
            or _in_path(path, (owner.prefix,))
            or _is_own_saved_state(path, owner)
        )
    if one.type in ("default", "allowed algorithm"):
        return not _is_others_name(one, owner)
    return one.type == "process" or str(one.key).startswith(owner.prefix)


def _is_others_name(one: Resource, owner: Owner) -> bool:
    if one.type == "pin":
        return _in_path(str(one.key), owner.others)
    return one.type not in WITH_ID and str(one.key).startswith(owner.others)


def _in_path(path: str, prefixes: tuple[str, ...]) -> bool:
    return any(part.removeprefix("map_").startswith(prefixes) for part in path.split("/"))


def _is_own_saved_state(path: str, owner: Owner) -> bool:
    """Tell whether a pin is a saved state without an algorithm of another process."""
    if path != STATE_PATH:
        return False
    try:
        return not any(entry.name.startswith(owner.others) for entry in StateStore().defaults().values())
    except StructopsError:  # a test has put another object there
        return True


def _is_temporary(path: str) -> bool:
    return path.startswith(f"{tempfile.gettempdir()}/")
