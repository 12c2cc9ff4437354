"""Read netlink answers that are whole, cut, interrupted, refused or damaged."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from errno import EINVAL, ENOBUFS, EPERM
from struct import pack

import pytest
from hypothesis import given
from hypothesis import strategies as st

from structops_cli.errors import InputError, KernelError, NotPermittedError, StateError
from structops_cli.net import netlink
from structops_cli.net.netlink import NETLINK_ROUTE, NETLINK_SOCK_DIAG, NetlinkSocket, attributes, messages

DONE, ERROR, INTERRUPTED = 3, 2, 0x10
KIND = 24


def message(kind: int, body: bytes = b"", *, flags: int = 2, sequence: int = 1) -> bytes:
    padding = bytes(-len(body) % 4)
    return pack("=IHHII", 16 + len(body), kind, flags, sequence, 0) + body + padding


def attribute(kind: int, data: bytes) -> bytes:
    return pack("=HH", 4 + len(data), kind) + data + bytes(-len(data) % 4)


class Scripted:
    """Replace the socket: each receive takes the next datagram, or raises the next error."""

    def __init__(self, script: list[bytes | OSError], port: int = 0) -> None:
        self.script, self.port, self.sent = script, port, 0

    def sendto(self, data: bytes, _address: tuple[int, int]) -> int:
        self.sent += 1
        return len(data)

    def recvfrom_into(self, buffer: bytearray, _size: int, flags: int) -> tuple[int, tuple[int, int]]:
        assert flags & socket.MSG_TRUNC
        item = self.script.pop(0)
        if isinstance(item, OSError):
            raise item
        room = min(len(item), len(buffer))
        buffer[:room] = item[:room]
        return len(item), (self.port, 0)


@pytest.fixture(params=[NETLINK_ROUTE, NETLINK_SOCK_DIAG])
def opened(request: pytest.FixtureRequest) -> Iterator[NetlinkSocket]:
    with NetlinkSocket(request.param) as mine:
        yield mine


def scripted(mine: NetlinkSocket, *script: bytes | OSError) -> Scripted:
    fake = Scripted(list(script))
    mine.close()
    mine._socket = fake  # type: ignore[assignment]
    fake.close = lambda: None  # type: ignore[attr-defined]
    return fake


def dumped(mine: NetlinkSocket) -> list[tuple[int, bytes]]:
    return [(kind, bytes(body)) for kind, body in messages(mine.dump(KIND, b"", "RTM_GETROUTE"))]


def done(sequence: int = 1, number: int = 0, flags: int = 2) -> bytes:
    return message(DONE, pack("=i", -number), sequence=sequence, flags=flags)


def test_a_dump_of_several_datagrams(opened: NetlinkSocket) -> None:
    scripted(opened, message(KIND, b"one") + message(KIND, b"two"), message(KIND, b"three"), done())
    assert dumped(opened) == [(KIND, b"one"), (KIND, b"two"), (KIND, b"three")]


def test_an_end_within_the_last_datagram(opened: NetlinkSocket) -> None:
    scripted(opened, message(KIND, b"one") + done())
    assert dumped(opened) == [(KIND, b"one")]


def test_a_message_that_only_looks_like_an_end(opened: NetlinkSocket) -> None:
    scripted(opened, message(KIND, bytes(8) + done()), message(KIND, b"two") + done())
    assert [len(body) for _, body in dumped(opened)] == [28, 3]


def test_answers_to_an_earlier_request_are_no_end(opened: NetlinkSocket) -> None:
    scripted(opened, done(sequence=0), message(KIND, b"one") + done())
    assert (KIND, b"one") in dumped(opened)


@pytest.mark.parametrize("lost", [OSError(ENOBUFS, ""), message(KIND, bytes(1 << 17))])
def test_a_dump_with_a_loss_is_asked_for_again(opened: NetlinkSocket, lost: bytes | OSError) -> None:
    fake = scripted(
        opened, lost, message(KIND, b"late") + done(), message(KIND, b"one", sequence=2) + done(sequence=2)
    )
    assert dumped(opened) == [(KIND, b"one")]
    assert fake.sent == 2


def test_a_dump_that_was_interrupted_is_asked_for_again() -> None:
    with NetlinkSocket(NETLINK_ROUTE) as mine:
        first = message(KIND, b"old") + message(KIND, b"half", flags=2 | INTERRUPTED)
        scripted(mine, first, done(), message(KIND, b"new", sequence=2) + done(sequence=2))
        assert dumped(mine) == [(KIND, b"new")]


def test_a_dump_that_is_never_whole_is_an_error() -> None:
    with NetlinkSocket(NETLINK_ROUTE) as mine:
        scripted(mine, *(done(sequence=n + 1, flags=2 | INTERRUPTED) for n in range(netlink.DUMP_TRIES)))
        with pytest.raises(StateError, match="not whole"):
            dumped(mine)


def test_somebody_else_is_not_listened_to(opened: NetlinkSocket) -> None:
    fake = scripted(opened, message(KIND, b"forged") + done(), TimeoutError())
    fake.port = 4711
    with pytest.raises(KernelError, match="does not answer"):
        dumped(opened)


@pytest.mark.parametrize(("number", "kind"), [(EINVAL, KernelError), (EPERM, NotPermittedError)])
def test_a_dump_that_is_refused(opened: NetlinkSocket, number: int, kind: type[KernelError]) -> None:
    words = attribute(1, b"Not like this\0")
    body = pack("=i", -number) + pack("=IHHII", 16, KIND, 0, 1, 0) + words
    scripted(opened, message(ERROR, body, flags=0x300))
    with pytest.raises(kind, match="Not like this") as caught:
        dumped(opened)
    assert caught.value.errno == number


def test_an_end_that_is_an_error(opened: NetlinkSocket) -> None:
    scripted(opened, message(KIND, b"one"), done(number=EINVAL))
    with pytest.raises(KernelError, match="Invalid argument"):
        dumped(opened)


def test_a_request_ends_with_its_acknowledgement(opened: NetlinkSocket) -> None:
    fake = scripted(opened, message(KIND, b"data"), message(ERROR, bytes(20)))
    opened.request(KIND, b"", "RTM_GETLINK")
    assert fake.sent == 1


def test_a_request_that_is_refused(opened: NetlinkSocket) -> None:
    scripted(opened, message(ERROR, pack("=i", -EINVAL) + bytes(16)))
    with pytest.raises(KernelError, match="RTM_GETLINK was refused: Invalid argument"):
        opened.request(KIND, b"", "RTM_GETLINK")


@pytest.mark.parametrize(
    "damaged", [pack("=IHHII", 15, KIND, 2, 1, 0), pack("=IHHII", 99, KIND, 2, 1, 0) + bytes(8)]
)
def test_a_message_that_is_longer_than_its_datagram(opened: NetlinkSocket, damaged: bytes) -> None:
    scripted(opened, damaged)
    with pytest.raises(InputError, match="damaged"):
        dumped(opened)


def test_attributes_by_type() -> None:
    body = bytes(4) + attribute(1, b"abc") + attribute(2 | 0x8000, b"") + attribute(1, b"last")
    assert {kind: bytes(data) for kind, data in attributes(memoryview(body), 4).items()} == {
        1: b"last",
        2: b"",
    }


@given(st.binary(max_size=64))
def test_attributes_of_anything(data: bytes) -> None:
    try:
        found = attributes(memoryview(data))
    except InputError:
        return
    assert sum(len(item) + 4 for item in found.values()) <= len(data)
