"""Which processes have a descriptor of a socket: one walk over ``/proc/PID/fd``.

The kernel's socket tables name an inode and no process. A socket whose inode no process has is the
kernel's own, on its way in a message (SCM_RIGHTS), held by io_uring, or of a process that is not in sight.
"""

from __future__ import annotations

import os
from collections.abc import Iterable

from structops_cli.records import NamedTuple

__all__ = ["Owner", "SocketOwners", "command_of", "find_owners"]

PREFIX = "socket:["


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
    for process in _all_processes() if processes is None else processes:
        try:
            _look(found.by_inode, process, process)
            if threads:
                for word in os.listdir(f"/proc/{process}/task"):
                    if int(word) != process:
                        _look(found.by_inode, process, int(word))
        except PermissionError:
            unreadable.append(process)
        except OSError:  # it has ended
            continue
    return found._replace(unreadable=tuple(unreadable))


def command_of(process: int) -> str:
    """Return the name of a process's command (``comm``), "" when it has ended."""
    try:
        with open(f"/proc/{process}/comm", encoding="utf-8", errors="replace") as file:
            return file.read().rstrip("\n")
    except OSError:
        return ""


def _all_processes() -> list[int]:
    return [int(word) for word in os.listdir("/proc") if word.isdecimal()]


def _look(found: dict[int, list[Owner]], process: int, thread: int) -> None:
    folder = os.open(f"/proc/{process}/task/{thread}/fd", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for word in os.listdir(folder):
            try:
                target = os.readlink(word, dir_fd=folder)
            except FileNotFoundError:  # closed meanwhile
                continue
            if target.startswith(PREFIX):
                owners = found.setdefault(int(target[len(PREFIX) : -1]), [])
                if not any(owner.process == process for owner in owners):
                    owners.append(Owner(process, int(word), thread))
    finally:
        os.close(folder)
