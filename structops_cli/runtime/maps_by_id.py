"""Open maps by id, to find the struct_ops maps, without leaking a program array.

When the last fd or pin of a program array goes, the kernel takes a reference and queues work
that empties the array. If the work is queued already, the kernel leaks a second reference
(``prog_array_map_clear``), and the array stays until reboot. So an array without fds and pins
must not be opened and closed twice within a moment. Nor must it be opened and closed right
after its last fd was closed.
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

SETTLE_S = 0.1
"""Seconds until the work has run: microseconds when idle, a few timeslices when busy."""

_others: set[int] = set()
"""Ids of maps of other types. The kernel reuses an id only after 2**31 maps."""
_closed: dict[int, float] = {}
"""Monotonic time, in seconds, when this process last closed a program array, by id."""


def map_ids_to_open() -> Iterator[int]:
    """Yield the ids of all maps that are not known to be of another type."""
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
    """Open a map by id, a program array only after the kernel has finished an earlier close.

    Raises ``KernelError`` as MAP_GET_FD_BY_ID does: ENOENT for a map that is gone.
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
    """Note a map that this process created, so that ``map_ids_to_open`` leaves it out."""
    with suppress(KernelError):  # the map is then opened like any other
        _others.add(map_info(fd).id)
