"""Which processes have a descriptor of a socket: one walk over ``/proc/PID/fd``.

The kernel's socket tables name an inode and no process. A socket whose inode no process has is the
kernel's own, on its way in a message (SCM_RIGHTS), held by io_uring, or of a process that is not in sight.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import NamedTuple

from structops_cli.runtime.threads import start_thread
from structops_cli.syscall.sockets import SocketFds, socket_walk

__all__ = ["CommandNames", "Owner", "OwnerWalk", "SocketOwners", "command_of", "find_owners"]


class Owner(NamedTuple):
    """A process and its descriptor; ``thread`` is the one whose table of descriptors has it, mostly the process itself."""

    process: int
    fd: int
    thread: int


class SocketOwners(NamedTuple):
    """Who has which socket inode, as of the walk; ``unreadable`` are processes whose descriptors may not be seen."""

    by_inode: dict[int, list[Owner]]
    unreadable: tuple[int, ...]


def find_owners(*, threads: bool = False, processes: Iterable[int] | None = None) -> SocketOwners:
    """Walk the descriptors of all processes, or of some, and return who has which socket.

    ``threads`` looks at the table of every thread, for those that have one of their
    own (``unshare(CLONE_FILES)``), at the price of as many walks. A process that ends meanwhile is left out.
    """
    found = SocketOwners({}, ())
    unreadable: list[int] = []
    sockets_in = SocketFds()
    for process in _all_processes() if processes is None else processes:
        try:
            _look(sockets_in, found.by_inode, process, process)
            if threads:
                for word in os.listdir(f"/proc/{process}/task"):
                    if int(word) != process:
                        _look(sockets_in, found.by_inode, process, int(word))
        except PermissionError:
            unreadable.append(process)
        except OSError:  # it has ended
            continue
    return found._replace(unreadable=tuple(unreadable))


class OwnerWalk:
    """The same walk without an object for each socket, in a thread: all of its time is spent in the kernel.

    It begins at once, beside what the caller does until it asks for the result.
    """

    def __init__(self) -> None:
        self._found: tuple[list[int], list[int]] = ([], [])
        self._errors: list[BaseException] = []
        self._thread = start_thread(self._run, "owners", daemon=True)

    def result(self) -> tuple[list[int], list[int]]:
        """Wait for its end and return the inodes of all sockets that processes have, and the process of each."""
        self._thread.join()
        if self._errors:
            raise self._errors[0]
        return self._found

    def _run(self) -> None:
        try:
            self._found = socket_walk(_all_processes())
        except BaseException as error:  # noqa: BLE001 -- handed to who asks for the result
            self._errors.append(error)


def command_of(process: int) -> str:
    """Return the name of a process's command (``comm``), "" when it has ended; any byte but NUL may be in it."""
    try:
        with open(f"/proc/{process}/comm", encoding="utf-8", errors="replace", newline="") as file:
            return file.read().removesuffix("\n")
    except OSError:
        return ""


class CommandNames(dict[int, str]):
    """The command's name of each process (``command_of``), read once."""

    def __missing__(self, process: int) -> str:
        self[process] = command_of(process)
        return self[process]


def _all_processes() -> list[int]:
    return [int(word) for word in os.listdir("/proc") if word.isdecimal()]


def _look(sockets_in: SocketFds, found: dict[int, list[Owner]], process: int, thread: int) -> None:
    for inode, fd in zip(*sockets_in(f"/proc/{process}/task/{thread}/fd"), strict=True):
        owners = found.setdefault(inode, [])
        if not any(owner.process == process for owner in owners):
            owners.append(Owner(process, fd, thread))
