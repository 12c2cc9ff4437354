"""Queueing disciplines of a network device: attach one by its kind, read what all of them count, take one away.

The devices are those of the calling thread's network namespace: in another
one it is ``namespace.run(lambda: read_qdiscs("eth0"))``. A registered
``Qdisc_ops`` is a kind like the kernel's own; its ``id`` is the kind's name.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from errno import EEXIST, EINVAL, ENOENT
from typing import TYPE_CHECKING, Any, NamedTuple

from structops_cli.errors import KernelError, NotFoundError, NotPermittedError, StructopsError

if TYPE_CHECKING:
    from pyroute2 import IPRoute

__all__ = ["QdiscStatistics", "attach_qdisc", "detach_qdisc", "read_qdiscs"]

TC_H_ROOT = 0xFFFFFFFF
"""``include/uapi/linux/pkt_sched.h``: the parent of a device's outermost queueing discipline."""
HINTS = {
    EEXIST: "the device has one of that kind: detach it first",
    ENOENT: "structops list shows what is registered",
    EINVAL: "the kernel's log may say more; a BPF one goes to the root of a device, or below mq",
}


class QdiscStatistics(NamedTuple):
    """One queueing discipline of a device, and what it has counted since it was attached.

    ``bytes`` and ``packets`` were sent; ``qlen`` packets of ``backlog`` bytes
    are waiting. ``handle`` and ``parent`` are major << 16 | minor.
    """

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
    """Make a queueing discipline the root of a device, in place of one of another kind.

    Raises ``NotFoundError`` without such a device, ``KernelError`` for a kind
    that is not registered (ENOENT), a root of that kind already (EEXIST), and
    what the discipline's own ``init`` answers. Source: ``qdisc_create``
    (net/sched/sch_api.c).
    """
    with _asking(device, f"{kind} could not be attached to {device}", "RTM_NEWQDISC") as (route, index):
        route.tc("add", kind, index, parent=TC_H_ROOT)


def detach_qdisc(device: str) -> None:
    """Take the root queueing discipline of a device away; its packets are dropped, and the kernel's default comes back.

    Raises ``NotFoundError`` without such a device, ``KernelError`` (ENOENT)
    when it had the default already.
    """
    with _asking(device, f"{device} keeps its queueing discipline", "RTM_DELQDISC") as (route, index):
        route.tc("del", index=index, parent=TC_H_ROOT)


def read_qdiscs(device: str) -> tuple[QdiscStatistics, ...]:
    """Read the queueing disciplines of a device in the kernel's order, the root first.

    Raises ``NotFoundError`` without such a device. Source: ``tc_fill_qdisc``.
    """
    with _asking(device, f"the statistics of {device} cannot be read", "RTM_GETQDISC") as (route, index):
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
def _asking(device: str, what: str, operation: str) -> Iterator[tuple[IPRoute, int]]:
    """Open a netlink socket and find the device; what the kernel refuses is told as this project's errors."""
    from pyroute2 import IPRoute, NetlinkError

    try:
        with IPRoute() as route:
            found = route.link_lookup(ifname=device)
            if not found:
                raise NotFoundError(
                    f"there is no network device {device}", hint="ip link shows those of a namespace"
                )
            yield route, found[0]
    except NetlinkError as error:
        raise _refused(what, operation, error.code) from error
    except StructopsError:
        raise
    except OSError as error:
        raise _refused(what, operation, error.errno or 0) from error


def _refused(what: str, operation: str, number: int) -> KernelError:
    if number in NotPermittedError.ERRNOS:
        return NotPermittedError(
            what,
            errno=number,
            operation=operation,
            why="CAP_NET_ADMIN is missing",
            hint="run this as root",
        )
    why = os.strerror(number)
    if operation == "RTM_NEWQDISC" and number == ENOENT:
        why = "no queueing discipline of that kind is registered"
    hint = HINTS.get(number, "") if operation == "RTM_NEWQDISC" else ""
    return KernelError(what, errno=number, operation=operation, why=why, hint=hint)
