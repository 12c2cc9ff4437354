"""Find the network namespaces of this machine, and resolve the words that name them.

The kernel offers no list of namespaces. A namespace is found through a process, a thread or a
mount that holds it (``ip netns`` and container runtimes make mounts).
``descriptor_namespaces`` also finds a namespace that only an open descriptor holds: it reads
every descriptor of every process. A namespace that only an open socket holds is not found.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Container, Iterable, Iterator
from contextlib import suppress
from typing import NamedTuple

from structops_cli.errors import AmbiguousError, KernelError, NotFoundError
from structops_cli.syscall.fd import Fd
from structops_cli.syscall.mount_table import mounted
from structops_cli.syscall.uapi import CLONE_NEWNET

OWN_NAMESPACE = "/proc/thread-self/ns/net"
"""The namespace of the calling thread; ``/proc/self/ns/net`` is the main thread's."""
KTHREADD = 2
"""The first kernel thread, which never leaves the initial namespaces (kernel/kthread.c)."""
NS_GET_NSTYPE = 0xB703
"""``include/uapi/linux/nsfs.h``: _IO(0xb7, 0x3)."""
FIRST_INODE = 0xF0000000
"""``PROC_DYNAMIC_FIRST`` (fs/proc/generic.c): the lowest inode that a namespace gets."""
INITIAL = "initial"
GLOBAL_SYSCTL = "/proc/sys/net/ipv4/tcp_allowed_congestion_control"
"""Writable in the initial namespace only (``ipv4_sysctl_init_net``)."""


class NetNamespace(NamedTuple):
    """One network namespace. Its ``inode`` identifies it while it exists.

    ``path`` opens it now. ``names`` are the last parts of its mounts' paths, as ``ip netns``
    shows them. ``processes`` are the ids of the processes found in it.
    """

    inode: int
    path: str
    names: tuple[str, ...] = ()
    processes: tuple[int, ...] = ()
    is_initial: bool = False

    @property
    def title(self) -> str:
        """``initial``, a printable name, or ``net:[INODE]``, for ``select_namespaces``."""
        if self.is_initial:
            return INITIAL
        names = (name for name in self.names if name.isprintable() and name != INITIAL)
        return next(names, f"net:[{self.inode}]")


def find_namespaces() -> tuple[NetNamespace, ...]:
    """Return the namespaces that reachable processes, threads and mounts hold.

    The initial namespace comes first; the others are sorted by inode.
    """
    processes: dict[int, list[int]] = {}
    paths: dict[int, str] = {}
    for process, inode, path in _namespaces_of_processes():
        paths.setdefault(inode, path)
        known = processes.setdefault(inode, [])
        if process not in known[-1:]:
            known.append(process)
    names: dict[int, list[str]] = {}
    for inode, path in _namespaces_of_mounts():
        paths[inode] = path  # a mount outlives processes
        names.setdefault(inode, []).append(os.path.basename(path))
    first = _initial_inode()
    found = [
        NetNamespace(
            inode, path, tuple(names.get(inode, ())), tuple(processes.get(inode, ())), inode == first
        )
        for inode, path in paths.items()
    ]
    return tuple(sorted(found, key=lambda item: (not item.is_initial, item.inode)))


def unreadable_processes() -> int:
    """Count the processes whose namespace this process may not read.

    ``find_namespaces`` misses a namespace that only such a process holds.
    """
    count = 0
    for word in filter(str.isdecimal, os.listdir("/proc")):
        try:
            unreadable = not os.readlink(f"/proc/{word}/ns/net")  # Linux 5.10 answers "" without an error
        except PermissionError:
            unreadable = True
        except OSError:  # the process ended, or is a zombie
            continue
        count += unreadable and os.path.exists(f"/proc/{word}")  # the process may have just ended
    return count


def own_namespace() -> NetNamespace:
    """Return the namespace of the calling thread."""
    inode = own_inode()
    return NetNamespace(inode, OWN_NAMESPACE, (), (os.getpid(),), inode == _initial_inode())


def own_inode() -> int:
    """Return the inode of the calling thread's namespace; ``KernelError`` without /proc."""
    try:
        return os.stat(OWN_NAMESPACE).st_ino
    except OSError as error:
        raise KernelError(
            f"cannot read {OWN_NAMESPACE}",
            why=error.strerror or "",
            hint="check that /proc is mounted",
            errno=error.errno or 0,
            operation="stat",
        ) from None


# Words that name a namespace


def select_namespaces(found: Iterable[NetNamespace], words: Iterable[str]) -> tuple[NetNamespace, ...]:
    """Return the namespaces of selectors, each once, in the order of the selectors.

    A selector is ``initial``, a name, a path, ``pid:N``, ``net:[INODE]`` or an inode. Raises
    ``NotFoundError`` for a selector without a namespace, ``AmbiguousError`` for a name of several mounts.
    """
    every = tuple(found)
    chosen = [_named(every, word) for word in words]
    return tuple({item.inode: item for item in chosen}.values())


def _named(every: tuple[NetNamespace, ...], word: str) -> NetNamespace:
    inode = word.removeprefix("net:[").removesuffix("]")
    matches = _matches(every, word, inode)
    if len(matches) > 1:
        raise _ambiguous(word, matches)
    if matches:
        return matches[0]
    if (by_path := _by_path(every, word)) is not None:
        return by_path
    if inode.isdecimal() and (held := descriptor_namespaces((int(inode),))):
        return held[0]
    raise NotFoundError(
        f"there is no network namespace {word}",
        why="it is neither initial, a name that ip netns shows, a path, pid:N nor net:[INODE] of one",
        hint=f"there are: {', '.join(item.title for item in every)}",
    )


def _matches(every: tuple[NetNamespace, ...], word: str, inode: str) -> list[NetNamespace]:
    """Return the namespaces of a selector; ``initial`` and ``net:[INODE]`` win over names."""
    if word == INITIAL:
        return [item for item in every if item.is_initial]
    numbered = [item for item in every if inode == str(item.inode)]
    if numbered and word != inode:
        return numbered
    return [item for item in every if item in numbered or word in item.names]


def _by_path(every: tuple[NetNamespace, ...], word: str) -> NetNamespace | None:
    path = f"/proc/{word[4:]}/ns/net" if word.startswith("pid:") and word[4:].isdecimal() else word
    with suppress(OSError):
        if "/" in path and stat.S_ISREG(os.stat(path).st_mode):
            inode = os.stat(path).st_ino
            for item in every:
                if item.inode == inode:
                    return item
            if _is_network_namespace(path):
                return NetNamespace(inode, path, (os.path.basename(path),))
    return None


def _ambiguous(word: str, matches: list[NetNamespace]) -> AmbiguousError:
    candidates = [f"net:[{item.inode}]" for item in matches]
    return AmbiguousError(
        f"{word} means more than one network namespace",
        why=", ".join(f"net:[{item.inode}] is {item.path}" for item in matches),
        hint=f"use one of: {', '.join(candidates)}",
        candidates=candidates,
    )


# Processes and mounts that hold namespaces


def _namespaces_of_processes() -> Iterator[tuple[int, int, str]]:
    """Yield (process, inode, path) of each process, and of threads in other namespaces."""
    for word in filter(str.isdecimal, os.listdir("/proc")):
        own = _linked_inode(f"/proc/{word}/ns/net")
        if own is not None:
            yield int(word), own, f"/proc/{word}/ns/net"
        for path in _threads(word):
            inode = _linked_inode(path)
            if inode is not None and inode != own:
                yield int(word), inode, path


def _threads(process: str) -> list[str]:
    folder = f"/proc/{process}/task"
    try:
        if os.stat(folder).st_nlink <= 3:  # two links for the folder itself, one for each thread
            return []
        return [f"{folder}/{thread}/ns/net" for thread in os.listdir(folder) if thread != process]
    except OSError:  # the process ended
        return []


def _linked_inode(path: str) -> int | None:
    try:
        return _inode_in(os.readlink(path))
    except OSError:  # the process ended, is a zombie or is unreadable
        return None


def _inode_in(link: str) -> int | None:
    return int(link[5:-1]) if link.startswith("net:[") else None


def _namespaces_of_mounts() -> Iterator[tuple[int, str]]:
    """Yield (inode, path) for each mount that this process sees."""
    for item in mounted("nsfs"):
        inode = _inode_in(item.root)
        if inode is not None:
            yield inode, item.path


def _is_network_namespace(path: str) -> bool:
    """Ask the kernel for the type of a namespace file (ioctl_ns(2), NS_GET_NSTYPE)."""
    import fcntl  # rare: only for paths that no visible mount explains

    with Fd(os.open(path, os.O_RDONLY | os.O_CLOEXEC)) as fd:
        try:
            return bool(fcntl.ioctl(fd.fileno(), NS_GET_NSTYPE) == CLONE_NEWNET)
        except OSError:
            return False


def _initial_inode() -> int | None:
    """Return the inode of the initial namespace, None if it is unknown.

    Kernel threads are in it. If a process id namespace hides them, ``GLOBAL_SYSCTL`` shows
    whether the calling thread is in it.
    """
    with suppress(OSError):
        with open(f"/proc/{KTHREADD}/comm", encoding="utf-8", errors="replace") as file:
            is_kernel_thread = file.read() == "kthreadd\n"
        if is_kernel_thread and (inode := _linked_inode(f"/proc/{KTHREADD}/ns/net")) is not None:
            return inode
    with suppress(OSError):
        if os.stat(GLOBAL_SYSCTL).st_mode & stat.S_IWUSR:
            return own_inode()
    return None


# Descriptors that hold namespaces


def descriptor_namespaces(
    wanted: Container[int] | None = None, *, known: Container[int] = ()
) -> tuple[NetNamespace, ...]:
    """Return the namespaces that processes hold by a descriptor, by inode, each once.

    ``wanted`` limits the answer to some inodes; ``known`` leaves some out. ``/proc/PID/fd/N``
    opens a namespace while the process keeps the descriptor. Unreadable processes are left out.
    """
    found: dict[int, NetNamespace] = {}
    for process, number in _descriptors():
        inode = _descriptor_inode(process, number)
        if inode is None or inode in found or inode in known:
            continue
        if wanted is None or inode in wanted:
            found[inode] = NetNamespace(inode, f"/proc/{process}/fd/{number}")
    return tuple(found[inode] for inode in sorted(found))


def with_descriptors(found: Iterable[NetNamespace]) -> tuple[NetNamespace, ...]:
    """Return the given namespaces, then the namespaces that only descriptors hold."""
    usual = tuple(found)
    return (*usual, *descriptor_namespaces(known={item.inode for item in usual}))


def _descriptors() -> Iterator[tuple[str, str]]:
    for process in filter(str.isdecimal, os.listdir("/proc")):
        try:
            numbers = os.listdir(f"/proc/{process}/fd")
        except OSError:  # the process ended or is unreadable
            continue
        yield from ((process, number) for number in numbers)


def _descriptor_inode(process: str, number: str) -> int | None:
    """Return the inode of a descriptor's namespace, None for another file."""
    path = f"/proc/{process}/fd/{number}"
    try:
        link = os.readlink(path)
        if link.startswith("/") and (inode := _file_inode(process, number, link)) >= FIRST_INODE:
            same_device = os.stat(path).st_dev == os.stat(OWN_NAMESPACE).st_dev
            return inode if same_device and _is_network_namespace(path) else None
    except OSError:  # closed meanwhile
        return None
    return _inode_in(link)


def _file_inode(process: str, number: str, link: str) -> int:
    """Read the inode from fdinfo (Linux 5.14): stat(2) of the file may wait for a server.

    Before 5.14 only a file without a name is opened with stat(2): its link is the root directory.
    """
    with open(f"/proc/{process}/fdinfo/{number}", "rb") as file:
        lines = file.read().splitlines()
    shown = next((int(line.split()[1]) for line in lines if line.startswith(b"ino:")), 0)
    return shown or (os.stat(f"/proc/{process}/fd/{number}").st_ino if link == "/" else 0)
