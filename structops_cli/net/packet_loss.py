"""Loss of packets on purpose, on any kernel.

A classic BPF filter on the receiving socket drops packets at random
(``tcp_filter`` in ``net/ipv4/tcp_ipv4.c``), before TCP has seen them. That
asks for no module (netem is absent from many kernels), no privilege and
nothing that would have to be taken back, it spares the handshake, and the
sender cannot tell it from loss on the way: a queueing discipline on loopback
that drops, drops before the sender's eyes.
"""

from __future__ import annotations

import os
from array import array
from socket import SOL_SOCKET, socket
from struct import calcsize, pack
from typing import NamedTuple

from structops_cli.errors import KernelError, UsageError

__all__ = ["check_loss_percent", "drop_at_random"]

SO_ATTACH_FILTER = 26
"""``include/uapi/asm-generic/socket.h``."""
SKF_AD_RANDOM = 0xFFFFF000 + 56
"""``include/uapi/linux/filter.h``: a load from here gives 32 random bits."""
LOAD_WORD = 0x20
JUMP_IF_NOT_BELOW = 0x35
RETURN = 0x06
KEEP_ALL = 0xFFFFFFFF
DROP = 0


class _Op(NamedTuple):
    """``struct sock_filter``."""

    code: int
    jump_true: int
    jump_false: int
    operand: int


def check_loss_percent(percent: float) -> None:
    """Check that some packets get through; ``UsageError`` otherwise."""
    if not 0 <= percent < 100:
        raise UsageError(
            f"a loss of {percent} percent is not possible", why="it is at least 0 and less than 100"
        )


def drop_at_random(receiver: socket, percent: float) -> None:
    """Make a TCP socket lose a share of the packets that come to it from now on.

    The filter belongs to the socket and goes with it. A packet on loopback may
    be as large as 64 KiB.
    """
    check_loss_percent(percent)
    program = array("B", _program(percent))
    address, size_bytes = program.buffer_info()
    # struct sock_fprog; the kernel has copied the program when the call returns.
    fprog = pack("@HP", size_bytes // calcsize("=HBBI"), address)
    try:
        receiver.setsockopt(SOL_SOCKET, SO_ATTACH_FILTER, fprog)
    except OSError as error:
        number = error.errno or 0
        raise KernelError(
            "packet loss could not be set up",
            errno=number,
            operation="setsockopt(SO_ATTACH_FILTER)",
            why=os.strerror(number),
        ) from error


def _program(percent: float) -> bytes:
    ops = (
        _Op(LOAD_WORD, 0, 0, SKF_AD_RANDOM),
        _Op(JUMP_IF_NOT_BELOW, 0, 1, int(percent / 100 * 2**32)),
        _Op(RETURN, 0, 0, KEEP_ALL),
        _Op(RETURN, 0, 0, DROP),
    )
    return b"".join(pack("=HBBI", *op) for op in ops)
