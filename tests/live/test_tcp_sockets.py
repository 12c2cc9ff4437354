"""List TCP sockets: every state, both families, orphans, and destroyed connections."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from errno import ECONNABORTED
from socket import AF_INET6, socket

import pytest

from structops_cli.errors import UnsupportedError
from structops_cli.net import sock_diag
from structops_cli.net.netlink import NetlinkSocket
from structops_cli.net.sock_diag import ALL_STATES, TcpState, tcp_sockets
from structops_cli.net.socket_destroy import destroy, orphans_are_destroyed
from structops_cli.net.tcp_info import parse_tcp_info
from structops_cli.net.tcp_socket import congestion_control_of
from structops_cli.net.throwaway_namespace import ThrowawayNamespace
from tests.live.tcp_states import diag_of, every_state, until, within

WITHOUT_AN_ALGORITHM = {TcpState.TIME_WAIT, TcpState.SYN_RECV, TcpState.FIN_WAIT2}
"""Of orphans: one in FIN_WAIT2 is a time-wait socket by then (tcp_time_wait)."""


@pytest.fixture
def namespace() -> Iterator[ThrowawayNamespace]:
    with ThrowawayNamespace() as made:
        yield made


@pytest.fixture
def diag(namespace: ThrowawayNamespace) -> Iterator[NetlinkSocket]:
    with diag_of(namespace) as opened:
        yield opened


def test_every_state_is_told(namespace: ThrowawayNamespace, diag: NetlinkSocket) -> None:
    with every_state(namespace) as made:
        there = within(diag)
        by_inode = {item.inode: item for item in tcp_sockets(diag)}
        for state, one in made.owned.items():
            if state == TcpState.CLOSE:
                continue
            found = by_inode[os.fstat(one.fileno()).st_ino]
            assert found.info is not None
            assert found.state == parse_tcp_info(found.info).state == state
            assert found.algorithm == congestion_control_of(one)
        for state, port in made.orphans.items():
            found = there[port | state << 16]
            assert found.inode == 0
            assert bool(found.algorithm) == bool(found.info) == (state not in WITHOUT_AN_ALGORITHM)


def test_both_requests_of_the_kernel_tell_the_same(
    monkeypatch: pytest.MonkeyPatch, namespace: ThrowawayNamespace, diag: NetlinkSocket
) -> None:
    """If the kernel refuses the request for all families, each family gets its own request."""
    with every_state(namespace), namespace.open_socket(AF_INET6) as six, namespace.open_socket() as four:
        for one, address in ((six, "::1"), (four, "127.0.0.1")):
            one.bind((address, 0))
            one.listen()
        at_once = [item._replace(info=b"") for item in tcp_sockets(diag)]
        monkeypatch.setattr(sock_diag, "TCPDIAG_GETSOCK", 17)  # no kernel has this request
        assert [item._replace(info=b"") for item in tcp_sockets(diag)] == at_once
    families = [item.family for item in at_once]
    assert families == sorted(families)
    assert len(set(families)) == 2


def test_only_the_states_that_are_asked_for(namespace: ThrowawayNamespace, diag: NetlinkSocket) -> None:
    with every_state(namespace):
        found = tcp_sockets(diag, states=1 << TcpState.LISTEN | 1 << TcpState.CLOSING)
        assert {item.state for item in found} == {TcpState.LISTEN, TcpState.CLOSING}


def test_it_agrees_with_ss(namespace: ThrowawayNamespace, diag: NetlinkSocket) -> None:
    with every_state(namespace):
        said = namespace.run(lambda: subprocess.check_output(["ss", "-tanH"], text=True))
        theirs = sorted(" ".join(line.split()[3:5]) for line in said.splitlines())
        without = ALL_STATES & ~(1 << TcpState.BOUND_INACTIVE)  # ss lists those since version 6.8
        found = [tcp_sockets(diag, states=states) for states in (without, ALL_STATES)]
        assert theirs in [
            sorted(
                f"{item.source}:{item.source_port} {item.destination}:{item.destination_port or '*'}"
                for item in one
            )
            for one in found
        ]


def test_ipv6_and_a_mapped_address(namespace: ThrowawayNamespace, diag: NetlinkSocket) -> None:
    with namespace.open_socket(AF_INET6) as listener, namespace.open_socket() as client:
        listener.bind(("::", 0))
        listener.listen()
        client.connect(("127.0.0.1", listener.getsockname()[1]))
        with listener.accept()[0] as server:
            found = {item.inode: item for item in tcp_sockets(diag)}
            mine = found[os.fstat(server.fileno()).st_ino]
            assert (mine.family, mine.destination) == (AF_INET6, "::ffff:127.0.0.1")
            assert found[os.fstat(listener.fileno()).st_ino].source == "::"


def test_only_those_of_one_algorithm(namespace: ThrowawayNamespace, diag: NetlinkSocket) -> None:
    with every_state(namespace) as made:
        name = congestion_control_of(made.owned[TcpState.LISTEN])
        mine = {item.cookie for item in tcp_sockets(diag) if item.algorithm == name}
        assert {item.cookie for item in tcp_sockets(diag, algorithm=name)} == mine != set()
        assert tcp_sockets(diag, algorithm="t_nobody") == []


def test_a_connection_is_destroyed_once(namespace: ThrowawayNamespace, diag: NetlinkSocket) -> None:
    with every_state(namespace) as made:
        mine: socket = made.owned[TcpState.ESTABLISHED]
        [found] = [item for item in tcp_sockets(diag) if item.inode == os.fstat(mine.fileno()).st_ino]
        assert destroy(diag, found)
        with pytest.raises(OSError, match=os.strerror(ECONNABORTED)):
            mine.recv(1)
        assert not destroy(diag, found)


def test_orphans_are_destroyed(namespace: ThrowawayNamespace, diag: NetlinkSocket) -> None:
    with every_state(namespace) as made:
        wanted = {port | state << 16 for state, port in made.orphans.items() if state != TcpState.SYN_RECV}
        stays = 0 if orphans_are_destroyed() else made.orphans[TcpState.FIN_WAIT1] | TcpState.FIN_WAIT1 << 16
        for key, found in within(diag).items():
            if key in wanted:
                try:
                    assert destroy(diag, found)
                except UnsupportedError:  # 5.10 does not destroy time-wait sockets
                    if found.info:
                        raise
                    wanted.remove(key)
        assert wanted
        until(lambda: wanted & within(diag).keys() <= {stays})
        assert not stays or stays in within(diag), "success was answered, and nothing done"
