"""Find the processes that have a socket open, by one walk over ``/proc/PID/fd``.

The kernel's socket tables show an inode and no process. A socket without an owner here belongs to
the kernel or to an unreachable process. Or io_uring holds it, or it is in transit in a message
(SCM_RIGHTS).
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import NamedTuple

from structops_cli.runtime.threads import start_thread
from structops_cli.syscall.sockets import SocketFds, socket_walk


class Owner(NamedTuple):
    """A process and its descriptor; ``thread`` has the descriptor table."""

    process: int
    fd: int
    thread: int


class SocketOwners(NamedTuple):
    """The owners of each socket inode, and the processes that may not be read."""

    by_inode: dict[int, list[Owner]]
    unreadable: tuple[int, ...]


def find_owners(*, threads: bool = False, processes: Iterable[int] | None = None) -> SocketOwners:
    """Walk the descriptors of all processes, or of some, and return the owners of sockets.

    ``threads`` reads the descriptor table of every thread: a thread may have its own
    (``unshare(CLONE_FILES)``). A process that ends meanwhile is left out.
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
        except OSError:  # the process has ended
            continue
    return found._replace(unreadable=tuple(unreadable))


class OwnerWalk:
    """Walks the descriptors of all processes in a thread, without an object for each socket.

    The walk starts at once and runs in parallel with the caller: it spends its time in the kernel.
    """

    def __init__(self) -> None:
        self._found: tuple[list[int], list[int]] = ([], [])
        self._errors: list[BaseException] = []
        self._thread = start_thread(self._run, "owners", daemon=True)

    def result(self) -> tuple[list[int], list[int]]:
        """Wait for the end; return the inodes of all socket descriptors, and their processes."""
        self._thread.join()
        if self._errors:
            raise self._errors[0]
        return self._found

    def _run(self) -> None:
        try:
            self._found = socket_walk(_all_processes())
        except BaseException as error:  # noqa: BLE001 -- raised again by result()
            self._errors.append(error)


def command_of(process: int) -> str:
    """Return a process's ``comm``, "" after its end. It may hold any byte but NUL."""
    try:
        with open(f"/proc/{process}/comm", encoding="utf-8", errors="replace", newline="") as file:
            return file.read().removesuffix("\n")
    except OSError:
        return ""


class CommandNames(dict[int, str]):
    """Reads the ``command_of`` each process once."""

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
