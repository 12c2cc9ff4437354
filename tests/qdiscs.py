"""Attach, read and detach queueing disciplines with pyroute2.

The functions use the network namespace of the calling thread.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from pyroute2 import IPRoute

__all__ = ["TC_H_ROOT", "QdiscStatistics", "attach_qdisc", "detach_qdisc", "read_qdiscs"]

TC_H_ROOT = 0xFFFFFFFF


class QdiscStatistics(NamedTuple):
    """One queueing discipline of a device, with its counters since it was attached."""

    kind: str
    handle: int
    parent: int
    bytes: int
    packets: int
    drops: int
    overlimits: int
    requeues: int
    qlen: int
    backlog: int


def attach_qdisc(device: str, kind: str) -> None:
    """Make a queueing discipline the root of a device. Raise pyroute2's ``NetlinkError``."""
    with _device(device) as (route, index):
        route.tc("add", kind, index, parent=TC_H_ROOT)


def detach_qdisc(device: str) -> None:
    """Remove the root queueing discipline of a device. Raise pyroute2's ``NetlinkError``."""
    with _device(device) as (route, index):
        route.tc("del", index=index, parent=TC_H_ROOT)


def read_qdiscs(device: str) -> tuple[QdiscStatistics, ...]:
    """Return the queueing disciplines of a device, the root first."""
    with _device(device) as (route, index):
        return tuple(_statistics(message) for message in route.get_qdiscs(index))


def _statistics(message: Any) -> QdiscStatistics:
    counted = message.get_attr("TCA_STATS2")
    basic, queue = counted.get_attr("TCA_STATS_BASIC"), counted.get_attr("TCA_STATS_QUEUE")
    return QdiscStatistics(
        message.get_attr("TCA_KIND"),
        message["handle"],
        message["parent"],
        basic["bytes"],
        basic["packets"],
        *(queue[name] for name in ("drops", "overlimits", "requeues", "qlen", "backlog")),
    )


@contextmanager
def _device(device: str) -> Iterator[tuple[IPRoute, int]]:
    with IPRoute() as route:
        [index] = route.link_lookup(ifname=device)
        yield route, index
