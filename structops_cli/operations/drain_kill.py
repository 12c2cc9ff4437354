"""``drain --kill``: destroy the connections that two looks found with nobody who could be made to move them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from structops_cli.errors import StructopsError
from structops_cli.net.socket_destroy import destroy, orphans_are_destroyed
from structops_cli.operations.drain_places import Places
from structops_cli.operations.drain_report import CAME_BACK, NOT_ACCEPTED, ORPHANED, Left

__all__ = ["Killed", "destroy_all", "is_spared", "without_hope"]

ORPHANS_STAY = "this kernel does not destroy what no process owns: it would only lose its data and stay (tcp_abort before Linux 6.11)"


class Killed(NamedTuple):
    """What was destroyed: the inodes of what somebody has a descriptor of, and how many there were; ``queued`` of them were not accepted."""

    inodes: frozenset[int]
    destroyed: int
    queued: int


def without_hope(left: Iterable[Left], before: Iterable[Left]) -> list[Left]:
    """Return those that are left after either of two looks, and of which an owner was looked for both times.

    A socket that one process hands to another, or that is just being accepted, has no owner in one look.
    """
    known = {item.tcp.cookie for item in before if item.tcp is not None and item.reason != CAME_BACK}
    return [
        item
        for item in left
        if item.tcp is not None and item.tcp.cookie in known and item.reason != CAME_BACK
    ]


def is_spared(item: Left) -> bool:
    """Tell whether this kernel would not destroy it."""
    return item.reason == ORPHANED and not orphans_are_destroyed()


def destroy_all(places: Places, doomed: Iterable[Left]) -> Killed:
    """Destroy connections; what the kernel has against it is noted with the places."""
    inodes = set()
    count = queued = 0
    for item in doomed:
        place = places.get(item.namespace.inode)
        if place is None or item.tcp is None:
            continue
        if is_spared(item):
            places.notes[ORPHANS_STAY] = None
            continue
        try:
            done = destroy(place.diag, item.tcp)
        except StructopsError as error:
            places.notes[f"{error.what}: {error.why}"] = None
            continue
        inodes.add(item.tcp.inode)
        count += done
        queued += done and item.reason == NOT_ACCEPTED
    return Killed(frozenset(inodes), count, queued)
