"""Maps of other sorts than struct_ops, which nothing but opening by id tells from one: opened as seldom as can be.

A program array is emptied when its last user in user space goes, by work that
takes a reference of the map. Where that work is queued already, the reference
is taken nevertheless and nobody gives it back (``prog_array_map_clear``): a
program array without users that is opened by id and closed twice in a moment,
or just after its only fd was closed, stays until the machine is rebooted.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from structops_cli.errors import KernelError
from structops_cli.syscall import bpf
from structops_cli.syscall.fd import Fd
from structops_cli.syscall.info import MapInfo, map_info
from structops_cli.syscall.uapi import BpfMapType

__all__ = ["map_ids_to_open", "note_created_map", "open_map_by_id"]

SETTLE_S = 0.1
"""How long the kernel's work is given to run: some microseconds on an idle machine, a timeslice or two on a busy one."""

_others: set[int] = set()
"""Ids that this process found to be of other sorts, or made as such. The kernel gives an id again after 2**31 maps only."""
_closed: dict[int, float] = {}
"""When this process last closed a program array, by id, in seconds of the monotonic clock."""


def map_ids_to_open() -> Iterator[int]:
    """Go through the ids of all maps but those that this process knows to be of other sorts."""
    there = set()
    for map_id in bpf.map_ids():
        there.add(map_id)
        if map_id not in _others:
            yield map_id
    _others.intersection_update(there)
    for gone in _closed.keys() - there:
        del _closed[gone]


@contextmanager
def open_map_by_id(map_id: int) -> Iterator[tuple[Fd, MapInfo]]:
    """Open a map by id, and a program array not before the kernel is through with an earlier closing of this process's.

    Raises ``KernelError`` as MAP_GET_FD_BY_ID does: ENOENT of a map that has gone.
    """
    if map_id in _closed:
        time.sleep(max(0.0, _closed[map_id] + SETTLE_S - time.monotonic()))
    with bpf.map_get_fd_by_id(map_id) as fd:
        info = map_info(fd)
        if info.map_type != BpfMapType.STRUCT_OPS:
            _others.add(map_id)
        try:
            yield fd, info
        finally:
            if info.map_type == BpfMapType.PROG_ARRAY:
                _closed[map_id] = time.monotonic()


def note_created_map(fd: Fd) -> None:
    """Note a map of another sort that this process has made: whoever looks over all maps leaves it alone."""
    with suppress(KernelError):  # it is then looked at as anybody's
        _others.add(map_info(fd).id)
