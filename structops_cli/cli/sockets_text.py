"""TCP sockets as a table: ten thousand lines at once, so nothing here is done for each of them."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence

from structops_cli.cli.output import shown
from structops_cli.net.sock_diag import state_name
from structops_cli.net.socket_owners import command_of
from structops_cli.net.tcp_info import TCP_INFINITE_SSTHRESH, member_place
from structops_cli.operations.tcp_sockets import SocketSurvey
from structops_cli.syscall.sockets import INFO_OFFSET, Cell, Column, column, names_of, place, table

__all__ = ["sockets_text"]

STATES = 16
"""More than the kernel has; the state is the index of its name."""


def sockets_text(survey: SocketSurvey) -> bytearray:
    """Return the table, by congestion control, in UTF-8."""
    records = survey.records
    owner, owners = _owners(survey, column(records, "inode", "I"))
    columns = (
        Column("STATE", Cell.NAME, place("state"), names=[state_name(state) for state in range(STATES)]),
        Column("LOCAL", Cell.ENDPOINT, place("source"), place("source_port")),
        Column("REMOTE", Cell.ENDPOINT, place("destination"), place("destination_port")),
        Column("ALGORITHM", Cell.TEXT, place("algorithm")),
        _number("CWND", "snd_cwnd"),
        _number("SSTHRESH", "snd_ssthresh", absent=TCP_INFINITE_SSTHRESH),
        _number("SRTT", "rtt_us", Cell.MICROSECONDS, absent=0),
        _number("RETRANS", "total_retrans"),
        _number("RATE", "delivery_rate", Cell.RATE, absent=0),
        Column("PROCESS", Cell.NAME, choice=owner, names=owners),
        Column(
            "NETNS",
            Cell.NAME,
            choice=_each(range(len(survey.namespaces)), [count for _, count in survey.namespaces]),
            names=[shown(namespace.title) for namespace, _ in survey.namespaces],
        ),
    )
    return table(records, _by_algorithm(records), columns)


def _each(indices: Iterable[int], counts: Iterable[int]) -> array[int]:
    """Return each index as many times as its count says."""
    found = array("I")
    for index, count in zip(indices, counts, strict=True):
        found += array("I", [index]) * count
    return found


def _number(title: str, member: str, kind: Cell = Cell.NUMBER, absent: int = 0xFFFFFFFF) -> Column:
    begin, end = member_place(member)
    return Column(title, kind, INFO_OFFSET + begin, needs=end, absent=absent)


def _by_algorithm(records: bytearray) -> Sequence[int]:
    """Return the order of the lines: by the algorithm's name, those without one last, else as the kernel gave them."""
    names, which = names_of(records)
    by_name = sorted(range(len(names)), key=lambda number: (not names[number], names[number]))
    if len(names) == 1:
        return range(len(which))
    rank = {number: place for place, number in enumerate(by_name)}
    ranks = [rank[number] for number in which]
    return sorted(range(len(ranks)), key=ranks.__getitem__)


def _owners(survey: SocketSurvey, inodes: list[int]) -> tuple[list[int], list[str]]:
    """Return which text stands for the owner of each socket, and the texts."""
    owner_of = dict(zip(*survey.owned, strict=True))
    owners = list(map(owner_of.get, inodes))
    processes = dict.fromkeys(owners)
    texts = ["-" if process is None else _title(process) for process in processes]
    number = {process: index for index, process in enumerate(processes)}
    choice = [number[process] for process in owners]
    if len(owner_of) != len(survey.owned[0]):  # some have two descriptors, or two processes
        _share(survey, inodes, choice, texts)
    return choice, texts


def _share(survey: SocketSurvey, inodes: list[int], choice: list[int], texts: list[str]) -> None:
    """Give the sockets of several processes a text that names all of them."""
    pairs = dict.fromkeys(zip(*survey.owned, strict=True))
    wanted = set(inodes)
    several: dict[int, list[int]] = {}
    for inode, process in pairs:
        if inode in wanted:
            several.setdefault(inode, []).append(process)
    for index, inode in enumerate(inodes):
        if len(several.get(inode, ())) > 1:
            choice[index] = len(texts)
            texts.append(",".join(_title(process) for process in several[inode]))


def _title(process: int) -> str:
    command = shown(command_of(process)).replace(" ", "?")  # one word; a process may call itself anything
    return f"{command or '?'}({process})"
