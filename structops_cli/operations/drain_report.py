"""What a drain did, and what it left with the reason why."""

from __future__ import annotations

from structops_cli.net.namespaces import NetNamespace
from structops_cli.net.sock_diag import TcpSocket, TcpState
from structops_cli.operations.drain_plan import Source
from structops_cli.records import NamedTuple

__all__ = ["LASTING", "ORPHANED", "Drained", "Left", "why_left"]

WITHOUT_OWNER = {TcpState.FIN_WAIT1, TcpState.FIN_WAIT2, TcpState.CLOSING, TcpState.LAST_ACK}
"""What a connection is in after close(2)."""
ORPHANED = "orphaned"
"""The reason of one whose process has closed it."""
LASTING = frozenset({"permission", "refused", "still open", "no owner in sight"})
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


def why_left(namespace: NetNamespace, tcp: TcpSocket, *, owned: bool) -> Left:
    """Say why nobody could be found who owns a socket."""
    if tcp.inode == 0 and tcp.state in WITHOUT_OWNER:
        return Left(
            namespace, tcp, ORPHANED, "its process has closed it, and TCP is still ending the connection"
        )
    if tcp.inode == 0:
        return Left(namespace, tcp, "not accepted", "it waits in a listener's queue to be accepted")
    if owned:
        return Left(
            namespace, tcp, "came back", "it was moved, or came, while this was looking", 0, tcp.inode
        )
    return Left(
        namespace,
        tcp,
        "no owner in sight",
        "no process has a descriptor of it: the kernel's own (NFS, SMB), on its way in a message, or of another process namespace",
        0,
        tcp.inode,
    )
