"""Transfer bytes between two sockets, and lose packets: no namespace, no root."""

from __future__ import annotations

import errno
import math
import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from errno import EBADF
from time import monotonic
from typing import Any
from zlib import crc32

import pytest

from structops_cli.errors import KernelError, StateError, UsageError
from structops_cli.net import traffic
from structops_cli.net.traffic import (
    BLOCK_BYTES,
    KEEP_ALL,
    TcpPair,
    _loss_filter,
    check_loss_percent,
    drop_at_random,
    send_traffic,
    tcp_pair,
    transfer,
)

TIMEOUT_S = 20.0


class PlainSockets:
    """Replace a throwaway namespace: open its sockets in the present one."""

    def open_socket(self) -> socket.socket:
        return socket.socket()


@contextmanager
def pair_with_receiver(kind: type[socket.socket] = socket.socket) -> Iterator[TcpPair]:
    """Hold a connection whose receiving end is of the given class."""
    here: Any = PlainSockets()
    with (
        tcp_pair(here, "reno") as plain,
        kind(fileno=plain.receiver.detach()) as receiver,
    ):
        yield TcpPair(plain.sender, receiver)


class Flipping(socket.socket):
    """Change the first byte that arrives."""

    def recv_into(self, buffer: Any, *args: int) -> int:
        size = super().recv_into(buffer, *args)
        buffer[0] ^= 1
        return size


class Swallowing(socket.socket):
    """Lose the first byte."""

    lost = False

    def recv_into(self, buffer: Any, *args: int) -> int:
        if not self.lost:
            self.lost = True
            self.recv(1)
        return super().recv_into(buffer, *args)


class Stalled(socket.socket):
    """Never receive anything."""

    def recv_into(self, *_: Any) -> int:
        raise BlockingIOError(errno.EAGAIN, "not yet")


class Broken(socket.socket):
    """Lose the connection."""

    def recv_into(self, *_: Any) -> int:
        raise ConnectionResetError(errno.ECONNRESET, "gone")


class Terse(socket.socket):
    """Send half an answer and hang up."""

    def send(self, data: Any, *args: int) -> int:
        sent = super().send(data[:6], *args)
        self.shutdown(socket.SHUT_WR)
        return sent


class Mute(socket.socket):
    """Receive everything and answer nothing."""

    def send(self, data: Any, *_: Any) -> int:
        return len(data)


@pytest.mark.parametrize(
    "byte_count", [1, 7, 8, 9, BLOCK_BYTES - 1, BLOCK_BYTES, BLOCK_BYTES + 1, 5 * BLOCK_BYTES + 3]
)
def test_exactly_the_asked_bytes_are_carried(byte_count: int) -> None:
    with pair_with_receiver() as pair:
        report = transfer(pair, byte_count, timeout_s=TIMEOUT_S)
        assert report.local == f"127.0.0.1:{pair.sender.getsockname()[1]}"
        assert report.remote == f"127.0.0.1:{pair.receiver.getsockname()[1]}"
    assert (report.bytes_sent, report.bytes_received) == (byte_count, byte_count)
    assert report.tcp_info.bytes_sent - report.tcp_info.bytes_retrans == byte_count
    assert report.tcp_info.bytes_acked == byte_count + 2  # SYN and FIN
    assert report.tcp_info.unacked == 0
    assert report.congestion_control == "reno"
    assert 0 < report.duration_ns < TIMEOUT_S * 1e9


def test_the_checksum_is_of_the_content_and_no_two_blocks_are_the_same() -> None:
    content = traffic._Content(2 * BLOCK_BYTES)
    here, there = socket.socketpair()
    got = b""
    here.setblocking(False)
    with here, there:
        while content.left:
            content.send_on(here)
            got += there.recv(2 * BLOCK_BYTES)
    assert content.crc32 == crc32(got)
    assert got[:BLOCK_BYTES] != got[BLOCK_BYTES:]


@pytest.mark.parametrize(("kind", "arrived"), [(Flipping, 5000), (Swallowing, 4999)])
def test_content_that_changes_on_the_way_is_noticed(kind: type[socket.socket], arrived: int) -> None:
    with pair_with_receiver(kind) as pair, pytest.raises(StateError, match="content changed") as refusal:
        transfer(pair, 5000, timeout_s=TIMEOUT_S)
    assert "sent 5000 bytes" in refusal.value.why
    assert f"arrived {arrived} bytes" in refusal.value.why


def test_a_stalled_transfer_ends_in_time_and_tells_how_far_it_came() -> None:
    with (
        pair_with_receiver(Stalled) as pair,
        pytest.raises(StateError, match="did not arrive") as refusal,
    ):
        transfer(pair, 5000, timeout_s=0.5)
    assert refusal.value.why == "0 bytes arrived, 0 were still to be sent"
    assert refusal.value.hint


def test_without_a_limit_the_time_given_grows_with_the_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(traffic, "PATIENCE_S", 0.1)
    monkeypatch.setattr(traffic, "SLOWEST_BYTES_PER_S", 10_000)
    begin = monotonic()
    with pair_with_receiver(Stalled) as pair, pytest.raises(StateError, match="did not arrive"):
        transfer(pair, 5000)
    assert 0.6 <= monotonic() - begin < TIMEOUT_S


def test_a_broken_connection_is_an_error_of_the_kernel() -> None:
    with pair_with_receiver(Broken) as pair, pytest.raises(KernelError, match="connection broke") as refusal:
        transfer(pair, 5000, timeout_s=TIMEOUT_S)
    assert (refusal.value.errno, refusal.value.operation) == (errno.ECONNRESET, "send/recv")


def test_half_an_answer_is_no_answer() -> None:
    with pair_with_receiver(Terse) as pair, pytest.raises(StateError, match="cut off"):
        transfer(pair, 5000, timeout_s=TIMEOUT_S)


def test_an_answer_that_never_comes_ends_in_time() -> None:
    with pair_with_receiver(Mute) as pair, pytest.raises(StateError, match="did not arrive") as refusal:
        transfer(pair, 5000, timeout_s=0.5)
    assert refusal.value.why == "5000 bytes arrived, 0 were still to be sent"


def test_another_congestion_control_than_asked_for_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(traffic, "congestion_control_of", lambda _: "other")
    with (
        pytest.raises(StateError, match="does not use the congestion control reno") as refusal,
        pair_with_receiver(),
    ):
        pass
    assert "other" in refusal.value.why


def test_a_connection_that_times_out_is_an_error_of_the_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*_: object) -> None:
        raise TimeoutError("timed out")  # as a socket's own timeout: without errno

    monkeypatch.setattr(traffic, "set_congestion_control", never)
    with pytest.raises(KernelError, match="cannot connect over TCP") as refusal, pair_with_receiver():
        pass
    assert (refusal.value.errno, refusal.value.operation) == (errno.ETIMEDOUT, "connect")


@pytest.mark.parametrize(
    ("name", "byte_count", "loss_percent", "what"),
    [
        ("", 1, 0, "cannot be the name"),
        ("x" * 16, 1, 0, "cannot be the name"),
        ("reno", 0, 0, "cannot send 0 bytes"),
        ("reno", -5, 0, "cannot send -5 bytes"),
        ("reno", 1, 100, "not possible"),
    ],
)
def test_arguments_that_make_no_sense_are_refused_first(
    name: str, byte_count: int, loss_percent: float, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(traffic, "ThrowawayNamespace")
    with pytest.raises(UsageError, match=what):
        send_traffic(name, byte_count, loss_percent=loss_percent)


def test_a_transfer_of_nothing_is_refused() -> None:
    with pair_with_receiver() as pair, pytest.raises(UsageError):
        transfer(pair, 0)


def verdict(program: bytes, random_number: int) -> int:
    """Run a classic BPF program of loads of the random number, JGE and RET; return what it returns."""
    ops: list[tuple[int, int, int, int]] = list(struct.iter_unpack("=HBBI", program))
    accumulator = at = 0
    while True:
        code, jump_true, jump_false, operand = ops[at]
        at += 1
        if code == 0x06:
            return operand
        if code == 0x35:
            at += jump_true if accumulator >= operand else jump_false
            continue
        assert (code, operand) == (0x20, 0xFFFFF038)
        accumulator = random_number


@pytest.mark.parametrize(
    ("percent", "random_number", "kept"),
    [
        (0, 0, True),
        (50, 2**31 - 1, False),
        (50, 2**31, True),
        (1, 42949671, False),
        (1, 42949672, True),
        (99.99, 2**32 - 1, True),
        (99.99, 2**32 - 2**20, False),
    ],
)
def test_the_filter_drops_the_asked_share(percent: float, random_number: int, kept: bool) -> None:
    assert verdict(_loss_filter(percent), random_number) == (KEEP_ALL if kept else 0)


@pytest.mark.parametrize("percent", [-0.1, 100, 1e9, math.nan, math.inf])
def test_an_impossible_share_is_refused(percent: float) -> None:
    with pytest.raises(UsageError, match="at least 0 and below 100"):
        check_loss_percent(percent)


def test_the_kernel_takes_the_filter_and_it_drops() -> None:
    address = ("127.0.0.1", 0)
    with socket.socket(type=socket.SOCK_DGRAM) as receiver, socket.socket(type=socket.SOCK_DGRAM) as sender:
        receiver.bind(address)
        receiver.setblocking(False)
        drop_at_random(receiver, 50)
        arrived = 0
        for _ in range(400):
            sender.sendto(b"x", receiver.getsockname())
            try:
                arrived += len(receiver.recv(8))
            except BlockingIOError:
                continue
    assert 100 < arrived < 300  # ten standard deviations on either side


def test_a_socket_that_takes_no_filter_is_an_error_of_the_kernel() -> None:
    closed = socket.socket()
    closed.close()
    with pytest.raises(KernelError) as refusal:
        drop_at_random(closed, 1)
    assert (refusal.value.errno, refusal.value.operation) == (EBADF, "setsockopt(SO_ATTACH_FILTER)")
