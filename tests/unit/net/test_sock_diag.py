"""Read sockets from inet_diag's messages: each shape of attributes, and any bytes."""

from __future__ import annotations

from collections.abc import Callable
from errno import EINVAL, ENOENT, EPERM
from socket import AF_INET, AF_INET6, inet_pton
from struct import pack
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from structops_cli.errors import InputError, KernelError, UnsupportedError
from structops_cli.net.netlink import NetlinkSocket
from structops_cli.net.sock_diag import (
    SOCK_DIAG_BY_FAMILY,
    TCPDIAG_GETSOCK,
    TcpSocket,
    TcpState,
    add_records,
    sockets_of,
    state_name,
)
from structops_cli.syscall.sockets import RECORD, SocketRecords
from tests.unit.net.test_netlink import attribute, message

CONG, INFO, ULP, SHUTDOWN = 4, 2, 19, 8


def parse_sockets(datagrams: list[bytes], algorithm: str | None = None) -> list[TcpSocket]:
    records = SocketRecords(algorithm)
    for item in datagrams:
        records.add(item)
    return sockets_of(records.data)


def socket_message(
    *attributes: bytes,
    family: int = AF_INET,
    source: str = "127.0.0.1",
    destination: str = "127.0.0.2",
    state: int = 1,
    cookie: int = 7,
    kind: int = SOCK_DIAG_BY_FAMILY,
) -> bytes:
    ends = b"".join(inet_pton(family, text).ljust(16, b"\0") for text in (source, destination))
    body = pack("=BBBB", family, state, 0, 0) + (80).to_bytes(2, "big") + (4711).to_bytes(2, "big") + ends
    body += pack("=IQIIIII", 3, cookie, 0, 0, 0, 1000, 99)
    return message(kind, body + b"".join(attributes))


def test_all_fields_of_one() -> None:
    raw = socket_message(attribute(SHUTDOWN, b"\0"), attribute(INFO, b"numbers"), attribute(CONG, b"bbr\0"))
    [found] = parse_sockets([raw])
    assert found == (
        AF_INET, TcpState.ESTABLISHED, "127.0.0.1", 80, "127.0.0.2", 4711, 3, 7, 1000, 99, "bbr", b"numbers", None,
    )  # fmt: skip


def test_one_without_attributes() -> None:
    [found] = parse_sockets([socket_message(state=TcpState.TIME_WAIT)])
    assert (found.algorithm, found.info, found.ulp) == (None, None, None)
    assert state_name(found.state) == "TIME_WAIT"


def test_sockets_of_different_shapes_and_the_same_length() -> None:
    """Two messages of one length have different attributes."""
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


# One list of both families


class Diag:
    """Answer each request with given datagrams, or with an errno."""

    def __init__(self, answers: dict[int, list[bytes] | int]) -> None:
        self._answers = answers
        self.asked: list[int] = []

    def dump_into(
        self,
        take: Callable[[bytes], None],
        kind: int,
        asked: bytes,
        operation: str,
        *,
        restart: Callable[[], object],
    ) -> None:
        """Hand over the first datagram, begin again, and hand over all: a list that changed meanwhile."""
        self.asked.append(kind if kind == TCPDIAG_GETSOCK else asked[0])
        restart()
        answer = self._answers[self.asked[-1]]
        for item in answer[:1] if isinstance(answer, list) else ():
            take(item)
        if isinstance(answer, int):
            raise KernelError("refused", errno=answer, operation=operation)
        restart()
        for item in answer:
            take(item)


def one_of(family: int, cookie: int, kind: int) -> bytes:
    address = "127.0.0.1" if family == AF_INET else "::1"
    return socket_message(family=family, source=address, destination=address, cookie=cookie, kind=kind)


def cookies_of(diag: Diag) -> list[int]:
    records = SocketRecords()
    records.add(one_of(AF_INET6, 99, TCPDIAG_GETSOCK))  # of another namespace, before
    assert add_records(cast("NetlinkSocket", diag), records) == len(records.data) // RECORD.size - 1
    first, *found = [item.cookie for item in sockets_of(records.data)]
    assert first == 99
    return found


@pytest.mark.parametrize(
    ("families", "cookies"),
    [
        ((AF_INET6, AF_INET, AF_INET6, AF_INET), [1, 3, 0, 2]),
        ((AF_INET, AF_INET, AF_INET6), [0, 1, 2]),
        ((AF_INET6, AF_INET6), [0, 1]),
        ((AF_INET6, AF_INET), [1, 0]),
        ((), []),
    ],
)
def test_ipv4_comes_first_in_the_kernels_order(families: tuple[int, ...], cookies: list[int]) -> None:
    diag = Diag({TCPDIAG_GETSOCK: [one_of(f, n, TCPDIAG_GETSOCK) for n, f in enumerate(families)]})
    assert cookies_of(diag) == cookies
    assert diag.asked == [TCPDIAG_GETSOCK]


def test_where_the_older_request_is_refused_each_family_is_asked_for() -> None:
    four, six = ([one_of(f, n, SOCK_DIAG_BY_FAMILY)] for n, f in enumerate((AF_INET, AF_INET6)))
    diag = Diag({TCPDIAG_GETSOCK: EINVAL, AF_INET: four, AF_INET6: six})
    assert cookies_of(diag) == [0, 1]
    assert diag.asked == [TCPDIAG_GETSOCK, AF_INET, AF_INET6]
    assert cookies_of(Diag({TCPDIAG_GETSOCK: EINVAL, AF_INET: four, AF_INET6: ENOENT})) == [0]
    with pytest.raises(UnsupportedError, match="does not list"):
        cookies_of(Diag({TCPDIAG_GETSOCK: EINVAL, AF_INET: ENOENT}))
    with pytest.raises(KernelError, match="refused"):
        cookies_of(Diag({TCPDIAG_GETSOCK: EINVAL, AF_INET: EPERM}))
