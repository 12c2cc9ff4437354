"""Many TCP sockets at once: inet_diag's messages as records, their owners' descriptors, and records as lines of text.

Native, because each of these is done ten thousand times where anything is done at all: 80 ms in
Python, 4 ms here. A record is ``struct so_tcp_socket`` (``native_sockets.h``); no Python object per socket is made.
"""

from __future__ import annotations

import os
from array import array
from collections.abc import Sequence
from enum import IntEnum
from struct import Struct
from typing import Any, Literal, NamedTuple

from structops_cli.errors import InputError
from structops_cli.syscall._native import ffi, lib

__all__ = [
    "INFO_OFFSET",
    "RECORD",
    "Cell",
    "Column",
    "Parser",
    "SocketFds",
    "column",
    "names_of",
    "place",
    "socket_walk",
    "table",
]

RECORD = Struct("=Q4I2H2B2x16s16s16s16s240s")
"""Cookie, interface, uid, inode, length of info; ports; family, state; addresses; algorithm, ulp; info."""
_fresh = ffi.new_allocator(should_clear_after_alloc=False)
"""Memory that costs nothing until it is written to."""
_NO_WORDS = memoryview(b"").cast("I")
_NAME = Struct("=2Q")
INFO_OFFSET = 96
LEAST_BYTES = 88
"""Of one socket's message: no datagram holds more sockets than its size over this."""
CELL_BYTES = 255
"""At most, of a name (``NAME_LEN`` of ``native_sockets.c``)."""
PLACES = {
    "cookie": 0, "interface": 8, "uid": 12, "inode": 16, "info_len": 20, "source_port": 24, "destination_port": 26,
    "family": 28, "state": 29, "source": 32, "destination": 48, "algorithm": 64, "ulp": 80,
}  # fmt: skip


class Cell(IntEnum):
    """What a column shows of each record (``enum so_cell``)."""

    NAME = 0
    TEXT = 1
    NUMBER = 2
    MICROSECONDS = 3
    RATE = 4
    ENDPOINT = 5


class Column(NamedTuple):
    """One column of a table; offsets as of ``place``.

    Of a NAME ``choice`` has an index into ``names`` for each record. ``needs`` is how long the record's
    info must be; with less, or with the number ``absent``, the cell is a dash.
    """

    title: str
    kind: Cell
    offset: int = 0
    port: int = 0
    needs: int = 0
    absent: int = 0xFFFFFFFF
    choice: Sequence[int] = ()
    names: Sequence[str] = ()


def place(name: str) -> int:
    """Return the offset of a field in a record."""
    return PLACES[name]


class Parser:
    """Gather the records of datagrams, of one algorithm or all, in one growing piece of memory.

    Fresh memory costs more than what is done with it here, so nothing is copied twice.
    """

    def __init__(self, algorithm: str | None = None) -> None:
        self.records = bytearray()
        self._algorithm = ffi.NULL if algorithm is None else ffi.new("char[]", algorithm.encode())
        self._room = 0
        self._found: Any = None

    def __call__(self, datagram: bytes | memoryview) -> None:
        """Add the records of a datagram; ``InputError`` when it is damaged."""
        size = len(datagram)
        if size // LEAST_BYTES >= self._room:
            self._room = size // LEAST_BYTES + 1
            self._found = _fresh("struct so_tcp_socket[]", self._room)
        count = lib.so_sockets(ffi.from_buffer(datagram), size, self._algorithm, self._found)
        if count < 0:
            raise InputError("the kernel's list of sockets is damaged", why=f"at byte {-1 - count} of {size}")
        self.records += ffi.buffer(self._found, count * RECORD.size)


def column(records: bytes | bytearray, name: str, code: Literal["B", "H", "I", "Q"]) -> list[int]:
    """Return one field of every record, as numbers; ``code`` is its format as of ``struct``."""
    numbers = memoryview(records).cast(code)
    return numbers[PLACES[name] // numbers.itemsize :: RECORD.size // numbers.itemsize].tolist()


def names_of(records: bytes | bytearray) -> tuple[list[str], Sequence[int]]:
    """Return the names of the algorithms, "" for none, and for each record which of them it has."""
    words = memoryview(records).cast("Q")
    step, begin = RECORD.size // 8, PLACES["algorithm"] // 8
    first, second = words[begin::step].tolist(), words[begin + 1 :: step].tolist()
    if len(set(first)) == len(set(second)) == 1:
        return [_name(first[0], second[0])], bytes(len(first))
    pairs = list(zip(first, second, strict=True))
    number = {pair: index for index, pair in enumerate(dict.fromkeys(pairs))}
    return [_name(*pair) for pair in number], [number[pair] for pair in pairs]


def _name(first: int, second: int) -> str:
    return _NAME.pack(first, second).rstrip(b"\0").decode("ascii", "replace")


class SocketFds:
    """Find the sockets in folders of descriptors, all of them with the same memory."""

    def __init__(self) -> None:
        self._room = 1 << 16
        self._found = _fresh("struct so_socket_fd[]", self._room)

    def __call__(self, folder: str) -> tuple[list[int], list[int]]:
        """Return the inodes of a folder's sockets, and the descriptors' numbers; raises ``OSError``."""
        while (count := lib.so_socket_fds(folder.encode(), self._found, self._room)) > self._room:
            self._room = count + count // 8
            self._found = _fresh("struct so_socket_fd[]", self._room)
        if count < 0:
            raise OSError(-count, os.strerror(-count), folder)
        words = memoryview(ffi.buffer(self._found, count * 8)).cast("I") if count else _NO_WORDS
        return words[::2].tolist(), words[1::2].tolist()


def socket_walk(processes: Sequence[int]) -> tuple[list[int], list[int]]:
    """Return the inodes of the sockets that processes have, one of them after the other, and whose each is.

    One call into the kernel's side of things, beside which other threads run.
    """
    room, numbers = 1 << 16, array("I", processes)
    while True:
        found = _fresh("struct so_socket_owner[]", room)
        count = lib.so_socket_walk(ffi.from_buffer("uint32_t[]", numbers), len(numbers), found, room)
        if count <= room:
            break
        room = count + count // 8
    words = memoryview(ffi.buffer(found, count * 12)).cast("I") if count else _NO_WORDS
    return words[::3].tolist(), words[2::3].tolist()


def table(records: bytes | bytearray, order: Sequence[int], columns: Sequence[Column]) -> bytearray:
    """Return a header and a line for each record of ``order``, in columns as wide as their widest cell, in UTF-8."""
    kept: list[Any] = []
    made = ffi.new("struct so_column[]", len(columns))
    for one, item in zip(made, columns, strict=True):
        _fill(one, item, kept)
    words, count = array("I", order), len(order)
    cells = lib.so_cells(
        ffi.from_buffer("struct so_tcp_socket[]", records), ffi.from_buffer("uint32_t[]", words), count, made, len(made)
    )  # fmt: skip
    if cells == ffi.NULL:
        raise MemoryError
    titles = "  ".join(item.title.ljust(one.width) for one, item in zip(made, columns, strict=True)).rstrip()
    header = titles.encode() + b"\n"
    lines = bytearray(len(header) + count * sum(one.width + 2 for one in made) + count)
    lines[: len(header)] = header
    with ffi.from_buffer(lines) as out:  # let go of before the end is cut off
        used = lib.so_lines(cells, count, made, len(made), out + len(header))
    del lines[len(header) + used :]
    return lines


def _fill(one: Any, item: Column, kept: list[Any]) -> None:
    """Fill in a ``struct so_column``; ``kept`` keeps alive what it points to."""
    one.kind, one.offset, one.port, one.needs, one.absent = (
        item.kind,
        item.offset,
        item.port,
        item.needs,
        item.absent,
    )
    one.width, one.names_len = len(item.title), len(item.names)
    if item.kind == Cell.NAME:
        names = [ffi.from_buffer(_cut(name) + b"\0") for name in item.names]
        pointers = ffi.new("char *[]", [ffi.cast("char *", name) for name in names])
        choice = item.choice if isinstance(item.choice, array) else array("I", item.choice)
        one.names = pointers
        one.choice = ffi.cast("uint32_t *", ffi.from_buffer(choice)) if choice else ffi.NULL
        kept += [names, pointers, choice]


def _cut(name: str) -> bytes:
    """Return a name in UTF-8, as much of it as a cell has room for."""
    encoded = name.encode(errors="replace")
    return encoded if len(encoded) <= CELL_BYTES else encoded[:CELL_BYTES].decode(errors="ignore").encode()
