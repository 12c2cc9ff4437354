"""Every TCP socket of a network namespace as the kernel's own tables have it, owned by a process or by nobody.

Source: ``net/ipv4/inet_diag.c`` and ``tcp_diag.c``; ``include/uapi/linux/inet_diag.h``. A socket that
was never bound nor connected is in none of those tables, and before Linux 6.8 a
bound one is not either; both use a congestion control all the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from errno import ENOENT, EOPNOTSUPP
from operator import itemgetter
from socket import AF_INET, AF_INET6, IPPROTO_TCP, inet_ntop, inet_pton
from struct import Struct
from typing import Any

from structops_cli.errors import InputError, KernelError, UnsupportedError
from structops_cli.net.netlink import ATTRIBUTE, HEADER, NETLINK_SOCK_DIAG, NetlinkSocket, attributes, damaged
from structops_cli.records import IntEnum, NamedTuple

__all__ = ["ALL_STATES", "TcpSocket", "TcpState", "destroy", "open_sock_diag", "state_name", "tcp_sockets"]

SOCK_DIAG_BY_FAMILY = 20
SOCK_DESTROY = 21
"""``include/uapi/linux/sock_diag.h``."""
INET_DIAG_INFO = 2
INET_DIAG_CONG = 4
INET_DIAG_ULP_INFO = 19
INET_ULP_INFO_NAME = 1
"""``include/uapi/linux/inet_diag.h``."""
EXTENSIONS = 1 << (INET_DIAG_INFO - 1) | 1 << (INET_DIAG_CONG - 1)
REQUEST = Struct("=BBBxI2s2s16s16sIQ")
"""``struct inet_diag_req_v2``: family, protocol, extensions, states, and ``struct inet_diag_sockid``."""
MESSAGE = "BB2x2s2s16s16sIQ12xII"
"""``struct inet_diag_msg``: family, state, the same sockid, uid, inode."""
MESSAGE_BYTES = 72
FIELDS = 10
"""What MESSAGE unpacks to."""
SHAPES = 256
"""How many a dump may need: one for each sort of socket times each length of a name."""


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
    found: list[TcpSocket] = []
    for family in (AF_INET, AF_INET6):
        asked = REQUEST.pack(family, IPPROTO_TCP, EXTENSIONS, states, b"", b"", b"", b"", 0, 0)
        try:
            datagrams = diag.dump(SOCK_DIAG_BY_FAMILY, asked, "SOCK_DIAG_BY_FAMILY")
        except KernelError as error:
            if error.errno != ENOENT:
                raise
            if family == AF_INET6:  # a kernel without it
                continue
            raise UnsupportedError(
                "this kernel does not list its TCP sockets",
                why="it has no inet_diag",
                hint="use a kernel with CONFIG_INET_DIAG, or load the modules inet_diag and tcp_diag",
            ) from None
        found += parse_sockets(datagrams, algorithm)
    if len({item.cookie for item in found}) != len(found):  # one moved within the table, and was met twice
        found = list({item.cookie: item for item in found}.values())
    return found


def destroy(diag: NetlinkSocket, tcp: TcpSocket) -> bool:
    """Reset a connection, or close a listener, whoever owns it; False when it had gone already.

    Its owner reads ECONNABORTED. Needs CAP_NET_ADMIN over the namespace. Raises
    ``UnsupportedError`` without CONFIG_INET_DIAG_DESTROY. Source: ``tcp_diag_destroy``, ``tcp_abort``.
    """
    ports = (port.to_bytes(2, "big") for port in (tcp.source_port, tcp.destination_port))
    addresses = (inet_pton(tcp.family, text) for text in (tcp.source, tcp.destination))
    asked = REQUEST.pack(
        tcp.family, IPPROTO_TCP, 0, 1 << tcp.state, *ports, *addresses, tcp.interface, tcp.cookie
    )
    try:
        diag.request(SOCK_DESTROY, asked, "SOCK_DESTROY")
    except KernelError as error:
        if error.errno == ENOENT:
            return False
        if error.errno == EOPNOTSUPP:
            raise UnsupportedError(
                "this kernel does not destroy sockets",
                why="it was built without CONFIG_INET_DIAG_DESTROY",
                hint="end the processes that own them, or wait until TCP gives them up",
            ) from None
        raise
    return True


# From the kernel's messages to sockets


class _Addresses(dict[bytes, str]):
    """The text of each address, made once."""

    def __init__(self, family: int) -> None:
        super().__init__()
        self._family = family

    def __missing__(self, raw: bytes) -> str:
        text = inet_ntop(self._family, raw[:4] if self._family == AF_INET else raw)
        self[raw] = text
        return text


class _Ports(dict[bytes, int]):
    """The number of each port, made once."""

    def __missing__(self, raw: bytes) -> int:
        number = int.from_bytes(raw, "big")
        self[raw] = number
        return number


class _Names(dict[bytes, str]):
    """The text of each NUL-terminated name, made once."""

    def __missing__(self, raw: bytes) -> str:
        text = raw.split(b"\0", 1)[0].decode("ascii", "replace")
        self[raw] = text
        return text


class _Shape(NamedTuple):
    """How messages with the same attributes in the same places are taken apart with one call.

    ``heads`` picks the attributes' headers out of what ``layout`` unpacks, and
    ``expected`` is what they must be. The indices of what else is wanted are -1 where there is none.
    """

    layout: Struct
    heads: Callable[[tuple[Any, ...]], Any]
    expected: Any
    algorithm: int
    info: int
    ulp: int


def parse_sockets(datagrams: Iterable[bytes], algorithm: str | None = None) -> list[TcpSocket]:
    """Return the sockets of a dump's datagrams; ``InputError`` when they are damaged.

    Most messages of a dump have the same attributes of the same lengths. What one of
    them looks like is found out once, and the others are unpacked with one call each.
    """
    shapes: dict[int, _Shape] = {}
    texts = {family: _Addresses(family) for family in (AF_INET, AF_INET6)}
    ports, names = _Ports(), _Names()
    found: list[TcpSocket] = []
    add, new, head = found.append, tuple.__new__, HEADER.unpack_from
    for datagram in datagrams:
        offset, size = 0, len(datagram)
        while offset + HEADER.size <= size:
            length, kind, _, _, _ = head(datagram, offset)
            if length < HEADER.size or offset + length > size:
                raise damaged(f"a message of {length} bytes at {offset} of {size}")
            if kind == SOCK_DIAG_BY_FAMILY:
                shape = shapes.get(length)
                if (
                    shape is None
                    or shape.heads(values := shape.layout.unpack_from(datagram, offset)) != shape.expected
                ):
                    shape = shapes[length] = _shape_of(memoryview(datagram)[offset : offset + length])
                    values = shape.layout.unpack_from(datagram, offset)
                name = names[values[shape.algorithm]] if shape.algorithm >= 0 else ""
                if algorithm is None or name == algorithm:
                    address = texts.get(values[0])
                    if address is None:
                        raise damaged(f"a TCP socket of address family {values[0]}")
                    add(new(TcpSocket, (
                        values[0], values[1], address[values[4]], ports[values[2]], address[values[5]],
                        ports[values[3]], values[6], values[7], values[8], values[9], name,
                        values[shape.info] if shape.info >= 0 else b"",
                        _ulp_name(values[shape.ulp]) if shape.ulp >= 0 else "",
                    )))  # fmt: skip
            offset += (length + 3) & ~3
    return found


def _shape_of(message: memoryview) -> _Shape:
    """Walk the attributes of one message and return how all that are like it are unpacked."""
    offset = HEADER.size + MESSAGE_BYTES
    if len(message) < offset:
        raise damaged(f"a socket of {len(message)} bytes")
    parts, heads, expected, places = [f"={HEADER.size}x{MESSAGE}"], [], [], {}
    index = FIELDS
    while offset + ATTRIBUTE.size <= len(message):
        length, kind = ATTRIBUTE.unpack_from(message, offset)
        if length < ATTRIBUTE.size or offset + length > len(message):
            raise damaged(f"an attribute of {length} bytes at {offset} of {len(message)}")
        after = min(offset + ((length + 3) & ~3), len(message))
        wanted = kind in (INET_DIAG_CONG, INET_DIAG_INFO, INET_DIAG_ULP_INFO)
        parts.append(f"I{length - ATTRIBUTE.size}{'s' if wanted else 'x'}{after - offset - length}x")
        heads.append(index)
        expected.append(length | kind << 16)
        if wanted:
            places[kind] = index + 1
        index += 2 if wanted else 1
        offset = after
    return _Shape(
        Struct("".join(parts)),
        itemgetter(*heads) if heads else _nothing,
        (tuple(expected) if len(expected) > 1 else expected[0]) if heads else (),
        *(places.get(kind, -1) for kind in (INET_DIAG_CONG, INET_DIAG_INFO, INET_DIAG_ULP_INFO)),
    )


def _nothing(_values: tuple[Any, ...]) -> tuple[()]:
    return ()


def _ulp_name(raw: bytes) -> str:
    try:
        name = attributes(memoryview(raw)).get(INET_ULP_INFO_NAME, b"")
    except InputError:
        return ""
    return bytes(name).split(b"\0", 1)[0].decode("ascii", "replace")
