"""Print sockets: each cell of the table, its widths and its order; the values of JSON."""

from __future__ import annotations

import os
import socket
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from structops_cli.cli.sockets_output import sockets_data, sockets_table
from structops_cli.net.namespaces import NetNamespace
from structops_cli.net.tcp_info import member_place
from structops_cli.operations.socket_versions import Versions
from structops_cli.operations.tcp_sockets import SocketSurvey
from structops_cli.syscall.sockets import RECORD
from tests.unit.socket_records import record

INITIAL = NetNamespace(1, "/proc/1/ns/net", is_initial=True)
BLUE = NetNamespace(2, "/run/netns/blue", ("blue",))
INFO_BYTES = 240


def survey(*records: bytes, owned: tuple[list[int], list[int]] = ([], [])) -> SocketSurvey:
    return SocketSurvey(bytearray().join(records), ((INITIAL, len(records)),), owned, ())


def rows(*records: bytes, owned: tuple[list[int], list[int]] = ([], [])) -> list[dict[str, str]]:
    header, *lines = sockets_table(survey(*records, owned=owned)).decode().splitlines()
    return [dict(zip(header.split(), line.split(), strict=True)) for line in lines]


def cell(title: str, **fields: Any) -> str:
    [row] = rows(record(**fields))
    return row[title]


def info(**members: int) -> bytes:
    """Write a ``struct tcp_info`` with some members."""
    raw = bytearray(INFO_BYTES)
    for name, value in members.items():
        begin, end = member_place(name)
        raw[begin:end] = value.to_bytes(end - begin, "little")
    return bytes(raw)


def test_columns_are_as_wide_as_their_widest_cell() -> None:
    table = sockets_table(survey(record(algorithm=b"a_longer_name"), record(algorithm=b"bbr"))).decode()
    header, first, second = table.splitlines()
    assert table.endswith("\n")
    assert header.index("CWND") == len("ESTABLISHED  127.0.0.1:80  0.0.0.0:*  a_longer_name  ")
    assert first.split()[-3:] == second.split()[-3:] == ["-", "-", "initial"]
    assert not any(line.endswith(" ") for line in (header, first, second))


def test_lines_are_sorted_by_algorithm_and_else_keep_their_order() -> None:
    names = (b"reno", b"", b"bbr", b"reno", b"bbr")
    found = rows(*(record(algorithm=name, port=port) for port, name in enumerate(names, 1)))
    assert [row["LOCAL"].rpartition(":")[2] for row in found] == ["3", "5", "1", "4", "2"]
    assert [row["ALGORITHM"] for row in found] == ["bbr", "bbr", "reno", "reno", "-"]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "-"),
        (124, "992"),
        (125, "1.0k"),
        (12_500, "100k"),
        (156_250, "1.2M"),
        (2**63, "18.4E"),
        (2**64 - 1, "18.4E"),
    ],
)
def test_rates(value: int, text: str) -> None:
    assert cell("RATE", info=info(delivery_rate=value)) == text


@pytest.mark.parametrize(
    ("value", "text"), [(0, "-"), (7, "0.007"), (1234, "1.234"), (2**32 - 1, "4294967.295")]
)
def test_milliseconds(value: int, text: str) -> None:
    assert cell("SRTT", info=info(rtt_us=value)) == text


def test_a_window_threshold_that_was_never_set_is_a_dash() -> None:
    assert cell("SSTHRESH", info=info(snd_ssthresh=0x7FFFFFFF)) == "-"
    assert cell("SSTHRESH", info=info(snd_ssthresh=20)) == "20"
    assert cell("CWND", info=info(snd_cwnd=10)) == "10"


def test_numbers_that_the_kernel_did_not_send_are_dashes() -> None:
    short = info(snd_cwnd=10)[: member_place("snd_cwnd")[1]]
    [whole, cut, none] = rows(record(info=info(snd_cwnd=9)), record(info=short), record())
    assert [row["CWND"] for row in (whole, cut, none)] == ["9", "10", "-"]
    assert [row["RETRANS"] for row in (whole, cut, none)] == ["0", "-", "-"]


def test_a_name_that_an_old_kernel_let_through_stays_one_word() -> None:
    assert cell("ALGORITHM", algorithm=b"b r\x1b\xff") == "b?r??"


def test_endpoints() -> None:
    assert cell("LOCAL") == "127.0.0.1:80"
    assert cell("LOCAL", port=0) == "127.0.0.1:*"
    six = socket.inet_pton(socket.AF_INET6, "2001:db8:1111:2222:3333:4444:5555:6666")
    assert (
        cell("LOCAL", family=10, source=six, port=65535) == "[2001:db8:1111:2222:3333:4444:5555:6666]:65535"
    )
    mapped = socket.inet_pton(socket.AF_INET6, "::ffff:255.255.255.255")
    assert cell("LOCAL", family=10, source=mapped) == "[::ffff:255.255.255.255]:80"


def test_one_address_in_two_families() -> None:
    """Both have the same 16 bytes in their records."""
    raw = b"\x7f\0\0\1"
    assert [row["LOCAL"] for row in rows(record(source=raw), record(family=10, source=raw))] == [
        "127.0.0.1:80",
        "[7f00:1::]:80",
    ]


def test_states_and_one_that_is_new() -> None:
    assert cell("STATE", state=10) == "LISTEN"
    assert sockets_table(survey(record(state=200))).decode().splitlines()[1].startswith("state 200  ")


def test_owners_none_one_and_several() -> None:
    mine, parent = os.getpid(), os.getppid()
    owned = ([5, 6, 6, 6, 8], [mine, mine, parent, parent, parent])
    found = rows(record(inode=5), record(inode=6), record(inode=7), owned=owned)
    alone, both, nobody = (row["PROCESS"] for row in found)
    assert alone.endswith(f"({mine})")
    assert both.split(",")[0] == alone
    assert both.endswith(f"({parent})")
    assert both.count("(") == 2
    assert nobody == "-"


def test_each_socket_has_its_namespace() -> None:
    both = survey(record(port=1), record(port=2), record(port=3))._replace(
        namespaces=((INITIAL, 1), (BLUE, 2))
    )
    lines = sockets_table(both).decode().splitlines()[1:]
    assert [line.split()[-1] for line in lines] == ["initial", "blue", "blue"]
    values = sockets_data(both, Versions({"bbr": (4,)}, {}))
    assert [(one["namespace"]["name"], one["map_id"]) for one in values] == [
        ("initial", 4),
        ("blue", 4),
        ("blue", 4),
    ]


def test_values_that_are_not_there_are_null() -> None:
    [value] = sockets_data(survey(record(algorithm=b"", info=b"short")), Versions({}, {}))
    absent = ("algorithm", "ulp", "map_id", "cwnd", "ssthresh", "rtt_us", "pacing_rate")
    assert {name: value[name] for name in absent} == dict.fromkeys(absent)
    assert value["processes"] == []


@given(st.lists(st.binary(min_size=RECORD.size, max_size=RECORD.size), min_size=1, max_size=3))
def test_a_table_of_anything_has_a_line_for_each(records: list[bytes]) -> None:
    assert sockets_table(survey(*records)).count(b"\n") == 1 + len(records)
