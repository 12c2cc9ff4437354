"""What a drain did, and what it left with the reason why."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from structops_cli.counted import counted
from structops_cli.net.namespaces import NetNamespace
from structops_cli.net.sock_diag import AcceptQueue, TcpSocket, TcpState
from structops_cli.operations.drain_plan import Source

__all__ = [
    "CAME_BACK",
    "LASTING",
    "NOT_ACCEPTED",
    "ORPHANED",
    "STILL_OPEN",
    "Drained",
    "Left",
    "why_ended",
    "why_left",
]

WITHOUT_OWNER = {TcpState.FIN_WAIT1, TcpState.FIN_WAIT2, TcpState.CLOSING, TcpState.LAST_ACK}
"""What a connection is in after close(2)."""
SHOWN = 3
"""So many listeners are named in one line."""
ORPHANED = "orphaned"
"""The reason of one whose process has closed it."""
NOT_ACCEPTED = "not accepted"
"""The reason of one that waits in a listener's queue."""
CAME_BACK = "came back"
"""The reason of one that nobody has looked for an owner of."""
STILL_OPEN = "still open"
"""The reason of one whose connection has ended, and whose process has a descriptor of it."""
LASTING = frozenset({"permission", "refused", STILL_OPEN, "no owner in sight"})
"""Reasons that waiting does not change."""


class Left(NamedTuple):
    """A socket that still uses the algorithm, and why. ``tcp`` is None of one that is in no table: it has no address."""

    namespace: NetNamespace
    tcp: TcpSocket | None
    reason: str
    why: str
    process: int = 0
    inode: int = 0


class Drained(NamedTuple):
    """What was done, or in a dry run would be.

    ``targets`` and ``moved`` are by the title of a namespace. ``defaults`` are
    the namespaces that still give new sockets this algorithm. ``exact`` says that versions under one name were told apart.
    ``unseen`` says what could not be looked at: sockets there are neither moved nor left.
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
    unseen: tuple[str, ...] = ()


def why_left(namespace: NetNamespace, tcp: TcpSocket, *, new: bool, hidden: int = 0) -> Left:
    """Say why nobody could be found who owns a socket.

    ``new`` is one that somebody has, or may have: it came after owners were looked for. ``hidden`` is the number of
    processes that may not be looked at.
    """
    if tcp.inode == 0 and tcp.state in WITHOUT_OWNER:
        return Left(
            namespace, tcp, ORPHANED, "its process has closed it, and TCP is still ending the connection"
        )
    if tcp.inode == 0:
        return Left(namespace, tcp, NOT_ACCEPTED, "it waits in a listener's queue to be accepted")
    if new:
        return Left(namespace, tcp, CAME_BACK, "it was moved, or came, while this was looking", 0, tcp.inode)
    why = "the kernel's own (NFS, SMB), on its way in a message, or of another process namespace"
    if hidden:
        why = f"of one of the {counted(hidden, 'process', 'processes')} that may not be looked at, or {why}"
    return Left(namespace, tcp, "no owner in sight", f"no process in sight has it: {why}", 0, tcp.inode)


def why_ended(namespace: NetNamespace, queues: Sequence[AcceptQueue]) -> Left:
    """Say what a connection waits for that has ended, and of which nothing but its place in a queue is left."""
    listeners = ", ".join(one.title for one in queues[:SHOWN]) + (", ..." if len(queues) > SHOWN else "")
    why = "its connection has ended; the kernel lets go when it is accepted all the same, or its listener closed"
    return Left(namespace, None, NOT_ACCEPTED, f"{why} ({listeners})")
