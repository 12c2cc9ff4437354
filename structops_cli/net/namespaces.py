"""The network namespaces of this machine: finding them, naming them, doing something inside one.

The kernel keeps no list that user space may read. A namespace is found through what holds it: a process, a
thread, or a mount of it (``ip netns`` and container runtimes make those). One that only an open
socket holds is not found; one that only a descriptor holds, where it is asked for (``namespace_descriptors``).
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from errno import ENOENT, ENOTDIR, ESRCH
from typing import NamedTuple, TypeVar

from structops_cli.errors import AmbiguousError, KernelError, NotFoundError
from structops_cli.runtime.interrupts import uninterrupted
from structops_cli.runtime.threads import started
from structops_cli.syscall.fd import Fd
from structops_cli.syscall.mount_table import mounted
from structops_cli.syscall.processes import enter_net_namespace
from structops_cli.syscall.uapi import CLONE_NEWNET

__all__ = [
    "OWN_NAMESPACE",
    "NetNamespace",
    "find_namespaces",
    "hidden_processes",
    "in_new_thread",
    "inside",
    "is_namespace",
    "own_inode",
    "own_namespace",
    "select_namespaces",
]

OWN_NAMESPACE = "/proc/thread-self/ns/net"
"""Of the calling thread; ``/proc/self/ns/net`` is that of the main thread."""
KTHREADD = 2
"""The first kernel thread: all of them live in the initial namespaces (kernel/kthread.c)."""
NS_GET_NSTYPE = 0xB703
"""``include/uapi/linux/nsfs.h``: _IO(0xb7, 0x3)."""
GONE = frozenset({ENOENT, ENOTDIR, ESRCH})
"""What opening the path of a namespace answers when its mount or its process has gone."""
INITIAL = "initial"
GLOBAL_SYSCTL = "/proc/sys/net/ipv4/tcp_allowed_congestion_control"
"""Read-only everywhere but in the initial namespace (ipv4_sysctl_init_net: it belongs to no namespace)."""

Result = TypeVar("Result")


class NetNamespace(NamedTuple):
    """One network namespace, told apart by ``inode`` as long as it lives.

    ``path`` opens it now. ``names`` are those of its mounts' last parts, as
    ``ip netns`` shows them; ``processes`` the ids of those found in it.
    """

    inode: int
    path: str
    names: tuple[str, ...] = ()
    processes: tuple[int, ...] = ()
    is_initial: bool = False

    @property
    def title(self) -> str:
        """What people call it: ``initial``, a name, or the kernel's ``net:[INODE]``; all of them mean it as a word.

        A name that a terminal would obey, or that another has first, is passed over.
        """
        if self.is_initial:
            return INITIAL
        names = (name for name in self.names if name.isprintable() and name != INITIAL)
        return next(names, f"net:[{self.inode}]")


def find_namespaces() -> tuple[NetNamespace, ...]:
    """Return every namespace that a process, a thread or a mount in sight holds: the initial one first, then by inode."""
    processes: dict[int, list[int]] = {}
    paths: dict[int, str] = {}
    for process, inode, path in _of_processes():
        paths.setdefault(inode, path)
        known = processes.setdefault(inode, [])
        if process not in known[-1:]:
            known.append(process)
    names: dict[int, list[str]] = {}
    for inode, path in _of_mounts():
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


def hidden_processes() -> int:
    """Return how many processes there are whose namespace this one may not see: ``find_namespaces`` leaves it out."""
    count = 0
    for word in os.listdir("/proc"):
        if word.isdecimal():
            try:
                hidden = not os.readlink(f"/proc/{word}/ns/net")  # Linux 5.10 says so without an error
            except PermissionError:
                hidden = True
            except OSError:  # ended, or a zombie
                continue
            count += hidden and os.path.exists(f"/proc/{word}")  # one that has just ended is answered alike
    return count


def own_namespace() -> NetNamespace:
    """Return the namespace of the calling thread."""
    inode = own_inode()
    return NetNamespace(inode, OWN_NAMESPACE, (), (os.getpid(),), inode == _initial_inode())


def own_inode() -> int:
    """Return the inode of the calling thread's namespace; raises ``KernelError`` without a ``/proc``."""
    try:
        return os.stat(OWN_NAMESPACE).st_ino
    except OSError as error:
        raise KernelError(
            f"{OWN_NAMESPACE} cannot be looked at",
            why=error.strerror or "",
            hint="check that /proc is mounted",
            errno=error.errno or 0,
            operation="stat",
        ) from None


def select_namespaces(found: Iterable[NetNamespace], words: Iterable[str]) -> tuple[NetNamespace, ...]:
    """Return the namespaces that words mean: ``initial``, a name, a path, ``pid:N``, ``net:[INODE]`` or an inode.

    Each once, in the order of the words. ``NotFoundError`` for a word that means none, ``AmbiguousError`` for one that
    means several: mounts in different directories may have one name.
    """
    every = tuple(found)
    chosen = [_one(every, word) for word in words]
    return tuple({item.inode: item for item in chosen}.values())


def _one(every: tuple[NetNamespace, ...], word: str) -> NetNamespace:
    inode = word.removeprefix("net:[").removesuffix("]")
    meant = _by_word(every, word, inode)
    if len(meant) > 1:
        raise _ambiguous(word, meant)
    if meant:
        return meant[0]
    path = f"/proc/{word[4:]}/ns/net" if word.startswith("pid:") and word[4:].isdecimal() else word
    with suppress(OSError):
        if "/" in path and stat.S_ISREG(os.stat(path).st_mode):
            wanted = os.stat(path).st_ino
            known = [item for item in every if item.inode == wanted]
            if known or is_namespace(path):
                return known[0] if known else NetNamespace(wanted, path, (os.path.basename(path),))
    if inode.isdecimal() and (held := _of_descriptors(int(inode))):
        return held
    raise NotFoundError(
        f"there is no network namespace {word}",
        why="it is neither initial, a name that ip netns shows, a path, pid:N nor net:[INODE] of one",
        hint=f"there are: {', '.join(item.title for item in every)}",
    )


def _by_word(every: tuple[NetNamespace, ...], word: str, inode: str) -> list[NetNamespace]:
    """Return the namespaces that a word means: the initial one and the kernel's own ``net:[INODE]`` before any name."""
    if word == INITIAL:
        return [item for item in every if item.is_initial]
    numbered = [item for item in every if inode == str(item.inode)]
    if numbered and word != inode:
        return numbered
    return [item for item in every if item in numbered or word in item.names]


def _ambiguous(word: str, meant: list[NetNamespace]) -> AmbiguousError:
    candidates = [f"net:[{item.inode}]" for item in meant]
    return AmbiguousError(
        f"{word} means more than one network namespace",
        why=", ".join(f"net:[{item.inode}] is {item.path}" for item in meant),
        hint=f"say which: {' or '.join(candidates)}",
        candidates=candidates,
    )


def _of_descriptors(inode: int) -> NetNamespace | None:
    from structops_cli.net.namespace_descriptors import namespaces_of_descriptors  # it looks at every process

    return next(iter(namespaces_of_descriptors((inode,))), None)


def inside(namespace: NetNamespace, function: Callable[[], Result]) -> Result:
    """Call a function in a namespace and return what it returns; the caller stays where it is.

    It runs in a thread of its own, which Ctrl-C does not reach: keep it short.
    Sockets opened there, and files of ``/proc/sys/net``, keep their namespace in
    any thread. Raises ``NotFoundError`` when the namespace has gone meanwhile,
    ``NotPermittedError`` without CAP_SYS_ADMIN where the caller is not in it anyway, ``KernelError`` for whatever
    else is in the way.
    """
    if _inode_of(OWN_NAMESPACE) == namespace.inode:
        return in_new_thread(_stay, function)
    with _opened(namespace) as fd:
        return in_new_thread(lambda: _enter(namespace, fd), function)


def in_new_thread(before: Callable[[], None], function: Callable[[], Result]) -> Result:
    """Call two functions in a thread that ends with them, and return what the second returns."""
    answers: list[Result] = []
    errors: list[BaseException] = []

    def work() -> None:
        try:
            before()
            answers.append(function())
        except BaseException as error:  # noqa: BLE001 -- handed to who waits
            errors.append(error)

    with uninterrupted():  # the thread inherits the mask; what it does has an end
        started(work, "netns").join()
    if errors:
        raise errors[0]
    return answers[0]


def _opened(namespace: NetNamespace) -> Fd:
    try:
        fd = Fd(os.open(namespace.path, os.O_RDONLY | os.O_CLOEXEC))
    except OSError as error:
        if error.errno in GONE:
            raise _gone(namespace) from None
        raise _not_entered(namespace, error.errno or 0, "open") from None
    if os.fstat(fd.fileno()).st_ino != namespace.inode:  # the process is another one now, or went elsewhere
        fd.close()
        raise _gone(namespace)
    return fd


def _gone(namespace: NetNamespace) -> NotFoundError:
    return NotFoundError(
        f"the network namespace {namespace.title} is gone",
        why=f"{namespace.path} is no longer what it was",
        hint="look again: whatever held it has ended",
    )


def _not_entered(namespace: NetNamespace, number: int, operation: str) -> KernelError:
    what = f"the network namespace {namespace.title} cannot be entered"
    why = os.strerror(number)
    return KernelError.from_errno(
        what, why=why, errno=number, operation=operation, capability="CAP_SYS_ADMIN"
    )


def _stay() -> None:
    """Be where the caller is: threads begin there."""


def _enter(namespace: NetNamespace, fd: Fd) -> None:
    if number := enter_net_namespace(fd):
        raise _not_entered(namespace, number, "setns")


# Finding them


def _of_processes() -> Iterator[tuple[int, int, str]]:
    """Go through the namespaces of processes and, where they differ, of their threads: process, inode, path."""
    for word in os.listdir("/proc"):
        if not word.isdecimal():
            continue
        own = _inode_of(f"/proc/{word}/ns/net")
        if own is not None:
            yield int(word), own, f"/proc/{word}/ns/net"
        for path in _threads(word):
            inode = _inode_of(path)
            if inode not in (None, own):
                yield int(word), inode or 0, path


def _threads(process: str) -> list[str]:
    folder = f"/proc/{process}/task"
    try:
        if os.stat(folder).st_nlink <= 3:  # two for the folder itself, one for each thread
            return []
        return [f"{folder}/{thread}/ns/net" for thread in os.listdir(folder) if thread != process]
    except OSError:  # it has ended
        return []


def _inode_of(path: str) -> int | None:
    try:
        text = os.readlink(path)
    except OSError:  # ended, a zombie, or not ours to look at
        return None
    return int(text[5:-1]) if text.startswith("net:[") else None


def _of_mounts() -> Iterator[tuple[int, str]]:
    """Go through the namespaces that are mounted in sight of this process: inode, path."""
    for item in mounted("nsfs"):
        if item.root.startswith("net:["):
            yield int(item.root[5:-1]), item.path


def is_namespace(path: str) -> bool:
    """Tell whether a file is a network namespace (ioctl_ns(2), NS_GET_NSTYPE)."""
    import fcntl  # for the rare path whose mount is not in sight

    with Fd(os.open(path, os.O_RDONLY | os.O_CLOEXEC)) as fd:
        try:
            return bool(fcntl.ioctl(fd.fileno(), NS_GET_NSTYPE) == CLONE_NEWNET)
        except OSError:
            return False


def _initial_inode() -> int | None:
    """Return the inode of the initial namespace, None where nothing in sight tells.

    Kernel threads never leave it; where a process id namespace hides them, the
    sysctl that only it may write tells whether this is the one.
    """
    with suppress(OSError):
        with open(f"/proc/{KTHREADD}/comm", encoding="utf-8", errors="replace") as file:
            is_kernel_thread = file.read() == "kthreadd\n"
        if is_kernel_thread and (inode := _inode_of(f"/proc/{KTHREADD}/ns/net")) is not None:
            return inode
    with suppress(OSError):
        if os.stat(GLOBAL_SYSCTL).st_mode & stat.S_IWUSR:
            return own_inode()
    return None
