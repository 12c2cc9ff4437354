"""The kernel's slab memory by count of objects: what grows by one with each time that something was done is lost."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from typing import NamedTuple

__all__ = ["Slab", "count_slabs", "find_leaks", "parse_slabinfo"]

TABLE = "/proc/slabinfo"
CACHES = "/sys/kernel/slab"
OF_OTHERS = frozenset({
    "buffer_head", "dentry", "inode_cache", "proc_inode_cache", "ext4_inode_cache", "extent_status", "radix_tree_node", "lsm_inode_cache",
    "maple_node", "ftrace_event_field",
})  # fmt: skip
"""What any process that reads a file or maps memory makes grow; the last is one cache with DAMON's regions, where the kernel merges caches."""


class Slab(NamedTuple):
    """One cache: objects in use, and how many of them one slab holds."""

    objects: int
    per_slab: int


def count_slabs() -> dict[str, Slab]:
    """Count the objects of every cache, with the free ones that processors keep for themselves given back before."""
    for name in os.listdir(CACHES):
        with suppress(OSError), open(os.path.join(CACHES, name, "shrink"), "w", encoding="ascii") as file:
            file.write("1")
    with open(TABLE, encoding="ascii") as table:
        return parse_slabinfo(table.read())


def parse_slabinfo(table: str) -> dict[str, Slab]:
    """Read /proc/slabinfo: after two lines of head, a name, objects in use, objects, their size, objects of a slab."""
    rows = (line.split() for line in table.splitlines()[2:])
    return {row[0]: Slab(int(row[1]), int(row[4])) for row in rows}


def find_leaks(before: Mapping[str, Slab], after: Mapping[str, Slab], times: int) -> dict[str, int]:
    """Return the growth of each cache that has grown by an object or more for each time.

    A cache that keeps more objects in one slab than were asked for is left out, for
    its count goes up and down by whole slabs.
    """
    grown = {name: slab.objects - before[name].objects for name, slab in after.items() if name in before}
    return {
        name: count
        for name, count in grown.items()
        if count >= times and after[name].per_slab < times and name not in OF_OTHERS
    }
