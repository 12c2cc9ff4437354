"""Find kernel memory leaks: slab caches that grow by an object with each repetition."""

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
"""Caches that grow with any file or mapping; SLUB may merge the last with DAMON's regions."""


class Slab(NamedTuple):
    """One cache: the number of objects in use, and of objects in one slab."""

    objects: int
    per_slab: int


def count_slabs() -> dict[str, Slab]:
    """Count the objects of every cache, after the processors have returned their free ones."""
    for name in os.listdir(CACHES):
        with suppress(OSError), open(os.path.join(CACHES, name, "shrink"), "w", encoding="ascii") as file:
            file.write("1")
    with open(TABLE, encoding="ascii") as table:
        return parse_slabinfo(table.read())


def parse_slabinfo(table: str) -> dict[str, Slab]:
    """Read /proc/slabinfo.

    Two lines of head, then: name, objects in use, objects, size, objects per slab.
    """
    rows = (line.split() for line in table.splitlines()[2:])
    return {row[0]: Slab(int(row[1]), int(row[4])) for row in rows}


def find_leaks(before: Mapping[str, Slab], after: Mapping[str, Slab], times: int) -> dict[str, int]:
    """Return the growth of each cache that grew by an object or more per repetition.

    A cache with more objects per slab than ``times`` is left out, because its count
    changes by whole slabs.
    """
    grown = {name: slab.objects - before[name].objects for name, slab in after.items() if name in before}
    return {
        name: count
        for name, count in grown.items()
        if count >= times and after[name].per_slab < times and name not in OF_OTHERS
    }
