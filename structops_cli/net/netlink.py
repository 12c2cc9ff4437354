"""Send netlink requests and read whole answers, without pyroute2.

pyroute2 takes 250 ms to import and makes an object of every attribute. A socket keeps the network
namespace of the thread that opened it; any thread may use it.
"""

from __future__ import annotations

import _socket
import os
from collections.abc import Callable, Iterator
from errno import ENOBUFS, ETIMEDOUT
from struct import Struct
from types import TracebackType
from typing import Self, TypeAlias, TypeVar

from structops_cli.errors import InputError, KernelError, StateError

NETLINK_ROUTE = 0
NETLINK_SOCK_DIAG = 4
NLMSG_ERROR = 2
NLMSG_DONE = 3
NLM_F_REQUEST = 0x1
NLM_F_ACK = 0x4
NLM_F_DUMP_INTR = 0x10
NLM_F_CAPPED = 0x100
NLM_F_ACK_TLVS = 0x200
NLM_F_DUMP = 0x300
"""These are from ``include/uapi/linux/netlink.h``."""
NLMSGERR_ATTR_MSG = 1
NLA_TYPE_MASK = 0x3FFF
"""Without NLA_F_NESTED and NLA_F_NET_BYTEORDER."""
SOL_NETLINK = 270
NETLINK_EXT_ACK = 11
NETLINK_GET_STRICT_CHK = 12
"""Makes the kernel filter route dumps by their header (Linux 4.20)."""

HEADER = Struct("=IHHII")
"""``struct nlmsghdr``: length, type, flags, sequence number, port."""
ERROR = Struct("=i")
ATTRIBUTE = Struct("=HH")
"""``struct nlattr``: length with this header, type."""
RECEIVE_BYTES = 1 << 16
"""The kernel fills datagrams of up to 32 KiB if the reader has room (``netlink_dump``)."""
LARGEST_BYTES = 1 << 24
ANSWER_TIMEOUT_S = 10.0
"""Time limit for a lost answer: the kernel answers within the call."""
DUMP_TRIES = 8
"""Attempts of a dump whose list changes, or for which the kernel lacks memory."""

Taken = TypeVar("Taken")
Message: TypeAlias = tuple[int, int, memoryview]
"""Type, flags, and the bytes after the header."""


class NetlinkSocket:
    """Owns a netlink socket of the calling thread's network namespace; a context manager."""

    def __init__(self, protocol: int, *, strict: bool = False) -> None:
        """Open the socket; ``strict`` makes the kernel filter route dumps by their header."""
        try:
            self._socket = _socket.socket(
                _socket.AF_NETLINK, _socket.SOCK_RAW | _socket.SOCK_CLOEXEC, protocol
            )
        except OSError as error:
            raise _refused("cannot open a netlink socket", "socket(AF_NETLINK)", error.errno or 0) from None
        self._socket.settimeout(ANSWER_TIMEOUT_S)
        self._protocol = protocol
        self._sequence = 0
        self._buffer = bytearray(RECEIVE_BYTES)
        for option in (NETLINK_EXT_ACK, *((NETLINK_GET_STRICT_CHK,) if strict else ())):
            try:
                self._socket.setsockopt(SOL_NETLINK, option, 1)
            except OSError:  # an old kernel, without error texts or filtered dumps
                continue

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        error_class: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the socket; a second call does nothing."""
        self._socket.close()

    def dump(self, message_type: int, payload: bytes, operation: str) -> list[bytes]:
        """Request a list and return its datagrams, for ``messages``. Raises as ``dump_into``."""
        return self.dump_into(bytes, message_type, payload, operation)

    def dump_into(
        self,
        take: Callable[[memoryview], Taken],
        message_type: int,
        payload: bytes,
        operation: str,
        *,
        restart: Callable[[], object] = object,
    ) -> list[Taken]:
        """Request a list, and return what ``take`` returns for each datagram.

        A datagram is valid only during the call of ``take``. A list that changed meanwhile, or that the
        kernel cut for lack of memory or room, is requested again; each attempt starts with ``restart``.
        Raises ``KernelError`` if the kernel refuses, ``StateError`` if every attempt was interrupted.
        """
        for _ in range(DUMP_TRIES):
            restart()
            if (found := self._dump_once(take, message_type, payload, operation)) is not None:
                return found
        raise StateError(
            "the kernel's answer was not whole",
            why=f"{operation} was interrupted {DUMP_TRIES} times by changes, or for want of memory",
            hint="try again",
        )

    def request(self, message_type: int, payload: bytes, operation: str, flags: int = 0) -> None:
        """Send one request and wait for its end. Raises ``KernelError`` with the kernel's text."""
        self._send(message_type, payload, NLM_F_REQUEST | NLM_F_ACK | flags, operation)
        while True:
            datagram = self._receive(operation)
            if datagram is None:
                raise _refused(f"{operation} was not answered whole", operation, ENOBUFS)
            for answer, answer_flags, body in self._answers(datagram):
                if answer in (NLMSG_ERROR, NLMSG_DONE):
                    _check_end(answer, answer_flags, body, operation)
                    return

    def _dump_once(
        self, take: Callable[[memoryview], Taken], message_type: int, payload: bytes, operation: str
    ) -> list[Taken] | None:
        """Read a whole dump; return None if a part is missing or the list changed."""
        self._send(message_type, payload, NLM_F_REQUEST | NLM_F_DUMP, operation)
        found: list[Taken] = []
        whole = True
        while True:
            datagram = self._receive(operation)
            if datagram is None:
                whole = False
                continue
            ended = False
            for answer, flags, body in self._answers(datagram, first_only=self._is_bulk(datagram)):
                whole = whole and not flags & NLM_F_DUMP_INTR
                if answer in (NLMSG_ERROR, NLMSG_DONE):
                    _check_end(answer, flags, body, operation)
                    ended = True
                    break
            found.append(take(datagram))
            if ended:
                return found if whole else None

    def _send(self, message_type: int, payload: bytes, flags: int, operation: str) -> None:
        self._sequence += 1
        header = HEADER.pack(HEADER.size + len(payload), message_type, flags, self._sequence, 0)
        try:
            self._socket.sendto(header + payload, (0, 0))
        except OSError as error:
            raise _refused(f"{operation} was refused", operation, error.errno or 0) from None

    def _receive(self, operation: str) -> memoryview | None:
        """Return the kernel's next datagram, None if one was lost or cut."""
        while True:
            try:
                size, (port, _) = self._socket.recvfrom_into(self._buffer, 0, _socket.MSG_TRUNC)
            except TimeoutError:
                raise _refused(f"the kernel does not answer {operation}", operation, ETIMEDOUT) from None
            except OSError as error:
                if error.errno == ENOBUFS:
                    return None
                raise _refused(f"{operation} was refused", operation, error.errno or 0) from None
            if port != 0:  # another process sent it
                continue
            if size > len(self._buffer):
                self._buffer = bytearray(min(size * 2, LARGEST_BYTES))
                return None
            return memoryview(self._buffer)[:size]

    def _answers(self, datagram: bytes | memoryview, *, first_only: bool = False) -> Iterator[Message]:
        """Yield the messages that answer the last request; with ``first_only`` read one message."""
        for offset, end, message_type, flags, sequence in _frames(datagram):
            if sequence == self._sequence:
                yield message_type, flags, memoryview(datagram)[offset + HEADER.size : end]
            if first_only:
                return

    def _is_bulk(self, datagram: bytes | memoryview) -> bool:
        """Tell whether only the first message of a dump's datagram can end the dump.

        Reading each header of 10,000 sockets here costs more than parsing the sockets in C. The kernel
        flags no dump of sockets as interrupted, an error comes first, and NLMSG_DONE comes last
        (``netlink_dump_done``).
        """
        tail = len(datagram) - HEADER.size - ERROR.size
        ends = tail >= 0 and HEADER.unpack_from(datagram, tail)[1] == NLMSG_DONE
        return self._protocol == NETLINK_SOCK_DIAG and not ends


def messages(datagrams: list[bytes]) -> Iterator[tuple[int, memoryview]]:
    """Yield the type and the bytes after the header of each message of a dump.

    Raises ``InputError`` for a message longer than its datagram, or shorter than a header.
    """
    for datagram in datagrams:
        view = memoryview(datagram)
        for offset, end, message_type, _, _ in _frames(datagram):
            if message_type not in (NLMSG_ERROR, NLMSG_DONE):
                yield message_type, view[offset + HEADER.size : end]


def attributes(body: memoryview, offset: int = 0) -> dict[int, memoryview]:
    """Return the attributes of a message by type; the last of each type wins.

    Raises ``InputError`` for damaged attributes.
    """
    found: dict[int, memoryview] = {}
    size = len(body)
    while offset + ATTRIBUTE.size <= size:
        length, attribute_type = ATTRIBUTE.unpack_from(body, offset)
        if length < ATTRIBUTE.size or offset + length > size:
            raise damaged(f"an attribute of {length} bytes at {offset} of {size}")
        found[attribute_type & NLA_TYPE_MASK] = body[offset + ATTRIBUTE.size : offset + length]
        offset += (length + 3) & ~3
    return found


def damaged(why: str) -> InputError:
    """Return the error for an answer whose lengths contradict each other."""
    return InputError("the kernel's netlink answer is damaged", why=why)


def _frames(datagram: bytes | memoryview) -> Iterator[tuple[int, int, int, int, int]]:
    """Yield offset, end, type, flags and sequence number of each message."""
    offset, size = 0, len(datagram)
    while offset + HEADER.size <= size:
        length, message_type, flags, sequence, _ = HEADER.unpack_from(datagram, offset)
        if length < HEADER.size or offset + length > size:
            raise damaged(f"a message of {length} bytes at {offset} of {size}")
        yield offset, offset + length, message_type, flags, sequence
        offset += (length + 3) & ~3


def _check_end(message_type: int, flags: int, body: memoryview, operation: str) -> None:
    """Raise the error that an NLMSG_ERROR or NLMSG_DONE carries, if any."""
    number = -ERROR.unpack_from(body)[0] if len(body) >= ERROR.size else 0
    if number > 0:
        raise _refused(f"{operation} was refused", operation, number, _kernel_text(message_type, flags, body))


def _kernel_text(message_type: int, flags: int, body: memoryview) -> str | None:
    """Return the kernel's text for an error (NETLINK_EXT_ACK), None without one."""
    if not flags & NLM_F_ACK_TLVS:
        return None
    start = ERROR.size
    if message_type == NLMSG_ERROR:
        if len(body) < ERROR.size + HEADER.size:
            return None
        echoed = HEADER.size if flags & NLM_F_CAPPED else HEADER.unpack_from(body, ERROR.size)[0]
        start += (echoed + 3) & ~3
    try:
        raw = attributes(body, start).get(NLMSGERR_ATTR_MSG, b"")
    except InputError:
        return None
    return bytes(raw).split(b"\0", 1)[0].decode(errors="replace") or None


def _refused(what: str, operation: str, number: int, text: str | None = None) -> KernelError:
    """Return the error of a refused request; its cause is the kernel's text if there is one."""
    error = KernelError.from_errno(
        what, errno=number, operation=operation, why=os.strerror(number), capability="CAP_NET_ADMIN"
    )
    error.why = text or error.why
    return error
