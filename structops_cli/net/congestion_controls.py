"""Read the congestion control sysctls of a network namespace, and check names.

``/proc/sys/net`` shows the namespace of the *thread* that reads it: call
``inside(namespace, read_congestion_controls)`` for another one.
"""

from __future__ import annotations

import os
from typing import NamedTuple

from structops_cli.errors import KernelError, UnsupportedError, UsageError
from structops_cli.syscall.uapi import TCP_CA_NAME_MAX

SYSCTL_DIR = "/proc/sys/net/ipv4"


class CongestionControls(NamedTuple):
    """The three congestion control sysctls of one namespace; names in the kernel's order."""

    available: tuple[str, ...]
    """The registered algorithms; the same list in every namespace."""
    allowed: tuple[str, ...]
    """The algorithms that need no CAP_NET_ADMIN; the same list in every namespace."""
    default: str
    """The algorithm of new sockets of this namespace."""


def read_congestion_controls() -> CongestionControls:
    """Read the congestion control sysctls of the calling thread's namespace.

    Follows ``net/ipv4/sysctl_net_ipv4.c``. Raises ``UnsupportedError`` without these sysctls,
    ``KernelError`` if one cannot be read.
    """
    return CongestionControls(
        tuple(_read("tcp_available_congestion_control").split()),
        tuple(_read("tcp_allowed_congestion_control").split()),
        _read("tcp_congestion_control").strip(),
    )


def check_congestion_control_name(name: str) -> None:
    """Raise ``UsageError`` for a name that no congestion control can have.

    The kernel silently cuts a longer name at 15 bytes (``do_tcp_setsockopt``), and could then find
    another algorithm.
    """
    what = f"{name!r} cannot be the name of a congestion control"
    if not (name.isascii() and name.isprintable()) or " " in name:
        raise UsageError(what, why="a name is printable ASCII without spaces")
    if not 0 < len(name) < TCP_CA_NAME_MAX:
        raise UsageError(what, why=f"a name has 1 to {TCP_CA_NAME_MAX - 1} bytes")


def _read(sysctl: str) -> str:
    path = f"{SYSCTL_DIR}/{sysctl}"
    try:
        with open(path, encoding="ascii", errors="replace") as stream:
            return stream.read()
    except FileNotFoundError as error:
        raise UnsupportedError(
            f"{path} does not exist",
            why="this kernel has no TCP congestion controls here",
            hint="check that /proc is mounted, and that the kernel has CONFIG_INET",
        ) from error
    except OSError as error:
        number = error.errno or 0
        raise KernelError(
            f"cannot read {path}", errno=number, operation="read", why=os.strerror(number)
        ) from error
