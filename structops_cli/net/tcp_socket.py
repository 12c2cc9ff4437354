"""Access one TCP socket of any process: its congestion control and its ``tcp_info``.

``pidfd_getfd(2)`` returns a descriptor for the open socket of another process. Flags, buffers and
peer stay unchanged. The call needs ptrace rights over the owner.
"""

from __future__ import annotations

import _socket
import os
from _socket import AF_INET, AF_INET6, IPPROTO_TCP, SOCK_STREAM, SOL_SOCKET, TCP_CONGESTION, TCP_INFO
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from errno import EBADF, EBUSY, ENOENT, ESRCH
from typing import TypeAlias

from structops_cli.errors import KernelError, NotPermittedError, UnsupportedError
from structops_cli.net.congestion_controls import check_congestion_control_name, read_congestion_controls
from structops_cli.net.sock_diag import TcpState
from structops_cli.net.tcp_info import TcpInfo, parse_tcp_info
from structops_cli.syscall.fd import Fd
from structops_cli.syscall.processes import open_process, shared_fd
from structops_cli.syscall.uapi import TCP_CA_NAME_MAX

RawSocket: TypeAlias = _socket.socket
"""A socket of the C module: importing ``socket`` costs more."""

SO_PROTOCOL, SO_DOMAIN = 38, 39
"""``include/uapi/asm-generic/socket.h``."""
IPPROTO_MPTCP = 262
SIOCGSKNS = 0x894C
"""``include/uapi/linux/sockios.h``: opens the network namespace of a socket."""
SOCKET_GONE = frozenset({ENOENT, ESRCH, EBADF})
"""Errnos of ``foreign_socket`` after the process ended or closed the socket."""
TCP_INFO_BYTES = 256
"""More than the size of ``struct tcp_info``; the kernel returns the bytes that it has."""


@contextmanager
def foreign_socket(process: int, number: int, inode: int, thread: int = 0) -> Iterator[RawSocket | None]:
    """Open the TCP socket that a process has as descriptor ``number``.

    Yields None if the descriptor is another file by now, or no TCP socket. Raises ``OSError``: an errno of
    ``SOCKET_GONE``, or EPERM if this process may not trace the owner.
    """
    with open_process(process, thread) as owner:
        mine = shared_fd(owner, number)
    with mine:
        if os.fstat(mine.fileno()).st_ino != inode or not _is_tcp(mine):
            yield None
            return
        tcp = _socket_of(mine)
        try:
            yield tcp
        finally:
            tcp.detach()  # ``mine`` owns the descriptor


def congestion_control_of(tcp: RawSocket) -> str:
    """Read the name of a socket's congestion control from the kernel. Raises ``OSError``."""
    raw = tcp.getsockopt(IPPROTO_TCP, TCP_CONGESTION, TCP_CA_NAME_MAX)
    return raw.split(b"\0", 1)[0].decode("ascii", "replace")


def set_congestion_control(tcp: RawSocket, name: str) -> None:
    """Choose the congestion control of a TCP socket.

    Raises ``KernelError`` (ENOENT for an unregistered name), ``NotPermittedError`` for a restricted
    algorithm without CAP_NET_ADMIN, ``UsageError`` for an impossible name.
    """
    check_congestion_control_name(name)
    try:
        choose_algorithm(tcp, name)
    except OSError as error:
        raise _refused(name, error.errno or 0) from error


def choose_algorithm(tcp: RawSocket, name: str) -> None:
    """Set TCP_CONGESTION; connections that a listener accepts inherit it.

    Raises ``OSError``: ENOENT for an unregistered name; EPERM for a restricted algorithm without
    CAP_NET_ADMIN, or if a route with a locked ``congctl`` chose the present one
    (``tcp_set_congestion_control``).
    """
    tcp.setsockopt(IPPROTO_TCP, TCP_CONGESTION, name.encode())


def tcp_info_of(tcp: RawSocket) -> TcpInfo:
    """Read the ``tcp_info`` of a TCP socket. Raises ``OSError``, and as ``parse_tcp_info``."""
    return parse_tcp_info(tcp.getsockopt(IPPROTO_TCP, TCP_INFO, TCP_INFO_BYTES))


def connection_has_ended(tcp: RawSocket) -> bool:
    """Tell whether a socket's connection has ended; False if the kernel does not show it."""
    with suppress(OSError, UnsupportedError):
        info = tcp_info_of(tcp)
        return info.state == TcpState.CLOSE and info.segs_out > 0
    return False


def namespace_of(tcp: RawSocket) -> Fd:
    """Open a socket's network namespace; ``OSError`` without CAP_NET_ADMIN over it."""
    import fcntl  # rare: only if no other file holds the namespace of the socket

    return Fd(fcntl.ioctl(tcp.fileno(), SIOCGSKNS))


def _is_tcp(mine: Fd) -> bool:
    try:
        candidate = _socket_of(mine)
    except OSError:  # not a socket any more
        return False
    try:
        domain, protocol = (candidate.getsockopt(SOL_SOCKET, option) for option in (SO_DOMAIN, SO_PROTOCOL))
    finally:
        candidate.detach()
    return domain in (AF_INET, AF_INET6) and protocol in (IPPROTO_TCP, IPPROTO_MPTCP)


def _socket_of(mine: Fd) -> RawSocket:
    """Wrap a descriptor. With all three numbers Python makes no system call for them."""
    return RawSocket(AF_INET, SOCK_STREAM, IPPROTO_TCP, mine.fileno())


def _refused(name: str, number: int) -> KernelError:
    what = f"the socket does not accept the congestion control {name}"
    operation = "setsockopt(TCP_CONGESTION)"
    if number in NotPermittedError.ERRNOS:
        return NotPermittedError(
            what,
            errno=number,
            operation=operation,
            why=f"{name} is restricted, and CAP_NET_ADMIN is missing",
            hint="run as root, or register it with the flag TCP_CONG_NON_RESTRICTED",
        )
    if number == ENOENT:
        registered = " ".join(read_congestion_controls().available)
        why = f"no congestion control {name} is registered; there are: {registered}"
        return KernelError(what, errno=number, operation=operation, why=why, hint=f"register {name} first")
    why = f"{name} is being unregistered" if number == EBUSY else os.strerror(number)
    return KernelError(what, errno=number, operation=operation, why=why)
