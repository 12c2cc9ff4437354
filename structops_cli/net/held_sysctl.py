"""Sysctl files of a network namespace that are held open, and entering the namespace that they are of.

An open file of ``/proc/sys/net`` belongs to its namespace, whichever thread or child
process uses it. What stands in the way of writing is found out when it is opened.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from errno import ENOPROTOOPT, EROFS
from socket import AF_UNIX, SOCK_CLOEXEC, SOCK_DGRAM, SOL_SOCKET, socket
from types import TracebackType
from typing import Self, TypeVar

from structops_cli.errors import KernelError, UnsupportedError
from structops_cli.net.namespaces import NetNamespace, inside, own_inode
from structops_cli.syscall.fd import Fd
from structops_cli.syscall.uapi import SO_NETNS_COOKIE, TCP_CA_BUF_MAX

__all__ = ["HeldSysctl", "namespace_identity", "open_sysctl", "visit"]

Result = TypeVar("Result")


class HeldSysctl:
    """Own an open sysctl file; a context manager. ``path`` is what it was opened by."""

    def __init__(self, path: str, file: Fd) -> None:
        self.path = path
        self._file = file

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _read(self) -> str:
        try:
            return os.pread(self._file.fileno(), TCP_CA_BUF_MAX, 0).decode("ascii", "replace").strip()
        except OSError as error:
            raise KernelError(
                f"{self.path} could not be read",
                why=error.strerror or "",
                errno=error.errno or 0,
                operation="read",
            ) from None

    def _write(self, text: str) -> None:
        os.pwrite(self._file.fileno(), f"{text}\n".encode(), 0)


def open_sysctl(path: str, title: str, *, writable: bool) -> Fd:
    """Open a sysctl file of the calling thread's namespace, whose title is for the errors, and own it.

    Raises ``NotPermittedError`` without the privilege to write, ``KernelError`` for a
    ``/proc/sys`` that is read-only, ``UnsupportedError`` without the file.
    """
    try:
        return Fd(os.open(path, (os.O_RDWR if writable else os.O_RDONLY) | os.O_CLOEXEC))
    except FileNotFoundError:
        raise UnsupportedError(
            f"{path} does not exist in {title}",
            why="this kernel shows no TCP congestion controls there",
            hint="check that /proc is mounted, and that the kernel has CONFIG_INET",
        ) from None
    except OSError as error:
        raise _not_opened(path, title, error.errno or 0, writable=writable) from None


def _not_opened(path: str, title: str, number: int, *, writable: bool) -> KernelError:
    what = f"{path} of {title} cannot be {'written' if writable else 'read'}"
    if number == EROFS:
        return KernelError(
            what,
            why="/proc/sys is mounted read-only here, as in most containers",
            hint="run this outside the container, or mount -o remount,rw /proc/sys",
            errno=number,
            operation="open",
        )
    why = os.strerror(number)
    return KernelError.from_errno(what, why=why, errno=number, operation="open", capability="CAP_NET_ADMIN")


def visit(namespace: NetNamespace, function: Callable[[], Result]) -> Result:
    """Call a function in a namespace as ``inside`` does; in the caller's own one without a thread or a privilege."""
    if namespace.inode == own_inode():
        return function()
    return inside(namespace, function)


def namespace_identity() -> int:
    """Return a number for the calling thread's namespace that no other has: its cookie, before Linux 5.14 its inode.

    A cookie is never given twice until reboot; an inode is, once its namespace is gone. Raises ``KernelError``
    when neither can be had: one in place of the other would be that of a namespace that is not there.
    """
    try:
        with socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC) as probe:
            return int.from_bytes(probe.getsockopt(SOL_SOCKET, SO_NETNS_COOKIE, 8), "little")
    except OSError as error:
        if error.errno != ENOPROTOOPT:
            raise KernelError(
                "the cookie of this network namespace cannot be read",
                why=error.strerror or "",
                errno=error.errno or 0,
                operation="getsockopt SO_NETNS_COOKIE",
            ) from None
    return own_inode()
