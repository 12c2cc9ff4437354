"""A TCP socket of another process, and its congestion control: looked at and changed without that process's help.

The descriptor that is had of it is the same socket, so nothing is done to it but that: its
flags, its buffers and its peer do not notice. ``pidfd_getfd(2)`` asks for the rights of a debugger over its owner.
"""

from __future__ import annotations

import os
from _socket import AF_INET, AF_INET6, IPPROTO_TCP, SOCK_STREAM, SOL_SOCKET, TCP_CONGESTION
from _socket import socket as RawSocket  # noqa: N812 -- a class: Python's own, without what the module around it imports
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from errno import EBADF, ENOENT, ESRCH

from structops_cli.errors import UnsupportedError
from structops_cli.syscall.fd import Fd
from structops_cli.syscall.processes import open_process, shared_fd
from structops_cli.syscall.uapi import TCP_CA_NAME_MAX

__all__ = [
    "GONE",
    "RawSocket",
    "algorithm_of",
    "choose_algorithm",
    "foreign_socket",
    "has_ended",
    "namespace_of",
]

SO_PROTOCOL, SO_DOMAIN = 38, 39
"""``include/uapi/asm-generic/socket.h``."""
IPPROTO_MPTCP = 262
SIOCGSKNS = 0x894C
"""``include/uapi/linux/sockios.h``: a descriptor of the network namespace that a socket is of."""
GONE = frozenset({ENOENT, ESRCH, EBADF})
"""The process has ended, or has closed it: no failure."""


@contextmanager
def foreign_socket(process: int, number: int, inode: int, thread: int = 0) -> Iterator[RawSocket | None]:
    """Have the socket that a process has open as ``number``; None when that is another file by now, or no TCP.

    Raises ``OSError``: one of ``GONE``, or EPERM when the process may not be traced.
    """
    with open_process(process, thread) as owner:
        mine = shared_fd(owner, number)
    with mine:
        if os.fstat(mine.fileno()).st_ino != inode or not _is_tcp(mine):
            yield None
            return
        # with all three given, nothing is asked of the socket, nor set
        raw = RawSocket(AF_INET, SOCK_STREAM, IPPROTO_TCP, mine.fileno())
        try:
            yield raw
        finally:
            raw.detach()  # the descriptor has its owner


def algorithm_of(tcp: RawSocket) -> str:
    """Return the name of a socket's congestion control; raises ``OSError``."""
    raw = tcp.getsockopt(IPPROTO_TCP, TCP_CONGESTION, TCP_CA_NAME_MAX)
    return raw.split(b"\0", 1)[0].decode("ascii", "replace")


def choose_algorithm(tcp: RawSocket, name: str) -> None:
    """Have a socket use another congestion control from now on; its listener's children inherit it.

    Raises ``OSError``: ENOENT when none has that name, EPERM without CAP_NET_ADMIN over the namespace
    for a restricted one, and whatever the rights when a route with a locked ``congctl`` chose
    the present one (``tcp_set_congestion_control``).
    """
    tcp.setsockopt(IPPROTO_TCP, TCP_CONGESTION, name.encode())


def has_ended(tcp: RawSocket) -> bool:
    """Tell whether a socket had a connection and has none any more, but for its descriptors; False where the kernel does not say."""
    from structops_cli.net.sock_diag import TcpState  # only what cannot be moved is asked
    from structops_cli.net.tcp_socket import tcp_info_of

    with suppress(OSError, UnsupportedError):
        info = tcp_info_of(tcp)
        return info.state == TcpState.CLOSE and info.segs_out > 0
    return False


def namespace_of(tcp: RawSocket) -> Fd:
    """Return a descriptor of the network namespace that a socket is of; raises ``OSError``. Needs CAP_NET_ADMIN over it."""
    import fcntl  # for sockets whose namespace nobody else holds

    return Fd(fcntl.ioctl(tcp.fileno(), SIOCGSKNS))


def _is_tcp(mine: Fd) -> bool:
    try:
        raw = RawSocket(AF_INET, SOCK_STREAM, IPPROTO_TCP, mine.fileno())
    except OSError:  # no socket any more
        return False
    try:
        domain, protocol = (raw.getsockopt(SOL_SOCKET, option) for option in (SO_DOMAIN, SO_PROTOCOL))
    finally:
        raw.detach()
    return domain in (AF_INET, AF_INET6) and protocol in (IPPROTO_TCP, IPPROTO_MPTCP)
