"""The congestion control of one TCP socket: choose it, read it back, ask for its numbers."""

from __future__ import annotations

import os
from _socket import socket as RawSocket  # noqa: N812 -- a class: what socket.socket is made of
from errno import EBUSY, ENOENT
from socket import IPPROTO_TCP, TCP_CONGESTION, TCP_INFO, socket

from structops_cli.errors import KernelError, NotPermittedError
from structops_cli.net.congestion_controls import check_congestion_control_name, read_congestion_controls
from structops_cli.net.tcp_info import TcpInfo, parse_tcp_info
from structops_cli.syscall.uapi import TCP_CA_NAME_MAX

__all__ = ["congestion_control_of", "set_congestion_control", "tcp_info_of"]

TCP_INFO_ASKED_BYTES = 256
"""More than ``struct tcp_info`` has today; the kernel answers with what it has."""


def set_congestion_control(tcp: socket, name: str) -> None:
    """Choose the congestion control of a TCP socket.

    Raises ``KernelError`` with ENOENT when none of that name is registered,
    ``NotPermittedError`` when it is restricted and CAP_NET_ADMIN is missing,
    ``UsageError`` for what cannot be a name. Source:
    ``tcp_set_congestion_control`` in ``net/ipv4/tcp_cong.c``.
    """
    check_congestion_control_name(name)
    try:
        tcp.setsockopt(IPPROTO_TCP, TCP_CONGESTION, name.encode())
    except OSError as error:
        raise _refused(name, error.errno or 0) from error


def congestion_control_of(tcp: socket) -> str:
    """Return the name of the congestion control that a TCP socket uses, as the kernel tells it.

    Raises ``OSError``.
    """
    raw = tcp.getsockopt(IPPROTO_TCP, TCP_CONGESTION, TCP_CA_NAME_MAX)
    return raw.split(b"\0", 1)[0].decode(errors="replace")


def tcp_info_of(tcp: RawSocket) -> TcpInfo:
    """Ask the kernel for the numbers of an open TCP socket.

    Raises ``OSError``, and ``UnsupportedError`` as of ``parse_tcp_info``.
    """
    return parse_tcp_info(tcp.getsockopt(IPPROTO_TCP, TCP_INFO, TCP_INFO_ASKED_BYTES))


def _refused(name: str, number: int) -> KernelError:
    what = f"the socket does not take the congestion control {name}"
    operation = "setsockopt(TCP_CONGESTION)"
    if number in NotPermittedError.ERRNOS:
        return NotPermittedError(
            what,
            errno=number,
            operation=operation,
            why=f"{name} is restricted, and CAP_NET_ADMIN is missing",
            hint="run this as root, or register it with the flag TCP_CONG_NON_RESTRICTED",
        )
    if number == ENOENT:
        registered = " ".join(read_congestion_controls().available)
        why = f"no congestion control {name} is registered; there are: {registered}"
        return KernelError(what, errno=number, operation=operation, why=why, hint=f"register {name} first")
    why = f"{name} is just being unregistered" if number == EBUSY else os.strerror(number)
    return KernelError(what, errno=number, operation=operation, why=why)
