"""Render TCP sockets as a table in UTF-8, and as JSON values.

A table may have ten thousand lines. A few calls over all records make each column, and equal
cells share one padded text.
"""

from __future__ import annotations

from _socket import AF_INET, AF_INET6, inet_ntop
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain, repeat
from typing import TYPE_CHECKING, Any, TypeVar

from structops_cli.cli.output import shown
from structops_cli.errors import UnsupportedError
from structops_cli.net.sock_diag import TcpSocket, sockets_of, state_name
from structops_cli.net.socket_owners import CommandNames, command_of
from structops_cli.net.tcp_info import TCP_INFINITE_SSTHRESH, member_place, parse_tcp_info
from structops_cli.syscall.sockets import algorithm_column, bytes_column, column, info_column

if TYPE_CHECKING:
    from structops_cli.net.namespaces import NetNamespace
    from structops_cli.operations.socket_versions import Versions
    from structops_cli.operations.tcp_sockets import SocketSurvey

NO_VALUE = "-"
NUMBERS = (
    "rtt_us", "rttvar_us", "min_rtt_us", "rto_us", "snd_mss_bytes", "unacked", "lost", "total_retrans", "bytes_sent",
    "bytes_retrans", "bytes_acked", "bytes_received", "delivery_rate", "pacing_rate",
)  # fmt: skip
"""Members of ``TcpInfo`` that JSON shows under their own names."""
IPV6_BIT = 1 << 128
UINT64_MAX = (1 << 64) - 1

Value = TypeVar("Value")


# The table


def sockets_table(survey: SocketSurvey) -> bytearray:
    """Return a header and a line for each socket, sorted by congestion control, in UTF-8."""
    records = survey.records
    algorithms = algorithm_column(records)
    columns = (
        _padded("STATE", column(records, "state", "B"), state_name),
        _endpoints("LOCAL", records, "source"),
        _endpoints("REMOTE", records, "destination"),
        _padded("ALGORITHM", algorithms, _algorithm),
        *_numbers(records),
        _padded("PROCESS", *_owners(survey, column(records, "inode", "I"))),
        _namespaces_column(survey),
    )
    header, *lines = map("  ".join, zip(*columns, strict=True))
    order = _by_algorithm(algorithms)
    return bytearray("\n".join([header.rstrip(), *map(lines.__getitem__, order), ""]), "utf-8", "replace")


def _padded(title: str, values: Sequence[Value], text: Callable[[Value], str]) -> list[str]:
    """Return a column as wide as its widest cell; equal values share one text."""
    texts = {value: text(value) for value in set(values)}
    width = max(len(title), *map(len, texts.values()), 0)
    padded = {value: cell.ljust(width) for value, cell in texts.items()}
    if len(padded) == 1:  # usual for idle sockets
        return [title.ljust(width), *repeat(padded[values[0]], len(values))]
    return [title.ljust(width), *map(padded.__getitem__, values)]


def _numbers(records: bytearray) -> Iterator[list[str]]:
    """Yield the columns of members of ``struct tcp_info``."""
    lengths = column(records, "info_len", "I")
    for title, member, text in NUMBER_COLUMNS:
        values = info_column(records, *member_place(member), lengths)
        yield _padded(title, values, text)


def _endpoints(title: str, records: bytearray, end: str) -> list[str]:
    """Return a column of addresses with ports; most of its cells differ."""
    addresses, families = bytes_column(records, end), column(records, "family", "B")
    if AF_INET6 in families:
        addresses = [
            number | IPV6_BIT if family == AF_INET6 else number
            for number, family in zip(addresses, families, strict=True)
        ]
    address_texts = {number: _address(number) for number in set(addresses)}
    ports = column(records, f"{end}_port", "H")
    port_texts = {port: str(port) if port else "*" for port in set(ports)}
    cells = list(
        map(str.__add__, map(address_texts.__getitem__, addresses), map(port_texts.__getitem__, ports))
    )
    width = max(len(title), *map(len, cells), 0)
    return list(map(str.ljust, chain((title,), cells), repeat(width)))


def _address(number: int) -> str:
    """Return the text of an address up to its port."""
    if number & IPV6_BIT:
        return f"[{inet_ntop(AF_INET6, (number ^ IPV6_BIT).to_bytes(16, 'little'))}]:"
    return f"{inet_ntop(AF_INET, number.to_bytes(16, 'little')[:4])}:"


def _algorithm(name: str | None) -> str:
    """Return a name as printable ASCII: before Linux 6.4 it may hold any character."""
    return "".join(letter if "!" <= letter <= "~" else "?" for letter in name) if name else NO_VALUE


def _count(number: int | None) -> str:
    return NO_VALUE if number is None else str(number)


def _ssthresh(segments: int | None) -> str:
    return NO_VALUE if segments == TCP_INFINITE_SSTHRESH else _count(segments)


def _milliseconds(us: int | None) -> str:
    return f"{us // 1000}.{us % 1000:03}" if us else NO_VALUE


def _rate(bytes_per_s: int | None) -> str:
    """Return bits per second with at least two digits and the letter of 10^3, 10^6, ..."""
    if not bytes_per_s:
        return NO_VALUE
    whole, tenths, letter = min(bytes_per_s * 8, UINT64_MAX), 0, ""
    for bigger in "kMGTPE":
        if whole < 1000:
            break
        whole, tenths, letter = whole // 1000, whole % 1000 // 100, bigger
    return f"{whole}.{tenths}{letter}" if letter and whole < 100 else f"{whole}{letter}"


NUMBER_COLUMNS = (
    ("CWND", "snd_cwnd", _count),
    ("SSTHRESH", "snd_ssthresh", _ssthresh),
    ("SRTT", "rtt_us", _milliseconds),
    ("RETRANS", "total_retrans", _count),
    ("RATE", "delivery_rate", _rate),
)
"""Title, member of ``TcpInfo``, and the text of a value."""


def _by_algorithm(algorithms: Sequence[str | None]) -> Sequence[int]:
    """Return the order of the lines: by name, no name last, else as the kernel sent them."""
    names = sorted(set(algorithms), key=lambda name: (name is None, name or ""))
    rank = {name: place for place, name in enumerate(names)}
    ranks = [rank[name] for name in algorithms]
    return sorted(range(len(ranks)), key=ranks.__getitem__)


def _namespaces_column(survey: SocketSurvey) -> list[str]:
    titles = [shown(namespace.title) for namespace, _ in survey.namespaces]
    counts = (count for _, count in survey.namespaces)
    return ["NETNS", *chain.from_iterable(map(repeat, titles, counts))]


def _owners(
    survey: SocketSurvey, inodes: list[int]
) -> tuple[list[tuple[int, ...] | int | None], Callable[[tuple[int, ...] | int | None], str]]:
    """Return the owner or owners of each socket, and the function that renders them."""
    owner_of: dict[int, tuple[int, ...] | int] = dict(zip(*survey.owned, strict=True))
    if len(owner_of) != len(survey.owned[0]):  # some sockets have two descriptors or two processes
        owner_of |= _shared(survey, set(inodes))
    return list(map(owner_of.get, inodes)), _owner_text


def _shared(survey: SocketSurvey, inodes: set[int]) -> dict[int, tuple[int, ...]]:
    """Return the processes of each socket that several processes have."""
    processes: dict[int, list[int]] = {}
    for inode, process in dict.fromkeys(zip(*survey.owned, strict=True)):
        if inode in inodes:
            processes.setdefault(inode, []).append(process)
    return {inode: tuple(several) for inode, several in processes.items() if len(several) > 1}


def _owner_text(owner: tuple[int, ...] | int | None) -> str:
    if owner is None:
        return NO_VALUE
    return ",".join(map(_process, (owner,) if isinstance(owner, int) else owner))


def _process(process: int) -> str:
    command = shown(command_of(process)).replace(" ", "?")  # a process chooses its name freely
    return f"{command or '?'}({process})"


# JSON


def sockets_data(survey: SocketSurvey, versions: Versions) -> list[dict[str, Any]]:
    """Return every socket, in the kernel's order."""
    owners: dict[int, list[int]] = {}
    for inode, process in dict.fromkeys(zip(*survey.owned, strict=True)):
        owners.setdefault(inode, []).append(process)
    commands = CommandNames()
    found = []
    for namespace, tcp in zip(_namespace_of_each(survey), sockets_of(survey.records), strict=True):
        mine = owners.get(tcp.inode, []) if tcp.inode else []
        processes = [{"pid": process, "command": commands[process]} for process in mine]
        map_id = versions.of(tcp.algorithm, tcp.cookie)
        found.append(_socket(tcp, namespace) | {"map_id": map_id, "processes": processes})
    return found


def _namespace_of_each(survey: SocketSurvey) -> Iterator[NetNamespace]:
    pieces: Iterable[Iterable[NetNamespace]] = (repeat(*piece) for piece in survey.namespaces)
    return chain.from_iterable(pieces)


def _socket(tcp: TcpSocket, namespace: NetNamespace) -> dict[str, Any]:
    return {
        "state": state_name(tcp.state),
        "local": {"address": tcp.source, "port": tcp.source_port},
        "remote": {"address": tcp.destination, "port": tcp.destination_port},
        "interface": tcp.interface,
        "algorithm": tcp.algorithm,
        **_tcp_numbers(tcp),
        "ulp": tcp.ulp,
        "uid": tcp.uid,
        "inode": tcp.inode,
        "cookie": tcp.cookie,
        "namespace": {"name": namespace.title, "inode": namespace.inode},
    }


def _tcp_numbers(tcp: TcpSocket) -> dict[str, Any]:
    try:
        info = parse_tcp_info(tcp.info) if tcp.info else None
    except UnsupportedError:
        info = None
    if info is None:
        return {"cwnd": None, "ssthresh": None, **dict.fromkeys(NUMBERS)}
    ssthresh = info.snd_ssthresh if info.snd_ssthresh != TCP_INFINITE_SSTHRESH else None
    return {
        "cwnd": info.snd_cwnd,
        "ssthresh": ssthresh,
        **{name: getattr(info, name) for name in NUMBERS},
    }
