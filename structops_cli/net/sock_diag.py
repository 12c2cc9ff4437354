"""Every TCP socket of a network namespace as the kernel's own tables have it, owned by a process or by nobody.

Source: ``net/ipv4/inet_diag.c`` and ``tcp_diag.c``; ``include/uapi/linux/inet_diag.h``. A socket that
was never bound nor connected is in none of those tables, and before Linux 6.8 a
bound one is not either; both use a congestion control all the same.
"""

from __future__ import annotations

from _socket import AF_INET, AF_INET6, IPPROTO_TCP, inet_ntop
from collections import Counter
from enum import IntEnum
from errno import ENOENT
from struct import Struct
from typing import NamedTuple

from structops_cli.errors import KernelError, UnsupportedError
from structops_cli.net.netlink import NETLINK_SOCK_DIAG, NetlinkSocket
from structops_cli.net.tcp_info import parse_tcp_info
from structops_cli.syscall.sockets import RECORD, Parser, column, place

__all__ = [
    "ALL_STATES",
    "REQUEST",
    "AcceptQueue",
    "TcpSocket",
    "TcpState",
    "accept_queues",
    "add_records",
    "open_sock_diag",
    "sockets_of",
    "state_name",
    "tcp_sockets",
]

TCPDIAG_GETSOCK = 18
"""The older request, of every family at once: half the walks through the kernel's table, which all namespaces share."""
SOCK_DIAG_BY_FAMILY = 20
"""``include/uapi/linux/inet_diag.h`` and ``sock_diag.h``."""
INET_DIAG_INFO = 2
INET_DIAG_CONG = 4
"""``include/uapi/linux/inet_diag.h``."""
EXTENSIONS = 1 << (INET_DIAG_INFO - 1) | 1 << (INET_DIAG_CONG - 1)
REQUEST = Struct("=BBBxI2s2s16s16sIQ")
"""``struct inet_diag_req_v2``: family, protocol, extensions, states, and ``struct inet_diag_sockid``."""
REQUEST_OF_ALL = Struct("=3xB48xI4x")
"""``struct inet_diag_req``: extensions, states."""


class TcpState(IntEnum):
    """``include/net/tcp_states.h``."""

    ESTABLISHED = 1
    SYN_SENT = 2
    SYN_RECV = 3
    FIN_WAIT1 = 4
    FIN_WAIT2 = 5
    TIME_WAIT = 6
    CLOSE = 7
    CLOSE_WAIT = 8
    LAST_ACK = 9
    LISTEN = 10
    CLOSING = 11
    NEW_SYN_RECV = 12
    BOUND_INACTIVE = 13


ALL_STATES = (1 << 14) - 1
"""The set of all states: bit ``1 << state`` stands for one."""
NAMES = {int(state): name for name, state in TcpState.__members__.items()}


class TcpSocket(NamedTuple):
    """One TCP socket of one namespace.

    ``inode`` is 0 when no process ever had it or has it any more. ``cookie`` is its
    identity as long as it lives (SO_COOKIE). ``algorithm`` is its congestion control, "" of those that
    have none (TIME_WAIT, SYN_RECV). ``info`` is its ``struct tcp_info``, b"" of the same.
    ``ulp`` is the protocol on top, "tls" or "mptcp", if the kernel says.
    """

    family: int
    state: int
    source: str
    source_port: int
    destination: str
    destination_port: int
    interface: int
    cookie: int
    uid: int
    inode: int
    algorithm: str
    info: bytes
    ulp: str


def state_name(state: int) -> str:
    """Return the kernel's name of a state."""
    return NAMES.get(state, f"state {state}")


def open_sock_diag() -> NetlinkSocket:
    """Open what ``tcp_sockets`` and ``destroy`` ask, for the calling thread's namespace; any thread may use it."""
    return NetlinkSocket(NETLINK_SOCK_DIAG)


def tcp_sockets(
    diag: NetlinkSocket, *, states: int = ALL_STATES, algorithm: str | None = None
) -> list[TcpSocket]:
    """Return the TCP sockets of a namespace in the kernel's order, IPv4 first; with ``algorithm`` those that use it.

    The table is not frozen: a socket that is made or closed meanwhile may be there or not.
    Raises ``UnsupportedError`` where the kernel has no inet_diag, else what ``NetlinkSocket.dump`` does.
    """
    parser = Parser(algorithm)
    add_records(diag, parser, states=states)
    return sockets_of(parser.records)


def add_records(diag: NetlinkSocket, parser: Parser, *, states: int = ALL_STATES) -> int:
    """Add the same as records to those of a parser, and return how many: for who goes through thousands."""
    first = len(parser.records)
    try:
        _dump(diag, parser, TCPDIAG_GETSOCK, REQUEST_OF_ALL.pack(EXTENSIONS, states))
    except KernelError:  # what is in the way is said by the newer request
        del parser.records[first:]
        for family in (AF_INET, AF_INET6):
            _dump_family(diag, parser, family, states)
    _each_once(parser.records, first)
    _ipv4_first(parser.records, first)
    return (len(parser.records) - first) // RECORD.size


def _dump_family(diag: NetlinkSocket, parser: Parser, family: int, states: int) -> None:
    asked = REQUEST.pack(family, IPPROTO_TCP, EXTENSIONS, states, b"", b"", b"", b"", 0, 0)
    try:
        _dump(diag, parser, SOCK_DIAG_BY_FAMILY, asked)
    except KernelError as error:
        if error.errno != ENOENT:
            raise
        if family == AF_INET6:  # a kernel without it
            return
        raise UnsupportedError(
            "this kernel does not list its TCP sockets",
            why="it has no inet_diag",
            hint="use a kernel with CONFIG_INET_DIAG, or load the modules inet_diag and tcp_diag",
        ) from None


def _dump(diag: NetlinkSocket, parser: Parser, request: int, asked: bytes) -> None:
    begin = len(parser.records)

    def restart() -> None:
        del parser.records[begin:]

    diag.dump_into(parser, request, asked, "SOCK_DIAG_BY_FAMILY", restart=restart)


def _each_once(records: bytearray, first: int) -> None:
    """Leave out a socket that moved within the kernel's table and was met twice."""
    cookies = column(records, "cookie", "Q")[first // RECORD.size :]
    if len(set(cookies)) == len(cookies):
        return
    last = {cookie: index for index, cookie in enumerate(cookies)}
    size = RECORD.size
    places = [first + index * size for index in last.values()]
    records[first:] = bytearray().join(records[begin : begin + size] for begin in places)


def _ipv4_first(records: bytearray, first: int) -> None:
    """Put the sockets of IPv4 before those of IPv6, either in the order that they have."""
    size = RECORD.size
    families = records[first + place("family") :: size]
    if families.rfind(AF_INET) < families.find(AF_INET6) or AF_INET6 not in families:
        return
    places = range(first, len(records), size)
    records[first:] = bytearray().join(
        records[at : at + size]
        for wanted in (AF_INET, AF_INET6)
        for at, family in zip(places, families, strict=True)
        if family == wanted
    )


# From records to sockets


class _Addresses(dict[bytes, str]):
    """The text of each address, made once."""

    def __init__(self, family: int) -> None:
        super().__init__()
        self._family = family

    def __missing__(self, raw: bytes) -> str:
        text = inet_ntop(self._family, raw[:4] if self._family == AF_INET else raw)
        self[raw] = text
        return text


class _Names(dict[bytes, str]):
    """The text of each name, made once; records fill them up with NULs."""

    def __missing__(self, raw: bytes) -> str:
        text = raw.rstrip(b"\0").decode("ascii", "replace")
        self[raw] = text
        return text


def sockets_of(records: bytes | bytearray) -> list[TcpSocket]:
    """Return the sockets that records tell of."""
    address = {family: _Addresses(family) for family in (AF_INET, AF_INET6)}
    names = _Names()
    return [
        TcpSocket(
            family, state, address[family][source], source_port, address[family][destination],
            destination_port, interface, cookie, uid, inode, names[algorithm], info[:size], names[ulp],
        )
        for cookie, interface, uid, inode, size, source_port, destination_port, family, state, source,
            destination, algorithm, ulp, info in RECORD.iter_unpack(records)
    ]  # fmt: skip


# The accept queues of listeners


WAITING = frozenset({TcpState.ESTABLISHED, TcpState.CLOSE_WAIT, TcpState.SYN_RECV})
"""What a connection may be in while it waits, the last with TCP Fast Open."""


class AcceptQueue(NamedTuple):
    """The queue of a listener, or of all that share its port; ``ended`` of those that wait are in no table any more."""

    address: str
    port: int
    waiting: int
    ended: int

    @property
    def title(self) -> str:
        """The listener's address and port, as ``ss`` shows it."""
        return f"[{self.address}]:{self.port}" if ":" in self.address else f"{self.address}:{self.port}"


def accept_queues(diag: NetlinkSocket) -> tuple[AcceptQueue, ...]:
    """Return the queues of a namespace that have connections. Nothing is frozen: what comes or goes meanwhile is counted or not."""
    listeners = tcp_sockets(diag, states=1 << TcpState.LISTEN)
    lengths: Counter[int] = Counter()
    addresses: dict[int, str] = {}
    for one in listeners:
        if waiting := parse_tcp_info(one.info).unacked if one.info else 0:
            lengths[one.source_port] += waiting
            addresses.setdefault(one.source_port, one.source)
    if not lengths:
        return ()
    alive = Counter(
        one.source_port
        for one in tcp_sockets(diag, states=sum(1 << state for state in WAITING))
        if not one.inode and one.info
    )
    return tuple(
        AcceptQueue(addresses[port], port, waiting, max(waiting - alive[port], 0))
        for port, waiting in lengths.items()
    )
