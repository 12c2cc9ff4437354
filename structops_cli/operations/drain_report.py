"""Describe the result of a drain: the moved sockets, and the reason for each socket left."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from enum import StrEnum
from typing import NamedTuple

from structops_cli.counted import counted
from structops_cli.net.namespaces import NetNamespace
from structops_cli.net.sock_diag import AcceptQueue, TcpSocket, TcpState
from structops_cli.operations.drain_source import Source
from structops_cli.operations.transaction import Change

CLOSED = {TcpState.FIN_WAIT1, TcpState.FIN_WAIT2, TcpState.CLOSING, TcpState.LAST_ACK}
"""The states of a connection after close(2)."""
SHOWN = 3
"""The number of listeners that one line names."""


class LeftReason(StrEnum):
    """The reason why a socket was not moved."""

    ORPHANED = "orphaned"
    NOT_ACCEPTED = "not accepted"
    CAME_BACK = "came back"
    """No owner was searched for: the socket is new."""
    STILL_OPEN = "still open"
    """Its connection has ended, and a process has a descriptor of it."""
    PERMISSION = "permission"
    REFUSED = "refused"
    NO_OWNER = "no owner in sight"


LASTING = frozenset({LeftReason.PERMISSION, LeftReason.REFUSED, LeftReason.STILL_OPEN, LeftReason.NO_OWNER})
"""Reasons that waiting does not change."""


class Left(NamedTuple):
    """A socket that still uses the algorithm. ``tcp`` is None if it has no address."""

    namespace: NetNamespace
    tcp: TcpSocket | None
    reason: LeftReason
    why: str
    process: int | None = None
    inode: int | None = None


class Drained(NamedTuple):
    """The result, or in a dry run the expected result.

    ``targets`` and ``moved`` are by the title of a namespace. ``defaults`` are the
    namespaces whose new sockets still get this algorithm. ``exact``: the versions of
    one name were distinguished. ``not_inspected`` names the objects that may have more
    sockets.
    """

    source: Source
    targets: dict[str, str]
    moved: dict[str, int]
    left: tuple[Left, ...]
    destroyed: int
    passes: int
    defaults: tuple[str, ...]
    notes: tuple[str, ...]
    exact: bool
    not_inspected: tuple[str, ...] = ()

    @property
    def changes(self) -> tuple[Change, ...]:
        """The number of sockets in each namespace."""
        left = Counter(item.namespace.title for item in self.left)
        titles = dict.fromkeys([*self.targets, *self.moved, *left])
        return tuple(
            Change(
                f"sockets of {title} that use {self.source.name}",
                {"sockets": self.moved.get(title, 0) + left[title]},
                {"sockets": left[title]},
            )
            for title in titles
            if self.moved.get(title, 0) + left[title]
        )


def why_left(namespace: NetNamespace, tcp: TcpSocket, *, new: bool, hidden: int = 0) -> Left:
    """Describe a socket without a known owner.

    ``new``: it came after the search for owners. ``hidden`` is the number of processes that
    could not be inspected.
    """
    if tcp.inode == 0 and tcp.state in CLOSED:
        return Left(
            namespace,
            tcp,
            LeftReason.ORPHANED,
            "its process has closed it, and TCP is still ending the connection",
        )
    if tcp.inode == 0:
        return Left(namespace, tcp, LeftReason.NOT_ACCEPTED, "it waits in a listener's queue to be accepted")
    if new:
        return Left(
            namespace,
            tcp,
            LeftReason.CAME_BACK,
            "it was moved, or came, while this was looking",
            None,
            tcp.inode,
        )
    why = "the kernel's own (NFS, SMB), on its way in a message, or of another process namespace"
    if hidden:
        why = (
            f"of one of the {counted(hidden, 'process', 'processes')} that this one may not inspect, or {why}"
        )
    return Left(
        namespace,
        tcp,
        LeftReason.NO_OWNER,
        f"no process that can be inspected has it: {why}",
        None,
        tcp.inode,
    )


def why_ended(namespace: NetNamespace, queues: Sequence[AcceptQueue]) -> Left:
    """Describe a connection that ended before it was accepted, and only occupies a queue."""
    listeners = ", ".join(one.title for one in queues[:SHOWN]) + (", ..." if len(queues) > SHOWN else "")
    why = "its connection has ended; the kernel lets go when it is accepted all the same, or its listener closed"
    return Left(namespace, None, LeftReason.NOT_ACCEPTED, f"{why} ({listeners})")
