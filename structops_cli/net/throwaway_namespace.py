"""Make a network namespace without a name, which leaves nothing behind.

One thread moves into a new namespace and opens sockets there; the sockets keep the namespace in any
thread. Other threads of the process stay in their namespace. No file in ``/run/netns`` names the
namespace, so the kernel removes it with its last thread and socket, even after SIGKILL.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from errno import EINVAL, ENOSPC
from socket import AF_INET, SOCK_CLOEXEC, SOCK_STREAM, AddressFamily, SocketKind, socket
from types import TracebackType
from typing import Self, TypeVar

from structops_cli.errors import KernelError, StructopsError, UnsupportedError, UsageError
from structops_cli.net.namespaces import own_inode
from structops_cli.runtime.interrupts import uninterrupted
from structops_cli.syscall.processes import new_net_namespace

LOOPBACK_INDEX = 1
"""LOOPBACK_IFINDEX (``include/net/net_namespace.h``): the first device of every namespace."""
LOOPBACK_MTU_BYTES = 1500
"""The MTU of Ethernet: with loopback's 65536 too few segments are in flight."""

Result = TypeVar("Result")


class ThrowawayNamespace:
    """Owns a new network namespace that has only loopback, up.

    A context manager for one ``with`` block. Its end stops the thread and closes every socket of
    ``open_socket``; the kernel removes the namespace a moment later. The namespace starts with the default
    congestion control of its creator's namespace. Raises ``NotPermittedError`` without CAP_SYS_ADMIN (to
    make it) or CAP_NET_ADMIN (to bring loopback up), ``UnsupportedError`` without network namespaces.
    """

    inode: int
    """The inode that ``/proc/PID/ns/net`` shows."""

    def __init__(self) -> None:
        self._worker = ThreadPoolExecutor(max_workers=1, thread_name_prefix="netns")
        self._is_open = False
        self._was_entered = False
        self._sockets: list[socket] = []

    def __enter__(self) -> Self:
        if self._was_entered:
            raise UsageError("a throwaway namespace is entered once", hint="make another one")
        with uninterrupted():  # an import can swallow a KeyboardInterrupt
            import pyroute2  # noqa: F401 -- 250 ms, which only the makers of a namespace pay

        self._is_open = self._was_entered = True
        try:
            self.run(_move_to_new_namespace)
            self.run(_bring_loopback_up)
            self.inode = self.run(own_inode)
        except BaseException:
            self._close()
            raise
        return self

    def __exit__(
        self,
        error_class: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._close()

    def run(self, function: Callable[[], Result]) -> Result:
        """Call a function inside the namespace and return its result.

        It runs on the namespace's thread, one call at a time, and Ctrl-C does not interrupt it: keep it short.
        If the caller is interrupted, the result is lost, and sockets of ``open_socket`` are still closed.
        """
        if not self._is_open:
            raise UsageError("the throwaway namespace is not open", hint="use it inside its with block")
        return self._worker.submit(function).result()

    def open_socket(self, family: AddressFamily = AF_INET, socket_type: SocketKind = SOCK_STREAM) -> socket:
        """Open a socket inside the namespace; any thread may use it.

        The namespace closes the socket at its end. The caller may close it earlier.
        """
        return self.run(lambda: self._adopt(family, socket_type))

    def _adopt(self, family: AddressFamily, socket_type: SocketKind) -> socket:
        # On the namespace's thread, which Ctrl-C does not interrupt: the socket always has an owner.
        opened = socket(family, socket_type | SOCK_CLOEXEC)
        self._sockets.append(opened)
        return opened

    def _close(self) -> None:
        self._is_open = False
        try:
            self._worker.shutdown(wait=True, cancel_futures=True)
        finally:
            while self._sockets:
                self._sockets.pop().close()


def _move_to_new_namespace() -> None:
    if number := new_net_namespace():
        raise _refused(number)


def _refused(number: int) -> StructopsError:
    what = "cannot make a throwaway network namespace"
    if number == EINVAL:
        return UnsupportedError(
            what,
            why="this kernel was built without network namespaces",
            hint="use a kernel with CONFIG_NET_NS=y",
        )
    hint = "raise /proc/sys/user/max_net_namespaces" if number == ENOSPC else ""
    return KernelError.from_errno(
        what,
        errno=number,
        operation="unshare",
        why=os.strerror(number),
        hint=hint,
        capability="CAP_SYS_ADMIN",
    )


def _bring_loopback_up() -> None:
    from pyroute2 import IPRoute, NetlinkError

    try:
        with IPRoute() as route:
            route.link("set", index=LOOPBACK_INDEX, mtu=LOOPBACK_MTU_BYTES, state="up")
    except NetlinkError as error:
        raise _loopback_stays_down(error.code) from error
    except OSError as error:
        raise _loopback_stays_down(error.errno or 0) from error


def _loopback_stays_down(number: int) -> KernelError:
    return KernelError.from_errno(
        "cannot bring loopback up in the throwaway namespace",
        errno=number,
        operation="RTM_NEWLINK",
        why=os.strerror(number),
        capability="CAP_NET_ADMIN",
    )
