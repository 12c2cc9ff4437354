"""Hold the network namespaces of a drain, from the first pass that finds them."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, nullcontext, suppress
from typing import NamedTuple

from structops_cli.counted import counted
from structops_cli.errors import NotFoundError, NotPermittedError, UsageError
from structops_cli.net.congestion_controls import CongestionControls, read_congestion_controls
from structops_cli.net.namespace_entry import inside
from structops_cli.net.namespaces import (
    OWN_NAMESPACE,
    NetNamespace,
    find_namespaces,
    select_namespaces,
    unreadable_processes,
)
from structops_cli.net.netlink import NetlinkSocket
from structops_cli.net.sock_diag import open_sock_diag, tcp_sockets
from structops_cli.net.tcp_socket import RawSocket, namespace_of
from structops_cli.operations.drain_source import CAP_SYS_PTRACE, Source, default_target, has_capability
from structops_cli.syscall.fd import Fd


class HeldNamespace(NamedTuple):
    """A network namespace and its inet_diag.

    ``target`` is the new algorithm of its sockets, None until it is needed.
    """

    namespace: NetNamespace
    diag: NetlinkSocket
    target: str | None
    default: str


def _hold() -> tuple[NetlinkSocket, CongestionControls, Fd]:
    """Open inet_diag and a descriptor of the thread's namespace, and read its algorithms."""
    with ExitStack() as undo:
        diag = undo.enter_context(open_sock_diag())
        own = undo.enter_context(Fd(os.open(OWN_NAMESPACE, os.O_RDONLY | os.O_CLOEXEC)))
        controls = read_congestion_controls()
        undo.pop_all()
    return diag, controls, own


class HeldNamespaces:
    """The namespaces by inode. ``words`` choose some; ``stack`` closes their descriptors.

    ``notes`` are for the user, each once. ``hidden`` is the number of processes that this
    one may not inspect. ``not_inspected`` names, by subject, the objects that may have more
    sockets.
    """

    def __init__(self, source: Source, words: Sequence[str], stack: ExitStack) -> None:
        self._source, self._words, self._stack = source, words, stack
        self._held: dict[int, HeldNamespace] = {}
        self.notes: dict[str, None] = {}
        self.hidden = 0
        self.not_inspected: dict[str, str] = {}

    @property
    def are_chosen(self) -> bool:
        """Whether only some namespaces are drained."""
        return bool(self._words)

    def __iter__(self) -> Iterator[HeldNamespace]:
        return iter(list(self._held.values()))

    def get(self, inode: int | None) -> HeldNamespace | None:
        """Return a namespace that is held."""
        return None if inode is None else self._held.get(inode)

    def look(self) -> None:
        """Hold the namespaces that are new since the last look."""
        found = find_namespaces()
        if first := not self._held:
            self._count_hidden()
        for namespace in select_namespaces(found, self._words) if self._words else found:
            self._take(namespace, must_have_a_target=first)

    def _count_hidden(self) -> None:
        """Count the processes that this one lacks the right to inspect.

        With CAP_SYS_PTRACE the unreadable processes belong to other containers.
        """
        self.hidden = 0 if has_capability(CAP_SYS_PTRACE) else unreadable_processes()
        if self.hidden and not self._words:
            count = counted(self.hidden, "process", "processes")
            self.not_inspected["processes"] = f"the network namespaces of {count}"

    def _take(self, namespace: NetNamespace, *, must_have_a_target: bool = False) -> HeldNamespace | None:
        """Hold a namespace by a descriptor, because the process that led to it may end."""
        if namespace.inode in self._held:
            return self._held[namespace.inode]
        try:
            diag, controls, own = inside(namespace, _hold)
        except NotFoundError:
            return None
        except NotPermittedError as error:
            if self._words:
                raise
            self.not_inspected[namespace.title] = f"the network namespace {namespace.title} ({error.why})"
            return None
        self._stack.enter_context(diag)
        self._stack.enter_context(own)
        path = f"/proc/self/fd/{own.fileno()}"
        held = HeldNamespace(namespace._replace(path=path), diag, None, controls.default)
        self._held[namespace.inode] = held
        if self._source.target is not None or tcp_sockets(diag, algorithm=self._source.name):
            with nullcontext() if must_have_a_target else suppress(UsageError):  # each socket raises it then
                self.target_of(held)
        return held

    def of_socket(self, inode: int | None, tcp: RawSocket) -> HeldNamespace | None:
        """Return the namespace of a socket, which may be the only one that leads there."""
        if (held := self.get(inode)) is not None:
            return held
        try:
            fd = namespace_of(tcp)
        except OSError:
            return None
        number = os.fstat(fd.fileno()).st_ino
        if number in self._held or self._words:
            fd.close()
            return self._held.get(number)
        self._stack.enter_context(fd)
        return self._take(NetNamespace(number, f"/proc/self/fd/{fd.fileno()}"))

    def target_of(self, held: HeldNamespace) -> str:
        """Return the new algorithm of the sockets of a namespace.

        Raises ``UsageError`` if the namespace has none.
        """
        if held.target is not None:
            return held.target
        target = default_target(self._source, held.default, held.namespace.title)
        self._held[held.namespace.inode] = held._replace(target=target)
        return target
