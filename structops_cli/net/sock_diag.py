"""Read every TCP socket of a network namespace from the kernel's tables.

Follows ``net/ipv4/inet_diag.c`` and ``tcp_diag.c``. pyroute2's inet_diag takes 20 times as long. The tables
lack sockets that were never bound nor connected. Before Linux 6.8 (91051f003948 "tcp: Dump bound-only
sockets in inet_diag.") they also lack bound ones. Both use a congestion control.
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
from structops_cli.syscall.sockets import RECORD, SocketRecords, column, field_offset

TCPDIAG_GETSOCK = 18
"""The older request, which reads all families in one walk through the global table."""
SOCK_DIAG_BY_FAMILY = 20
INET_DIAG_INFO = 2
INET_DIAG_CONG = 4
"""``include/uapi/linux/inet_diag.h`` and ``sock_diag.h``."""
EXTENSIONS = 1 << (INET_DIAG_INFO - 1) | 1 << (INET_DIAG_CONG - 1)
REQUEST = Struct("=BBBxI2s2s16s16sIQ")
"""``struct inet_diag_req_v2``: family, protocol, extensions, states, then ``sockid``."""
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
"""All states. A set of states has the bit ``1 << state`` for each."""
NAMES = {int(state): name for name, state in TcpState.__members__.items()}
QUEUED_STATES = frozenset({TcpState.ESTABLISHED, TcpState.CLOSE_WAIT, TcpState.SYN_RECV})
"""States of a connection in an accept queue; SYN_RECV with TCP Fast Open."""


class TcpSocket(NamedTuple):
    """One TCP socket of one namespace.

    ``cookie`` identifies it while it exists (SO_COOKIE). ``inode`` is 0 if no process has the socket.
    ``algorithm`` and ``info`` (its ``struct tcp_info``) are None in TIME_WAIT and SYN_RECV.
    ``ulp`` is the protocol on top, "tls" or "mptcp", if the kernel shows it.
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
    algorithm: str | None
    info: bytes | None
    ulp: str | None


class AcceptQueue(NamedTuple):
    """The accept queue of a listener, or of all listeners that share its port.

    ``waiting`` counts its connections, ``ended`` the part that has left the kernel's tables.
    """

    address: str
    port: int
    waiting: int
    ended: int

    @property
    def title(self) -> str:
        """The listener's address and port, as ``ss`` shows it."""
        return f"[{self.address}]:{self.port}" if ":" in self.address else f"{self.address}:{self.port}"


def state_name(state: int) -> str:
    """Return the kernel's name of a state."""
    return NAMES.get(state, f"state {state}")


def open_sock_diag() -> NetlinkSocket:
    """Open inet_diag for the calling thread's namespace; any thread may use the result."""
    return NetlinkSocket(NETLINK_SOCK_DIAG)


def tcp_sockets(
    diag: NetlinkSocket, *, states: int = ALL_STATES, algorithm: str | None = None
) -> list[TcpSocket]:
    """Return the TCP sockets of a namespace in the kernel's order, IPv4 first.

    ``algorithm`` selects the sockets that use it. The kernel does not freeze the table: the list may have or
    lack sockets that open or close meanwhile. Raises ``UnsupportedError`` without inet_diag, else as
    ``NetlinkSocket.dump``.
    """
    records = SocketRecords(algorithm)
    add_records(diag, records, states=states)
    return sockets_of(records.data)


def add_records(diag: NetlinkSocket, records: SocketRecords, *, states: int = ALL_STATES) -> int:
    """Append a namespace's TCP sockets and return their number. Raises as ``tcp_sockets``."""
    first = len(records.data)
    try:
        _dump(diag, records, TCPDIAG_GETSOCK, REQUEST_OF_ALL.pack(EXTENSIONS, states))
    except KernelError:  # the error of the newer request names the cause
        del records.data[first:]
        for family in (AF_INET, AF_INET6):
            _dump_family(diag, records, family, states)
    _drop_repeated(records.data, first)
    _put_ipv4_first(records.data, first)
    return (len(records.data) - first) // RECORD.size


def _dump_family(diag: NetlinkSocket, records: SocketRecords, family: int, states: int) -> None:
    request = REQUEST.pack(family, IPPROTO_TCP, EXTENSIONS, states, b"", b"", b"", b"", 0, 0)
    try:
        _dump(diag, records, SOCK_DIAG_BY_FAMILY, request)
    except KernelError as error:
        if error.errno != ENOENT:
            raise
        if family == AF_INET6:  # a kernel without IPv6
            return
        raise UnsupportedError(
            "this kernel does not list its TCP sockets",
            why="it has no inet_diag",
            hint="use a kernel with CONFIG_INET_DIAG, or load the modules inet_diag and tcp_diag",
        ) from None


def _dump(diag: NetlinkSocket, records: SocketRecords, message_type: int, request: bytes) -> None:
    first = len(records.data)

    def restart() -> None:
        del records.data[first:]

    diag.dump_into(records.add, message_type, request, "SOCK_DIAG_BY_FAMILY", restart=restart)


def _drop_repeated(records: bytearray, first: int) -> None:
    """Drop the second record of a socket that moved within the table during the dump."""
    cookies = column(records, "cookie", "Q")[first // RECORD.size :]
    if len(set(cookies)) == len(cookies):
        return
    last = {cookie: index for index, cookie in enumerate(cookies)}
    size = RECORD.size
    offsets = [first + index * size for index in last.values()]
    records[first:] = bytearray().join(records[offset : offset + size] for offset in offsets)


def _put_ipv4_first(records: bytearray, first: int) -> None:
    """Move IPv4 sockets before IPv6 sockets, and keep the order of each."""
    size = RECORD.size
    families = records[first + field_offset("family") :: size]
    if families.rfind(AF_INET) < families.find(AF_INET6) or AF_INET6 not in families:
        return
    offsets = range(first, len(records), size)
    records[first:] = bytearray().join(
        records[offset : offset + size]
        for wanted in (AF_INET, AF_INET6)
        for offset, family in zip(offsets, families, strict=True)
        if family == wanted
    )


# From records to sockets


class _AddressTexts(dict[bytes, str]):
    """Renders each address once."""

    def __init__(self, family: int) -> None:
        super().__init__()
        self._family = family

    def __missing__(self, raw: bytes) -> str:
        text = inet_ntop(self._family, raw[:4] if self._family == AF_INET else raw)
        self[raw] = text
        return text


class _NameTexts(dict[bytes, str | None]):
    """Decodes each name once; records pad names with NULs."""

    def __missing__(self, raw: bytes) -> str | None:
        text = raw.rstrip(b"\0").decode("ascii", "replace") or None
        self[raw] = text
        return text


def sockets_of(records: bytes | bytearray) -> list[TcpSocket]:
    """Return the sockets of records."""
    address = {family: _AddressTexts(family) for family in (AF_INET, AF_INET6)}
    names = _NameTexts()
    return [
        TcpSocket(
            family, state, address[family][source], source_port, address[family][destination],
            destination_port, interface, cookie, uid, inode, names[algorithm], info[:size] or None, names[ulp],
        )
        for cookie, interface, uid, inode, size, source_port, destination_port, family, state, source,
            destination, algorithm, ulp, info in RECORD.iter_unpack(records)
    ]  # fmt: skip


# Accept queues


def accept_queues(diag: NetlinkSocket) -> tuple[AcceptQueue, ...]:
    """Return the accept queues of a namespace that have connections.

    A connection that is reset in its listener's queue leaves the tables. The queue keeps it, and it
    keeps its congestion control, until it is accepted or the listener is closed. inet_diag shows only the
    queue's length: ``sk_ack_backlog``, as ``tcpi_unacked`` of the listener.
    """
    lengths: Counter[int] = Counter()
    addresses: dict[int, str] = {}
    for listener in tcp_sockets(diag, states=1 << TcpState.LISTEN):
        if waiting := parse_tcp_info(listener.info).unacked if listener.info else 0:
            lengths[listener.source_port] += waiting
            addresses.setdefault(listener.source_port, listener.source)
    if not lengths:
        return ()
    alive = Counter(
        queued.source_port
        for queued in tcp_sockets(diag, states=sum(1 << state for state in QUEUED_STATES))
        if not queued.inode and queued.info
    )
    return tuple(
        AcceptQueue(addresses[port], port, waiting, max(waiting - alive[port], 0))
        for port, waiting in lengths.items()
    )
