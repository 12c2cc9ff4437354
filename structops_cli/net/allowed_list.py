"""``tcp_allowed_congestion_control``: the algorithms that every process may choose, one list for all namespaces.

Being on it is the flag TCP_CONG_NON_RESTRICTED of the live algorithm, one of BPF included
(``tcp_set_allowed_congestion_control``); the value of its map does not show it. Another version that
takes its place comes with the flag of its own object. Whatever is made the default
of the initial namespace gets on the list by that.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from errno import EINVAL, ENOENT

from structops_cli.errors import KernelError, StateError, StructopsError
from structops_cli.net.held_sysctl import HeldSysctl, open_sysctl, visit
from structops_cli.net.namespaces import NetNamespace
from structops_cli.syscall.uapi import TCP_CA_BUF_MAX, TCP_CA_NAME_MAX

__all__ = ["AllowedList", "open_allowed"]

ALLOWED_SYSCTL = "/proc/sys/net/ipv4/tcp_allowed_congestion_control"
LIST_TRIES = 8
"""How often the list is read again because a name on it vanished between reading and writing it."""


class AllowedList(HeldSysctl):
    """The list, held open in the initial namespace."""

    def read(self) -> tuple[str, ...]:
        """Return the names that any process may choose, in the kernel's order."""
        return tuple(self._read().split())

    def add(self, name: str) -> None:
        """Let any process choose an algorithm; the others stay as they are. Errors as of ``remove``."""
        self._change(lambda names: (*names, name) if name not in names else names)
        if name not in self.read():
            raise StateError(
                f"{name} is not in tcp_allowed_congestion_control",
                why="the kernel took the list without an error, and does not show it",
            )

    def remove(self, name: str) -> None:
        """Take an algorithm off the list; the others stay as they are.

        The kernel takes whole lists only, and none that names what is not
        registered: the list is read again when a name on it vanished meanwhile.
        """
        self._change(lambda names: tuple(item for item in names if item != name))

    def _change(self, wanted: Callable[[tuple[str, ...]], tuple[str, ...]]) -> None:
        number = 0
        for _ in range(LIST_TRIES):
            names = self.read()
            following = wanted(names)
            if following == names:
                return
            self._check_whole(following)
            try:
                self._write(" ".join(following))
            except OSError as error:
                number = error.errno or 0
                if number not in (ENOENT, EINVAL) or self.read() == names:
                    break
            else:
                return
        why = "a name on it is not registered" if number in (ENOENT, EINVAL) else os.strerror(number)
        raise KernelError.from_errno(
            "tcp_allowed_congestion_control could not be written",
            why=why,
            errno=number,
            operation=f"write {ALLOWED_SYSCTL}",
        )

    def _check_whole(self, names: tuple[str, ...]) -> None:
        """Refuse a list that the kernel may have shown in part: writing it back would take names off."""
        if len(" ".join(names)) > TCP_CA_BUF_MAX - 2 * TCP_CA_NAME_MAX:
            raise StructopsError(
                "tcp_allowed_congestion_control cannot be changed",
                why=f"the list has {len(names)} names, and the kernel shows and takes {TCP_CA_BUF_MAX} bytes only",
                hint="unregister what nobody needs",
            )


def open_allowed(initial: NetNamespace, *, writable: bool = True) -> AllowedList:
    """Open the allowed list, in the initial namespace, the only one that may write it; errors as of ``open_default``."""
    return visit(
        initial,
        lambda: AllowedList(ALLOWED_SYSCTL, open_sysctl(ALLOWED_SYSCTL, initial.title, writable=writable)),
    )
