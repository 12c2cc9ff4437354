"""Send real TCP data with a given congestion control, and lose packets on request.

One loop on the calling thread serves both ends, so Ctrl-C interrupts it at once. Closing a socket resets
its connection: a half-closed socket would keep the congestion control. The duration includes making and
checking the content, so it is no benchmark.
"""

from __future__ import annotations

import os
import select
import struct
from array import array
from collections.abc import Iterator
from contextlib import contextmanager
from errno import ETIMEDOUT
from socket import SHUT_WR, SO_LINGER, SOL_SOCKET, socket
from time import monotonic_ns
from typing import NamedTuple
from zlib import crc32

from structops_cli.errors import KernelError, StateError, StructopsError, UsageError
from structops_cli.net.congestion_controls import check_congestion_control_name
from structops_cli.net.tcp_info import TcpInfo
from structops_cli.net.tcp_socket import congestion_control_of, set_congestion_control, tcp_info_of
from structops_cli.net.throwaway_namespace import ThrowawayNamespace

PATIENCE_S = 30.0
"""Time limit of a connect, and of a transfer in addition to ``SLOWEST_BYTES_PER_S``."""
SLOWEST_BYTES_PER_S = 16 << 20
LONGEST_POLL_MS = 2**31 - 1
"""poll(2) takes an int."""
BLOCK_BYTES = 256 * 1024
RESET_ON_CLOSE = struct.pack("=ii", 1, 0)
"""``struct linger``: on, 0 seconds."""
VERDICT = struct.Struct("=QI")
"""The receiver's final answer: the number of bytes, and their CRC-32."""


FILTER_OP = "=HBBI"
"""``struct sock_filter``: code, jumps if true and if false, operand."""
SO_ATTACH_FILTER = 26
"""``include/uapi/asm-generic/socket.h``."""
SKF_AD_RANDOM = 0xFFFFF000 + 56
"""``include/uapi/linux/filter.h``: a load from here gives 32 random bits."""
LOAD_WORD = 0x20
JUMP_IF_NOT_BELOW = 0x35
RETURN = 0x06
KEEP_ALL = 0xFFFFFFFF
DROP = 0


class TcpPair(NamedTuple):
    """The two ends of one TCP connection; the sender has the chosen congestion control."""

    sender: socket
    receiver: socket


class TrafficReport(NamedTuple):
    """The result of a transfer."""

    congestion_control: str
    """The kernel's answer for the sending socket after the transfer."""
    bytes_sent: int
    bytes_received: int
    crc32: int
    """The checksum of the content, equal at both ends."""
    duration_ns: int
    """The time from the first byte to the receiver's answer."""
    local: str
    remote: str
    tcp_info: TcpInfo
    """The sender's numbers after the last acknowledgement."""


def send_traffic(
    congestion_control: str,
    byte_count: int,
    *,
    namespace: ThrowawayNamespace | None = None,
    loss_percent: float = 0.0,
    timeout_s: float | None = None,
) -> TrafficReport:
    """Send bytes over TCP with a congestion control; check that they arrive unchanged.

    Without ``namespace`` a throwaway one is used. ``loss_percent`` of the packets are dropped at random.
    ``timeout_s`` defaults to 30 seconds and one more for every 16 MiB. Raises ``UsageError`` for impossible
    arguments, ``KernelError`` if the kernel refuses (ENOENT: no such congestion control), ``StateError``
    if bytes are late or changed.
    """
    check_congestion_control_name(congestion_control)
    check_loss_percent(loss_percent)
    _check_byte_count(byte_count)
    if namespace is None:
        with ThrowawayNamespace() as own:
            return send_traffic(
                congestion_control, byte_count, namespace=own, loss_percent=loss_percent, timeout_s=timeout_s
            )
    with tcp_pair(namespace, congestion_control, loss_percent=loss_percent) as pair:
        return transfer(pair, byte_count, timeout_s=timeout_s)


@contextmanager
def tcp_pair(
    namespace: ThrowawayNamespace, congestion_control: str, *, loss_percent: float = 0.0
) -> Iterator[TcpPair]:
    """Hold one connection over loopback; its sender uses the congestion control.

    Raises ``StateError`` if the connected socket uses another congestion control.
    """
    with namespace.open_socket() as listener, namespace.open_socket() as sender:
        with _named_errors("cannot connect over TCP in the throwaway namespace", "connect"):
            for end in (listener, sender):
                end.setsockopt(SOL_SOCKET, SO_LINGER, RESET_ON_CLOSE)  # the accepted socket inherits it
                end.settimeout(PATIENCE_S)
            listener.bind(("127.0.0.1", 0))
            listener.listen(1)
            set_congestion_control(sender, congestion_control)
            sender.connect(listener.getsockname())
            receiver = listener.accept()[0]
        with receiver:
            _check_in_use(sender, congestion_control)
            if loss_percent:
                drop_at_random(receiver, loss_percent)
            yield TcpPair(sender, receiver)


def transfer(pair: TcpPair, byte_count: int, *, timeout_s: float | None = None) -> TrafficReport:
    """Send bytes from the sender to the receiver; return the report after the confirmation.

    The sender's direction is then shut down; both sockets stay open. Raises as ``send_traffic``.
    """
    _check_byte_count(byte_count)
    if timeout_s is None:
        timeout_s = PATIENCE_S + byte_count / SLOWEST_BYTES_PER_S
    content, arrived = _Content(byte_count), _Arrived()
    begin_ns = monotonic_ns()
    deadline_ns = begin_ns + int(timeout_s * 1e9)
    with _named_errors("the TCP connection broke", "send/recv"):
        _carry(pair, content, arrived, deadline_ns)
        confirmed = _confirm(pair, arrived, content, deadline_ns)
        duration_ns = monotonic_ns() - begin_ns
        _check_unchanged((byte_count, content.crc32), confirmed)
        return TrafficReport(
            congestion_control_of(pair.sender),
            byte_count,
            *confirmed,
            duration_ns,
            _address(pair.sender.getsockname()),
            _address(pair.sender.getpeername()),
            tcp_info_of(pair.sender),
        )


class _Content:
    """The bytes to send: random blocks, each with a number, so that no two are equal."""

    def __init__(self, byte_count: int) -> None:
        self.left = byte_count
        self.crc32 = 0
        self._block = bytearray(os.urandom(BLOCK_BYTES))
        self._number = 0
        self._pending = memoryview(b"")

    def send_on(self, sender: socket) -> None:
        if not self._pending:
            self._next_block()
        try:
            sent = sender.send(self._pending)
        except BlockingIOError:
            return
        self._pending = self._pending[sent:]
        self.left -= sent

    def _next_block(self) -> None:
        self._block[:8] = self._number.to_bytes(8, "little")
        self._number += 1
        self._pending = memoryview(self._block)[: self.left]
        self.crc32 = crc32(self._pending, self.crc32)


class _Arrived:
    """The count and the CRC-32 of the bytes that arrived."""

    def __init__(self) -> None:
        self.byte_count = 0
        self.crc32 = 0
        self.ended = False
        self._buffer = memoryview(bytearray(BLOCK_BYTES))

    def receive_from(self, receiver: socket) -> None:
        try:
            size_bytes = receiver.recv_into(self._buffer)
        except BlockingIOError:
            return
        self.byte_count += size_bytes
        self.crc32 = crc32(self._buffer[:size_bytes], self.crc32)
        self.ended = not size_bytes


def _carry(pair: TcpPair, content: _Content, arrived: _Arrived, deadline_ns: int) -> None:
    pair.sender.setblocking(False)
    pair.receiver.setblocking(False)
    poll = select.poll()
    poll.register(pair.sender, select.POLLOUT)
    poll.register(pair.receiver, select.POLLIN)
    while not arrived.ended:
        for fd, _ in _wait(poll, deadline_ns, content, arrived):
            if fd == pair.receiver.fileno():
                arrived.receive_from(pair.receiver)
                continue
            content.send_on(pair.sender)
            if not content.left:
                poll.unregister(pair.sender)
                pair.sender.shutdown(SHUT_WR)


def _confirm(pair: TcpPair, arrived: _Arrived, content: _Content, deadline_ns: int) -> tuple[int, int]:
    # The answer carries the last acknowledgement: TCP_INFO is final after it.
    pair.receiver.send(VERDICT.pack(arrived.byte_count, arrived.crc32))
    poll = select.poll()
    poll.register(pair.sender, select.POLLIN)
    _wait(poll, deadline_ns, content, arrived)
    answer = pair.sender.recv(VERDICT.size)
    if len(answer) != VERDICT.size:
        raise StateError(
            "the receiver's answer was cut off", why=f"{len(answer)} of {VERDICT.size} bytes came"
        )
    byte_count, checksum = VERDICT.unpack(answer)
    return byte_count, checksum


def _wait(poll: select.poll, deadline_ns: int, content: _Content, arrived: _Arrived) -> list[tuple[int, int]]:
    ready = poll.poll(min(max(0, deadline_ns - monotonic_ns()) // 1_000_000, LONGEST_POLL_MS))
    if not ready or monotonic_ns() > deadline_ns:
        raise StateError(
            "the traffic did not arrive in time",
            why=f"{arrived.byte_count} bytes arrived, {content.left} were still to be sent",
            hint="check how the congestion control sets snd_cwnd, or send less",
        )
    return ready


def _check_unchanged(sent: tuple[int, int], arrived: tuple[int, int]) -> None:
    if sent != arrived:
        raise StateError(
            "the content changed on the way",
            why=f"sent {sent[0]} bytes with CRC-32 {sent[1]:08x}, "
            f"arrived {arrived[0]} bytes with CRC-32 {arrived[1]:08x}",
        )


def _check_in_use(sender: socket, asked_for: str) -> None:
    used = congestion_control_of(sender)
    if used != asked_for:
        raise StateError(
            f"the connection does not use the congestion control {asked_for}",
            why=f"it uses {used}",
        )


def _check_byte_count(byte_count: int) -> None:
    if byte_count < 1:
        raise UsageError(f"cannot send {byte_count} bytes", why="the least is 1 byte")


def _address(name: tuple[str, int]) -> str:
    return f"{name[0]}:{name[1]}"


@contextmanager
def _named_errors(what: str, operation: str) -> Iterator[None]:
    try:
        yield
    except StructopsError:
        raise
    except OSError as error:
        number = error.errno or ETIMEDOUT  # a socket's own timeout carries no errno
        raise KernelError(what, errno=number, operation=operation, why=os.strerror(number)) from error


# Packet loss


def check_loss_percent(percent: float) -> None:
    """Raise ``UsageError`` unless ``percent`` is at least 0 and below 100."""
    if not 0 <= percent < 100:
        raise UsageError(f"a loss of {percent} percent is not possible", why="it is at least 0 and below 100")


def drop_at_random(receiver: socket, percent: float) -> None:
    """Make a TCP socket lose a share of its incoming packets from now on, on any kernel.

    A classic BPF filter on the socket drops them before TCP sees them (``tcp_filter`` in
    net/ipv4/tcp_ipv4.c). Unlike netem it needs no module and no privilege, spares the handshake, and ends with
    the socket; the sender sees ordinary loss. A packet on loopback may have 64 KiB.
    """
    check_loss_percent(percent)
    program = array("B", _loss_filter(percent))
    address, size_bytes = program.buffer_info()
    # struct sock_fprog; the kernel has copied the program when the call returns.
    fprog = struct.pack("@HP", size_bytes // struct.calcsize(FILTER_OP), address)
    try:
        receiver.setsockopt(SOL_SOCKET, SO_ATTACH_FILTER, fprog)
    except OSError as error:
        number = error.errno or 0
        raise KernelError(
            "cannot set up packet loss",
            errno=number,
            operation="setsockopt(SO_ATTACH_FILTER)",
            why=os.strerror(number),
        ) from error


def _loss_filter(percent: float) -> bytes:
    """Return a filter that drops a packet if 32 random bits are below a bound."""
    ops = (
        (LOAD_WORD, 0, 0, SKF_AD_RANDOM),
        (JUMP_IF_NOT_BELOW, 0, 1, int(percent / 100 * 2**32)),
        (RETURN, 0, 0, KEEP_ALL),
        (RETURN, 0, 0, DROP),
    )
    return b"".join(struct.pack(FILTER_OP, *op) for op in ops)
