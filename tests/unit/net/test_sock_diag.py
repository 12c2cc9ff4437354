"""Sockets out of inet_diag's messages: every shape of attributes, and bytes that no kernel sends."""

from __future__ import annotations

from socket import AF_INET, AF_INET6, inet_pton
from struct import pack

import pytest
from hypothesis import given
from hypothesis import strategies as st

from structops_cli.errors import InputError
from structops_cli.net.sock_diag import SOCK_DIAG_BY_FAMILY, TcpSocket, TcpState, sockets_of, state_name
from structops_cli.syscall.sockets import Parser
from tests.unit.net.test_netlink import attribute, message

CONG, INFO, ULP, SHUTDOWN = 4, 2, 19, 8


def parse_sockets(datagrams: list[bytes], algorithm: str | None = None) -> list[TcpSocket]:
    parser = Parser(algorithm)
    for item in datagrams:
        parser(item)
    return sockets_of(parser.records)


def socket_message(
    *attributes: bytes,
    family: int = AF_INET,
    source: str = "127.0.0.1",
    destination: str = "127.0.0.2",
    state: int = 1,
    cookie: int = 7,
) -> bytes:
    ends = b"".join(inet_pton(family, text).ljust(16, b"\0") for text in (source, destination))
    body = pack("=BBBB", family, state, 0, 0) + (80).to_bytes(2, "big") + (4711).to_bytes(2, "big") + ends
    body += pack("=IQIIIII", 3, cookie, 0, 0, 0, 1000, 99)
    return message(SOCK_DIAG_BY_FAMILY, body + b"".join(attributes))


def test_all_fields_of_one() -> None:
    raw = socket_message(attribute(SHUTDOWN, b"\0"), attribute(INFO, b"numbers"), attribute(CONG, b"bbr\0"))
    [found] = parse_sockets([raw])
    assert found == (
        AF_INET, TcpState.ESTABLISHED, "127.0.0.1", 80, "127.0.0.2", 4711, 3, 7, 1000, 99, "bbr", b"numbers", "",
    )  # fmt: skip


def test_one_without_attributes() -> None:
    [found] = parse_sockets([socket_message(state=TcpState.TIME_WAIT)])
    assert (found.algorithm, found.info, found.ulp) == ("", b"", "")
    assert state_name(found.state) == "TIME_WAIT"


def test_sockets_of_different_shapes_and_the_same_length() -> None:
    """Their lengths are alike, so that the shape of the first would fit the second."""
    first = socket_message(attribute(CONG, b"bbr\0"), attribute(SHUTDOWN, b"\1\0\0\0"), cookie=1)
    second = socket_message(attribute(SHUTDOWN, b"\1\0\0\0"), attribute(CONG, b"dctc"), cookie=2)
    single = socket_message(attribute(CONG, b"a_name_of_12"), cookie=3)
    assert len(first) == len(second) == len(single)
    found = parse_sockets([first + second, single + first])
    assert [(item.cookie, item.algorithm) for item in found] == [
        (1, "bbr"), (2, "dctc"), (3, "a_name_of_12"), (1, "bbr"),
    ]  # fmt: skip


def test_ipv6_and_what_runs_on_top() -> None:
    ulp = attribute(ULP, attribute(1, b"mptcp\0") + attribute(3, b"x"))
    [found] = parse_sockets(
        [socket_message(ulp, family=AF_INET6, source="::1", destination="::ffff:1.2.3.4")]
    )
    assert (found.source, found.destination, found.ulp) == ("::1", "::ffff:1.2.3.4", "mptcp")


def test_only_those_of_an_algorithm() -> None:
    raws = [
        socket_message(attribute(CONG, name), cookie=n)
        for n, name in enumerate((b"bbr\0", b"cubic\0", b"bbr\0"))
    ]
    assert [item.cookie for item in parse_sockets([b"".join(raws)], "bbr")] == [0, 2]
    assert [item.algorithm for item in parse_sockets(raws)] == ["bbr", "cubic", "bbr"]


@pytest.mark.parametrize(
    "damaged",
    [
        message(SOCK_DIAG_BY_FAMILY, bytes(71)),
        message(SOCK_DIAG_BY_FAMILY, bytes(72)),
        socket_message(pack("=HH", 3, CONG)),
        socket_message(pack("=HH", 9, CONG) + b"bbr\0"),
        pack("=IHHII", 8, SOCK_DIAG_BY_FAMILY, 0, 0, 0),
        pack("=IHHII", 17, SOCK_DIAG_BY_FAMILY, 0, 0, 0),
    ],
)
def test_damage_is_said(damaged: bytes) -> None:
    with pytest.raises(InputError, match="damaged"):
        parse_sockets([socket_message() + damaged])


@given(st.lists(st.binary(max_size=40), max_size=4), st.binary(max_size=120))
def test_attributes_and_tails_of_anything(parts: list[bytes], tail: bytes) -> None:
    try:
        found = parse_sockets([socket_message(*parts) + tail, socket_message(tail)])
    except InputError:
        return
    assert {item.cookie for item in found} <= {7}


@given(st.integers(0, 200), st.integers(0, 255))
def test_one_byte_is_another(position: int, value: int) -> None:
    raw = bytearray(
        socket_message(
            attribute(INFO, bytes(60)), attribute(CONG, b"bbr\0"), attribute(ULP, attribute(1, b"tls\0"))
        )
    )
    raw[position % len(raw)] = value
    try:
        parse_sockets([bytes(raw)])
    except InputError:
        return
