"""Read the TCP sockets of inet_diag as records, and the socket descriptors of processes.

C code parses both, because a run has ten thousand of each: 80 ms in Python, 4 ms in C. A
record is one ``struct so_tcp_socket`` (``native_sockets.h``). Callers read whole columns of
records, without a Python object per socket.
"""

from __future__ import annotations

import os
import sys
from array import array
from collections.abc import Sequence
from struct import Struct
from typing import Any, Literal

from structops_cli.errors import InputError
from structops_cli.syscall._native import ffi, lib

RECORD = Struct("=Q4I2H2B2x16s16s16s16s240s")
"""The fields of a record.

Cookie, interface, uid, inode, length of info; ports; family, state; addresses; algorithm, ulp; info.
"""
FIELDS = {
    "cookie": 0, "interface": 8, "uid": 12, "inode": 16, "info_len": 20, "source_port": 24, "destination_port": 26,
    "family": 28, "state": 29, "source": 32, "destination": 48, "algorithm": 64, "ulp": 80, "info": 96,
}  # fmt: skip
"""The offset of each field in a record."""
LEAST_BYTES = 88
"""Bytes of the smallest message of one socket, which limit the sockets in a datagram."""
_NO_WORDS = memoryview(b"").cast("I")
_uncleared = ffi.new_allocator(should_clear_after_alloc=False)
"""Allocates memory that costs no time before the first write to it."""

Code = Literal["B", "H", "I", "Q"]


def field_offset(name: str) -> int:
    """Return the offset of a field in a record, in bytes."""
    return FIELDS[name]


class SocketRecords:
    """Collects the records of datagrams, of one algorithm or of all, in one growing buffer.

    Fresh memory costs more than the parsing, so each record is copied once.
    """

    def __init__(self, algorithm: str | None = None) -> None:
        self.data = bytearray()
        self._algorithm = ffi.NULL if algorithm is None else ffi.new("char[]", algorithm.encode())
        self._room = 0
        self._parsed: Any = None

    def add(self, datagram: bytes | memoryview) -> None:
        """Add the records of a datagram. Raises ``InputError`` for a damaged one."""
        size = len(datagram)
        if size // LEAST_BYTES >= self._room:
            self._room = size // LEAST_BYTES + 1
            self._parsed = _uncleared("struct so_tcp_socket[]", self._room)
        count = lib.so_sockets(ffi.from_buffer(datagram), size, self._algorithm, self._parsed)
        if count < 0:
            raise InputError("the kernel's list of sockets is damaged", why=f"at byte {-1 - count} of {size}")
        self.data += ffi.buffer(self._parsed, count * RECORD.size)


def column(records: bytes | bytearray, name: str, code: Code) -> list[int]:
    """Return one field of every record; ``code`` is its format for ``struct``."""
    return _column(records, FIELDS[name], code)


def bytes_column(records: bytes | bytearray, name: str) -> list[int]:
    """Return one field of 16 bytes of every record, as little-endian numbers.

    The garbage collector does not track numbers. 10,000 tuples would cost more than the rest.
    """
    first, second = (_column(records, FIELDS[name] + offset, "Q") for offset in (0, 8))
    if sys.byteorder == "big":
        first, second = (list(map(_swapped, half)) for half in (first, second))
    return [low | high << 64 for low, high in zip(first, second, strict=True)] if any(second) else first


def info_column(
    records: bytes | bytearray, begin: int, end: int, lengths: Sequence[int]
) -> Sequence[int | None]:
    """Return one number of every record's ``struct tcp_info``, None if it is missing.

    ``begin`` and ``end`` are its offsets there. ``lengths`` is the column ``info_len``.
    """
    numbers = _column(records, FIELDS["info"] + begin, "Q" if end - begin == 8 else "I")
    if min(lengths, default=end) >= end:
        return numbers
    return [number if length >= end else None for number, length in zip(numbers, lengths, strict=True)]


def algorithm_column(records: bytes | bytearray) -> list[str | None]:
    """Return the name of every record's congestion control, None without one."""
    numbers = bytes_column(records, "algorithm")
    names = {number: _name(number) for number in set(numbers)}
    return list(map(names.__getitem__, numbers))


def _column(records: bytes | bytearray, offset: int, code: Code) -> list[int]:
    numbers = memoryview(records).cast(code)
    return numbers[offset // numbers.itemsize :: RECORD.size // numbers.itemsize].tolist()


def _name(number: int) -> str | None:
    return number.to_bytes(16, "little").rstrip(b"\0").decode("ascii", "replace") or None


def _swapped(word: int) -> int:
    return int.from_bytes(word.to_bytes(8, "little"), "big")


class SocketFds:
    """Finds the sockets in folders of descriptors (``/proc/PID/fd``), with one buffer."""

    def __init__(self) -> None:
        self._room = 1 << 16
        self._found = _uncleared("struct so_socket_fd[]", self._room)

    def __call__(self, folder: str) -> tuple[list[int], list[int]]:
        """Return the inodes and the descriptor numbers of a folder's sockets. Raises ``OSError``."""
        while (count := lib.so_socket_fds(folder.encode(), self._found, self._room)) > self._room:
            self._room = count + count // 8
            self._found = _uncleared("struct so_socket_fd[]", self._room)
        if count < 0:
            raise OSError(-count, os.strerror(-count), folder)
        words = memoryview(ffi.buffer(self._found, count * 8)).cast("I") if count else _NO_WORDS
        return words[::2].tolist(), words[1::2].tolist()


def socket_walk(processes: Sequence[int]) -> tuple[list[int], list[int]]:
    """Return the inode of each socket descriptor of these processes, and its process.

    Other Python threads run during the native call.
    """
    room, numbers = 1 << 16, array("I", processes)
    while True:
        found = _uncleared("struct so_socket_owner[]", room)
        count = lib.so_socket_walk(ffi.from_buffer("uint32_t[]", numbers), len(numbers), found, room)
        if count <= room:
            break
        room = count + count // 8
    words = memoryview(ffi.buffer(found, count * 12)).cast("I") if count else _NO_WORDS
    return words[::3].tolist(), words[2::3].tolist()
