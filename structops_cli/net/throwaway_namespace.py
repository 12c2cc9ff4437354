"""A network namespace without a name, which leaves nothing behind.

One thread moves into a new namespace and opens sockets there; the sockets
keep the namespace, wherever they are used. The process and all its other
threads stay where they were. No file in ``/run/netns`` names the namespace,
so the kernel takes it down when its last thread and socket are gone, even
after SIGKILL.
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

__all__ = ["ThrowawayNamespace"]

LOOPBACK_INDEX = 1
"""Loopback is the first device of every namespace (``include/net/net_namespace.h``: LOOPBACK_IFINDEX)."""
LOOPBACK_MTU_BYTES = 1500
"""As of Ethernet. Loopback's own 65536 leaves so few segments in flight that no window ever opens."""

Result = TypeVar("Result")


class ThrowawayNamespace:
    """Own a new network namespace that holds a loopback device, up, and nothing else.

    A context manager, good for one ``with``. Leaving it, in whatever way, ends
    the thread and closes every socket of ``open_socket``. The kernel clears the
    namespace away a moment later, in its own time. Like every new namespace it
    begins with the default congestion control of the namespace it was made
    from.

    Raises ``NotPermittedError`` without CAP_SYS_ADMIN (to make it) or
    CAP_NET_ADMIN (to bring loopback up), ``UnsupportedError`` on a kernel
    without network namespaces.
    """

    inode: int
    """The inode of the namespace: its identity, as ``/proc/PID/ns/net`` shows it."""

    def __init__(self) -> None:
        self._worker = ThreadPoolExecutor(max_workers=1, thread_name_prefix="netns")
        self._is_open = False
        self._was_entered = False
        self._sockets: list[socket] = []

    def __enter__(self) -> Self:
        if self._was_entered:
            raise UsageError("a throwaway namespace is entered once", hint="make another one")
        with uninterrupted():  # an import can swallow a KeyboardInterrupt, and Ctrl-C be lost
            import pyroute2  # noqa: F401 -- 250 ms: only for who makes a namespace

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
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close()

    def run(self, function: Callable[[], Result]) -> Result:
        """Call a function inside the namespace and return what it returns.

        It runs on the namespace's thread, one call at a time, and cannot be
        interrupted: keep it short. When the caller is interrupted the result is
        dropped, so what must be closed is better opened by ``open_socket``.
        """
        if not self._is_open:
            raise UsageError("the throwaway namespace is not open", hint="use it inside its with block")
        return self._worker.submit(function).result()

    def open_socket(self, family: AddressFamily = AF_INET, kind: SocketKind = SOCK_STREAM) -> socket:
        """Open a socket inside the namespace; any thread may use it.

        The namespace owns the socket and closes it at its own end at the
        latest; closing it earlier is fine.
        """
        return self.run(lambda: self._adopt(family, kind))

    def _adopt(self, family: AddressFamily, kind: SocketKind) -> socket:
        # On the namespace's thread, which Ctrl-C does not reach: no moment without an owner.
        opened = socket(family, kind | SOCK_CLOEXEC)
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
    what = "no throwaway network namespace could be made"
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
        "loopback could not be brought up in the throwaway namespace",
        errno=number,
        operation="RTM_NEWLINK",
        why=os.strerror(number),
        capability="CAP_NET_ADMIN",
    )
