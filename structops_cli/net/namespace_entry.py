"""Call a function inside a network namespace; the caller stays where it is."""

from __future__ import annotations

import _socket
import os
from collections.abc import Callable
from errno import ENOENT, ENOPROTOOPT, ENOTDIR, ESRCH
from typing import TypeVar

from structops_cli.errors import KernelError, NotFoundError
from structops_cli.net.namespaces import NetNamespace, own_inode
from structops_cli.runtime.interrupts import uninterrupted
from structops_cli.runtime.threads import start_thread
from structops_cli.syscall.fd import Fd
from structops_cli.syscall.processes import enter_net_namespace
from structops_cli.syscall.uapi import SO_NETNS_COOKIE

NAMESPACE_GONE = frozenset({ENOENT, ENOTDIR, ESRCH})
"""open(2) answers one of these if the mount or process of a namespace's path is gone."""

Result = TypeVar("Result")


def inside(namespace: NetNamespace, function: Callable[[], Result]) -> Result:
    """Call a function in a namespace and return its result.

    For another namespace than the caller's the function runs in a new thread, which Ctrl-C does
    not interrupt: keep it short. Sockets and files of ``/proc/sys/net`` that it opens keep the
    namespace. Raises ``NotFoundError`` if the namespace is gone,
    ``NotPermittedError`` without CAP_SYS_ADMIN, ``KernelError`` for other refusals.
    """
    if namespace.inode == own_inode():
        return function()
    with _opened(namespace) as fd:
        return in_new_thread(lambda: _enter(namespace, fd), function)


def in_new_thread(before: Callable[[], None], function: Callable[[], Result]) -> Result:
    """Call two functions in a new thread, and return the result of the second."""
    results: list[Result] = []
    errors: list[BaseException] = []

    def work() -> None:
        try:
            before()
            results.append(function())
        except BaseException as error:  # noqa: BLE001 -- raised again in the waiting thread
            errors.append(error)

    with uninterrupted():  # the thread inherits the mask; its work always ends
        start_thread(work, "netns").join()
    if errors:
        raise errors[0]
    return results[0]


def namespace_identity() -> int:
    """Return the cookie of the calling thread's namespace, before Linux 5.14 its inode.

    The kernel reuses the inode of a freed namespace, but no cookie before a reboot. Raises
    ``KernelError`` if the kernel has cookies and does not show this one.
    """
    probe = _socket.socket(_socket.AF_UNIX, _socket.SOCK_DGRAM | _socket.SOCK_CLOEXEC)
    try:
        return int.from_bytes(probe.getsockopt(_socket.SOL_SOCKET, SO_NETNS_COOKIE, 8), "little")
    except OSError as error:
        if error.errno != ENOPROTOOPT:
            raise KernelError(
                "cannot read the cookie of this network namespace",
                why=error.strerror or "",
                errno=error.errno or 0,
                operation="getsockopt SO_NETNS_COOKIE",
            ) from None
    finally:
        probe.close()
    return own_inode()


def _opened(namespace: NetNamespace) -> Fd:
    try:
        fd = Fd(os.open(namespace.path, os.O_RDONLY | os.O_CLOEXEC))
    except OSError as error:
        if error.errno in NAMESPACE_GONE:
            raise _gone(namespace) from None
        raise _not_entered(namespace, error.errno or 0, "open") from None
    if os.fstat(fd.fileno()).st_ino != namespace.inode:  # another process has the id, or it moved on
        fd.close()
        raise _gone(namespace)
    return fd


def _enter(namespace: NetNamespace, fd: Fd) -> None:
    if number := enter_net_namespace(fd):
        raise _not_entered(namespace, number, "setns")


def _gone(namespace: NetNamespace) -> NotFoundError:
    return NotFoundError(
        f"the network namespace {namespace.title} is gone",
        why=f"{namespace.path} does not lead to it any more",
        hint="run the command again: the process or mount that held the namespace has ended",
    )


def _not_entered(namespace: NetNamespace, number: int, operation: str) -> KernelError:
    what = f"cannot enter the network namespace {namespace.title}"
    return KernelError.from_errno(
        what, why=os.strerror(number), errno=number, operation=operation, capability="CAP_SYS_ADMIN"
    )
