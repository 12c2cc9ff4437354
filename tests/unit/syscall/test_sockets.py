"""Read records of sockets as columns; find sockets among descriptors."""

from __future__ import annotations

import os
import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from structops_cli.errors import InputError
from structops_cli.syscall.sockets import (
    RECORD,
    SocketFds,
    SocketRecords,
    algorithm_column,
    column,
    info_column,
    socket_walk,
)
from tests.unit.socket_records import record


def test_fields_are_columns() -> None:
    data = record(port=80) + record(port=443, state=10)
    assert column(data, "source_port", "H") == [80, 443]
    assert column(data, "state", "B") == [1, 10]
    assert column(data, "cookie", "Q") == [7, 7]
    assert column(b"", "inode", "I") == []


def test_names_of_algorithms() -> None:
    names = (b"bbr", b"", b"a_name_of_15_by", b"bbr")
    data = b"".join(record(algorithm=name) for name in names)
    assert algorithm_column(data) == ["bbr", None, "a_name_of_15_by", "bbr"]
    assert algorithm_column(b"") == []


def test_a_number_that_the_kernel_did_not_send_is_none() -> None:
    data = record(info=bytes(8) + b"\1\0\0\0") + record(info=bytes(11))
    lengths = column(data, "info_len", "I")
    assert info_column(data, 8, 12, lengths) == [1, None]
    assert info_column(data, 0, 8, lengths) == [0, 0]
    assert info_column(b"", 0, 8, ()) == []


@given(st.binary(max_size=300))
def test_any_bytes_are_records_or_damaged(datagram: bytes) -> None:
    records = SocketRecords()
    try:
        records.add(datagram)
    except InputError:
        return
    assert len(records.data) % RECORD.size == 0


def test_sockets_among_descriptors() -> None:
    sockets_in = SocketFds()
    with socket.socket() as one, open("/dev/null", "rb") as other:
        inodes, numbers = sockets_in("/proc/self/fd")
        assert (os.fstat(one.fileno()).st_ino, one.fileno()) in zip(inodes, numbers, strict=True)
        assert other.fileno() not in numbers
    with pytest.raises(OSError, match="No such file"):
        sockets_in("/proc/self/nothing")


def test_a_walk_names_the_process_and_skips_one_that_is_gone() -> None:
    with socket.socket() as one:
        owned = list(zip(*socket_walk([os.getpid(), 2**22 + 1]), strict=True))
        assert (os.fstat(one.fileno()).st_ino, os.getpid()) in owned
    assert socket_walk([]) == ([], [])
