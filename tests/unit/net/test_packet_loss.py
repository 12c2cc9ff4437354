"""The filter that drops packets: its program, run here instruction by instruction."""

from __future__ import annotations

import math
import socket
import struct
from errno import EBADF

import pytest

from structops_cli.errors import KernelError, UsageError
from structops_cli.net.packet_loss import KEEP_ALL, _program, check_loss_percent, drop_at_random


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
def test_the_program_drops_the_asked_share(percent: float, random_number: int, kept: bool) -> None:
    assert verdict(_program(percent), random_number) == (KEEP_ALL if kept else 0)


@pytest.mark.parametrize("percent", [-0.1, 100, 1e9, math.nan, math.inf])
def test_an_impossible_share_is_refused(percent: float) -> None:
    with pytest.raises(UsageError, match="at least 0 and less than 100"):
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
