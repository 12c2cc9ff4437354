"""Records of sockets: read as columns, written as a table; descriptors found in a folder of them."""

from __future__ import annotations

import os
import socket
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from structops_cli.syscall.sockets import (
    INFO_OFFSET,
    RECORD,
    Cell,
    Column,
    SocketFds,
    column,
    names_of,
    place,
    table,
)


def record(
    *,
    algorithm: bytes = b"bbr",
    port: int = 80,
    family: int = 2,
    source: bytes = b"\x7f\0\0\1",
    info: bytes = b"",
    state: int = 1,
) -> bytes:
    return RECORD.pack(
        7, 0, 1000, 99, len(info), port, 0, family, state, source.ljust(16, b"\0"), bytes(16), algorithm, b"", info
    )  # fmt: skip


def cells(records: bytes, one: Column, order: Sequence[int] = (0,)) -> list[str]:
    return table(records, order, [one]).decode().splitlines()[1:]


def number(value: int, kind: Cell, size: int = 4, absent: int = 0xFFFFFFFF) -> str:
    data = record(info=value.to_bytes(size, "little"))
    [cell] = cells(data, Column("N", kind, INFO_OFFSET, needs=size, absent=absent))
    return cell


def test_columns() -> None:
    data = record(port=80) + record(port=443, state=10)
    assert column(data, "source_port", "H") == [80, 443]
    assert column(data, "state", "B") == [1, 10]
    assert column(data, "cookie", "Q") == [7, 7]
    assert column(b"", "inode", "I") == []


def test_names_of_algorithms() -> None:
    assert names_of(record() * 3) == (["bbr"], bytes(3))
    names, which = names_of(
        record(algorithm=b"a_name_of_15_by") + record(algorithm=b"") + record(algorithm=b"a_name_of_15_by")
    )
    assert [names[index] for index in which] == ["a_name_of_15_by", "", "a_name_of_15_by"]


def test_a_table_is_as_wide_as_its_cells_and_in_the_order_that_is_asked_for() -> None:
    data = record(algorithm=b"bbr") + record(algorithm=b"a_longer_name")
    columns = [
        Column("NAME", Cell.TEXT, place("algorithm")),
        Column("WHO", Cell.NAME, choice=[1, 0], names=["one", "two"]),
    ]
    assert table(data, [1, 0], columns) == b"NAME           WHO\na_longer_name  one\nbbr            two\n"
    assert table(data, [], columns) == b"NAME  WHO\n"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (124, "992"),
        (125, "1.0k"),
        (12_500, "100k"),
        (156_250, "1.2M"),
        (2**63, "18.4E"),
        (2**64 - 1, "18.4E"),
    ],
)
def test_rates(value: int, text: str) -> None:
    assert number(value, Cell.RATE, 8) == text


@pytest.mark.parametrize(
    ("value", "text"), [(0, "0.000"), (7, "0.007"), (1234, "1.234"), (2**32 - 1, "4294967.295")]
)
def test_milliseconds(value: int, text: str) -> None:
    assert number(value, Cell.MICROSECONDS, absent=5) == text


def test_what_is_not_there_is_a_dash() -> None:
    assert number(4711, Cell.NUMBER, absent=4711) == "-"
    assert cells(record(info=b"abc"), Column("N", Cell.NUMBER, INFO_OFFSET, needs=4)) == ["-"]
    assert cells(record(algorithm=b""), Column("N", Cell.TEXT, place("algorithm"))) == ["-"]


def test_endpoints() -> None:
    local = Column("LOCAL", Cell.ENDPOINT, place("source"), place("source_port"))
    assert cells(record(), local) == ["127.0.0.1:80"]
    assert cells(record(port=0), local) == ["127.0.0.1:*"]
    six = socket.inet_pton(socket.AF_INET6, "2001:db8:1111:2222:3333:4444:5555:6666")
    assert cells(record(family=10, source=six, port=65535), local) == [
        "[2001:db8:1111:2222:3333:4444:5555:6666]:65535"
    ]
    mapped = socket.inet_pton(socket.AF_INET6, "::ffff:255.255.255.255")
    assert cells(record(family=10, source=mapped), local) == ["[::ffff:255.255.255.255]:80"]


def test_names_by_a_byte_of_the_record_and_one_that_has_none() -> None:
    states = Column("S", Cell.NAME, place("state"), names=["none", "up"])
    assert cells(record(state=1) + record(state=200), states, (0, 1)) == ["up", "?"]


def test_a_long_name_is_cut_between_two_characters() -> None:
    long = Column("S", Cell.NAME, place("state"), names=["", "é" * 200])
    assert cells(record(state=1), long) == ["é" * 127]


@given(st.lists(st.binary(min_size=RECORD.size, max_size=RECORD.size), min_size=1, max_size=3))
def test_a_table_of_anything_has_a_line_for_each(records: list[bytes]) -> None:
    data = b"".join(records)
    columns = [
        Column("A", Cell.TEXT, place("algorithm")),
        Column("L", Cell.ENDPOINT, place("source"), place("source_port")),
        Column("R", Cell.RATE, INFO_OFFSET + 160, needs=168),
        Column("M", Cell.MICROSECONDS, INFO_OFFSET + 68, needs=72),
        Column("S", Cell.NAME, place("state"), names=["zero"]),
    ]
    assert table(data, range(len(records)), columns).count(b"\n") == 1 + len(records)


def test_sockets_among_descriptors() -> None:
    sockets_in = SocketFds()
    with socket.socket() as one, open("/dev/null", "rb") as other:
        inodes, numbers = sockets_in("/proc/self/fd")
        assert (os.fstat(one.fileno()).st_ino, one.fileno()) in zip(inodes, numbers, strict=True)
        assert other.fileno() not in numbers
    with pytest.raises(OSError, match="No such file"):
        sockets_in("/proc/self/nothing")
