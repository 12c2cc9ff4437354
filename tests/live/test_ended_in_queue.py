"""Connections that end before accept() hold their algorithm, in no table; none is a leak."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from contextlib import closing, contextmanager
from socket import (
    AF_INET,
    IPPROTO_MPTCP,
    IPPROTO_TCP,
    SO_LINGER,
    SOCK_STREAM,
    SOL_SOCKET,
    TCP_CONGESTION,
    socket,
)
from typing import Any

import pytest

from structops_cli.errors import UnsupportedError
from structops_cli.net.sock_diag import accept_queues
from structops_cli.net.tcp_socket import set_congestion_control
from structops_cli.net.throwaway_namespace import ThrowawayNamespace
from structops_cli.runtime.holders import AlgorithmReader
from tests.cli_runner import done, done_json, run_cli
from tests.kernel_features import MPTCP, OPEN_FILE_ITERATOR, needs
from tests.live.live_setup import not_seen_here
from tests.live.live_state import eventually, listed
from tests.live.tcp_states import diag_of
from tests.live.test_drain import title_of
from tests.live.test_holders import LOOP

OTHER = "reno"


@pytest.fixture
def algorithm(name: str, pin_dir: str) -> str:
    done("register", "reno", "--set", f"name={name}", "--pin-dir", pin_dir)
    return name


@pytest.fixture
def namespace() -> Iterator[ThrowawayNamespace]:
    with ThrowawayNamespace() as made:
        yield made


@contextmanager
def listening(namespace: ThrowawayNamespace, algorithm: str) -> Iterator[socket]:
    with namespace.open_socket() as listener:
        set_congestion_control(listener, algorithm)
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield listener


def reset(namespace: ThrowawayNamespace, listener: socket, count: int) -> None:
    """Connect and reset at once, ``count`` times."""
    for _ in range(count):
        with namespace.open_socket() as client:
            set_congestion_control(client, OTHER)
            client.connect(listener.getsockname())
            client.setsockopt(SOL_SOCKET, SO_LINGER, struct.pack("ii", 1, 0))


def status_of(algorithm: str) -> dict[str, Any]:
    [one] = done_json("status", algorithm)["maps"]
    found: dict[str, Any] = one
    return found


def in_queues(one: dict[str, Any]) -> int:
    return sum(item["ended_in_queue"] for item in one["sockets"])


@needs(LOOP)
def test_what_a_peer_has_reset_is_in_the_queue_and_not_leaked(
    namespace: ThrowawayNamespace, algorithm: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with listening(namespace, algorithm) as listener, namespace.open_socket() as alive:
        set_congestion_control(alive, OTHER)
        alive.connect(listener.getsockname())
        reset(namespace, listener, 3)
        with diag_of(namespace) as diag:
            [queue] = accept_queues(diag)
        address = f"127.0.0.1:{listener.getsockname()[1]}"
        assert queue._asdict() | {"title": queue.title} == {
            "address": "127.0.0.1",
            "port": listener.getsockname()[1],
            "waiting": 4,
            "ended": 3,
            "title": address,
        }
        one = status_of(algorithm)
        assert (one["leaked"], one["references"]["unexplained"], in_queues(one)) == (False, 0, 3)
        assert (
            f"3 in {title_of(namespace)}: connections that ended before" in done("status", algorithm).stdout
        )
        monkeypatch.setattr(AlgorithmReader, "ended_in_queues", unsupported)
        one = status_of(algorithm)
        assert (one["leaked"], one["references"]["unexplained"]) == (None, 3)
        queues = f"{address} in {title_of(namespace)} has 3"
        expected = "something that could not be looked at" if not_seen_here() else queues
        assert expected in one["unexplained_why"]


def unsupported(_: AlgorithmReader) -> None:
    raise UnsupportedError("no loops in a program")


@needs(LOOP)
def test_what_is_destroyed_in_a_queue_is_left_until_it_is_accepted(
    namespace: ThrowawayNamespace, algorithm: str
) -> None:
    with listening(namespace, algorithm) as listener:
        clients = [namespace.open_socket() for _ in range(3)]
        for client in clients:
            set_congestion_control(client, OTHER)
            client.connect(listener.getsockname())
        result = run_cli("drain", algorithm, "--to", OTHER, "--timeout", "0", "--kill", "--json")
        data = result.json()
        assert (result.exit_code, data["destroyed"]) == (1, 3)
        assert {item["reason"] for item in data["left"]} == {"not accepted"}
        assert "accepted all the same" in data["left"][0]["why"]
        assert len(data["left"]) == 3
        assert status_of(algorithm)["leaked"] is False
        assert "3 left" in run_cli("drain", algorithm, "--to", OTHER, "--timeout", "0").stdout
        done("unregister", algorithm)
        assert "held by 3 sockets" in run_cli("doctor").stdout
        for client in clients:
            listener.accept()[0].close()
            client.close()
        assert eventually(lambda: not listed(algorithm))


@needs(MPTCP, OPEN_FILE_ITERATOR)
def test_a_path_that_is_not_connected_is_its_process(namespace: ThrowawayNamespace, algorithm: str) -> None:
    def opened() -> socket:
        return socket(AF_INET, SOCK_STREAM, IPPROTO_MPTCP)

    with closing(namespace.run(opened)) as bound, closing(namespace.run(opened)) as listener:
        for mine in (bound, listener):
            mine.setsockopt(IPPROTO_TCP, TCP_CONGESTION, algorithm.encode())
            mine.bind(("127.0.0.1", 0))
        listener.listen()
        with namespace.run(opened) as client:
            client.connect(listener.getsockname())
            with listener.accept()[0] as server:
                client.setsockopt(SOL_SOCKET, SO_LINGER, struct.pack("ii", 1, 0))
                client.close()
                one = status_of(algorithm)
                assert (one["leaked"], one["references"]["unexplained"]) == (False, 0)
                assert {len(item["owners"]) for item in one["sockets"]} == {1}
                data = done_json("drain", algorithm, "--to", OTHER)
                assert (data["moved"], data["left"]) == (3, [])
                server.close()
