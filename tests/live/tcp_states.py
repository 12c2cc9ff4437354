"""Make a TCP socket in every state on loopback; this process owns all but the orphans."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from socket import IPPROTO_TCP, SHUT_WR, TCP_DEFER_ACCEPT, socket

from structops_cli.net.netlink import NetlinkSocket
from structops_cli.net.sock_diag import TcpSocket, TcpState, open_sock_diag, tcp_sockets
from structops_cli.net.throwaway_namespace import ThrowawayNamespace
from tests.time_scale import scaled

__all__ = ["EveryState", "diag_of", "every_state", "until", "within"]


FULL = 5
"""A queue is full after so many refused sends in a row."""


class EveryState:
    """The sockets by state. ``orphans`` are closed: only their local ports are known."""

    def __init__(self) -> None:
        self.owned: dict[TcpState, socket] = {}
        self.orphans: dict[TcpState, int] = {}
        self.unconnected: socket
        self.not_accepted: int = 0


@contextmanager
def diag_of(namespace: ThrowawayNamespace) -> Iterator[NetlinkSocket]:
    with namespace.run(open_sock_diag) as diag:
        yield diag


def until(found: Callable[[], bool], seconds: float = 5.0) -> None:
    deadline = time.monotonic() + scaled(seconds)
    while not found():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.01)


def within(diag: NetlinkSocket) -> dict[int, TcpSocket]:
    """Return the sockets of a namespace by local port, with the state in the upper half."""
    return {item.source_port | item.state << 16: item for item in tcp_sockets(diag)}


@contextmanager
def every_state(
    namespace: ThrowawayNamespace, prepare: Callable[[socket], object] = id
) -> Iterator[EveryState]:
    """Yield a socket in each state. ``prepare`` receives each socket right after ``socket()``."""
    with ExitStack() as stack, diag_of(namespace) as diag:
        found = EveryState()

        def opened() -> socket:
            one = stack.enter_context(namespace.open_socket())
            one.settimeout(scaled(5))
            prepare(one)
            return one

        listener = opened()
        listener.bind(("127.0.0.1", 0))
        listener.listen(64)

        def pair() -> tuple[socket, socket]:
            client = opened()
            client.connect(listener.getsockname())
            server = stack.enter_context(listener.accept()[0])
            server.settimeout(scaled(5))
            return client, server

        found.owned[TcpState.LISTEN] = listener
        found.owned[TcpState.ESTABLISHED], _ = pair()
        found.owned[TcpState.FIN_WAIT2], found.owned[TcpState.CLOSE_WAIT] = _half_closed(pair)
        found.owned[TcpState.FIN_WAIT1], _ = _stuck(pair)
        found.owned[TcpState.CLOSING], other = _stuck(pair)
        other.shutdown(SHUT_WR)
        found.owned[TcpState.LAST_ACK] = _last_ack(pair)
        for state, (one, _) in {
            TcpState.FIN_WAIT1: _stuck(pair),
            TcpState.FIN_WAIT2: _half_closed(pair),
        }.items():
            found.orphans[state] = one.getsockname()[1]
            one.close()
        client, server = pair()
        found.orphans[TcpState.TIME_WAIT] = client.getsockname()[1]
        client.close()
        server.close()
        _half_open(opened, found)
        found.owned[TcpState.CLOSE] = opened()
        found.owned[TcpState.CLOSE].bind(("127.0.0.1", 0))
        found.unconnected = opened()
        waiting = opened()
        waiting.connect(listener.getsockname())
        found.not_accepted = waiting.getsockname()[1]
        until(lambda: _complete(found, diag))
        yield found


def _half_closed(pair: Callable[[], tuple[socket, socket]]) -> tuple[socket, socket]:
    client, server = pair()
    client.shutdown(SHUT_WR)
    assert server.recv(1) == b""
    return client, server


def _fill(one: socket) -> None:
    """Send until the kernel refuses data for a while: data in flight may still find room."""
    one.setblocking(False)
    refused = 0
    while refused < FULL:
        try:
            one.send(bytes(1 << 16))
            refused = 0
        except BlockingIOError:
            refused += 1
            time.sleep(0.01)


def _stuck(pair: Callable[[], tuple[socket, socket]]) -> tuple[socket, socket]:
    """Return two ends. The first cannot send its FIN: the second's window is full."""
    client, server = pair()
    _fill(client)
    client.shutdown(SHUT_WR)
    return client, server


def _last_ack(pair: Callable[[], tuple[socket, socket]]) -> socket:
    _, server = _half_closed(pair)
    _fill(server)
    server.shutdown(SHUT_WR)
    return server


def _half_open(opened: Callable[[], socket], found: EveryState) -> None:
    """Make a SYN_RECV by a listener that waits for data, and a SYN_SENT by a full queue."""
    deferring = opened()
    deferring.setsockopt(IPPROTO_TCP, TCP_DEFER_ACCEPT, 30)
    deferring.bind(("127.0.0.1", 0))
    deferring.listen(8)
    opened().connect(deferring.getsockname())
    found.orphans[TcpState.SYN_RECV] = deferring.getsockname()[1]
    full = opened()
    full.bind(("127.0.0.1", 0))
    full.listen(0)
    opened().connect(full.getsockname())
    late = opened()
    late.setblocking(False)
    late.connect_ex(full.getsockname())
    found.owned[TcpState.SYN_SENT] = late


def _complete(found: EveryState, diag: NetlinkSocket) -> bool:
    there = within(diag)
    ports = {state: one.getsockname()[1] for state, one in found.owned.items() if state != TcpState.CLOSE}
    wanted = [*ports.items(), *found.orphans.items()]
    return all(port | state << 16 in there for state, port in wanted)
