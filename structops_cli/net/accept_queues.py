"""Listeners whose queues have connections, and how many of those have ended before anybody accepted them.

A connection that is reset in its listener's queue, by its peer or by SOCK_DESTROY, is in no table any more. The
queue keeps it, and it keeps its congestion control, until it is accepted or the listener is closed. All that
inet_diag tells of it is the queue's length (``sk_ack_backlog``, as ``tcpi_unacked`` of a listener).
"""

from __future__ import annotations

from collections import Counter
from typing import NamedTuple

from structops_cli.net.netlink import NetlinkSocket
from structops_cli.net.sock_diag import TcpState, tcp_sockets
from structops_cli.net.tcp_info import parse_tcp_info

__all__ = ["AcceptQueue", "accept_queues"]

WAITING = frozenset({TcpState.ESTABLISHED, TcpState.CLOSE_WAIT, TcpState.SYN_RECV})
"""What a connection may be in while it waits, the last with TCP Fast Open."""


class AcceptQueue(NamedTuple):
    """The queue of a listener, or of all that share its port; ``ended`` of those that wait are in no table any more."""

    address: str
    port: int
    waiting: int
    ended: int

    @property
    def title(self) -> str:
        """The listener's address and port, as ``ss`` shows it."""
        return f"[{self.address}]:{self.port}" if ":" in self.address else f"{self.address}:{self.port}"


def accept_queues(diag: NetlinkSocket) -> tuple[AcceptQueue, ...]:
    """Return the queues of a namespace that have connections. Nothing is frozen: what comes or goes meanwhile is counted or not."""
    listeners = tcp_sockets(diag, states=1 << TcpState.LISTEN)
    lengths: Counter[int] = Counter()
    addresses: dict[int, str] = {}
    for one in listeners:
        if waiting := parse_tcp_info(one.info).unacked if one.info else 0:
            lengths[one.source_port] += waiting
            addresses.setdefault(one.source_port, one.source)
    if not lengths:
        return ()
    alive = Counter(
        one.source_port
        for one in tcp_sockets(diag, states=sum(1 << state for state in WAITING))
        if not one.inode and one.info
    )
    return tuple(
        AcceptQueue(addresses[port], port, waiting, max(waiting - alive[port], 0))
        for port, waiting in lengths.items()
    )
