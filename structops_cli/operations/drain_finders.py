"""Find the sockets of an algorithm, and the descriptors by which they can be moved.

BPF iterators (Linux 5.11) show the map of each socket, and sockets without an address.
Without them (Linux 5.10, lockdown, or no CAP_BPF) inet_diag and the descriptors of all
processes find the sockets by the name of their algorithm.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterator
from contextlib import ExitStack, suppress
from typing import NamedTuple, Protocol

from structops_cli.counted import counted
from structops_cli.errors import NotFoundError, NotPermittedError, UnsupportedError
from structops_cli.net.namespace_entry import inside
from structops_cli.net.namespaces import NetNamespace
from structops_cli.net.sock_diag import TcpSocket
from structops_cli.net.socket_owners import find_owners
from structops_cli.operations.drain_namespaces import HeldNamespaces
from structops_cli.operations.drain_source import BUILT_IN, CAP_SYS_PTRACE, Source, has_capability
from structops_cli.runtime.holders import AlgorithmReader


class OpenSocket(NamedTuple):
    """A descriptor that may be of a drained socket; ``namespace`` is an inode if known."""

    process: int
    thread: int
    fd: int
    inode: int
    namespace: int | None


class SocketFinder(Protocol):
    """A way to find sockets."""

    @property
    def exact(self) -> bool:
        """Whether it shows the map of a socket, and not only the name of its algorithm."""

    @property
    def hidden(self) -> int:
        """The number of processes that could not be inspected in the last pass."""

    @property
    def listed(self) -> set[int]:
        """The inodes in the tables of the last pass, 0 for a socket without a file."""

    def open_sockets(
        self, list_tables: Callable[[], set[int]], handled: Container[int]
    ) -> Iterator[OpenSocket]:
        """Yield descriptors; the caller adds the inodes of moved sockets to ``handled`` meanwhile.

        ``list_tables`` reads the inodes of the sockets that the kernel's tables show.
        """

    def not_tcp(self, inode: int) -> None:
        """Receive the inode of a socket that is not TCP."""

    def of_versions(
        self, namespace: NetNamespace, found: list[TcpSocket], moved: Container[int]
    ) -> list[TcpSocket]:
        """Keep the sockets of a table that use the drained versions."""

    def ended_in_queues(self, namespace: NetNamespace) -> int:
        """Count the ended connections in listeners' queues that are known to use a drained map."""

    def default_map(self, namespace: NetNamespace) -> int | None:
        """Return the map id of the default of a namespace; None if it cannot be read."""


def choose_finder(source: Source, namespaces: HeldNamespaces, stack: ExitStack) -> SocketFinder:
    """Return the iterators if this kernel and process have them, else the search by name."""
    reader = _reader(stack)
    return TableFinder(namespaces) if reader is None else IteratorFinder(source, namespaces, reader)


def _reader(stack: ExitStack) -> AlgorithmReader | None:
    try:
        reader = stack.enter_context(AlgorithmReader())
        reader.open_files()
    except (UnsupportedError, NotPermittedError):
        return None
    return reader


class _Finder:
    """The search through the descriptors of all processes."""

    def __init__(self, namespaces: HeldNamespaces) -> None:
        self._namespaces = namespaces
        self.hidden = 0
        self.listed: set[int] = set()

    def _of_owners(self) -> Iterator[OpenSocket]:
        found = find_owners(threads=True)
        self.hidden = max(len(found.unreadable), self._namespaces.hidden)
        for inode, owners in found.by_inode.items():
            for owner in owners:
                yield OpenSocket(owner.process, owner.thread, owner.fd, inode, None)


class IteratorFinder(_Finder):
    """Finds sockets by BPF iterators."""

    exact = True

    def __init__(self, source: Source, namespaces: HeldNamespaces, reader: AlgorithmReader) -> None:
        super().__init__(namespaces)
        self._map_ids = source.map_ids
        self._reader = reader

    def open_sockets(
        self, list_tables: Callable[[], set[int]], handled: Container[int]
    ) -> Iterator[OpenSocket]:
        """Yield the iterator's descriptors, then the others of sockets in the tables.

        The iterator misses threads with descriptors of their own, and new sockets.
        """
        for file in self._reader.open_files():
            if file.socket is not None and file.socket.map_id in self._map_ids:
                yield OpenSocket(file.process, 0, file.fd, file.inode, file.socket.netns)
        self.listed = list_tables()
        if wanted := {inode for inode in self.listed if inode and inode not in handled}:
            yield from (one for one in self._of_owners() if one.inode in wanted)

    def not_tcp(self, inode: int) -> None:
        """Do nothing: the iterator shows only TCP sockets."""

    def of_versions(
        self,
        namespace: NetNamespace,
        found: list[TcpSocket],
        moved: Container[int],  # noqa: ARG002 -- as the other finder
    ) -> list[TcpSocket]:
        """Keep the sockets whose map is drained."""
        with suppress(NotFoundError):
            map_ids = inside(namespace, self._reader.sockets)
            return [item for item in found if map_ids.get(item.cookie) in self._map_ids]
        return []

    def ended_in_queues(self, namespace: NetNamespace) -> int:
        """Count them; 0 for a built-in algorithm, whose map is unknown, and before Linux 5.17."""
        if BUILT_IN not in self._map_ids:
            with suppress(NotFoundError, UnsupportedError):
                found = inside(namespace, self._reader.ended_in_queues).uses
                return sum(use.map_id in self._map_ids for use in found)
        return 0

    def default_map(self, namespace: NetNamespace) -> int | None:
        """Return the map id of the default of a namespace."""
        return inside(namespace, self._reader.default)


class TableFinder(_Finder):
    """Finds sockets by inet_diag and by the descriptors of processes."""

    exact = False

    def __init__(self, namespaces: HeldNamespaces) -> None:
        super().__init__(namespaces)
        self._not_tcp: set[int] = set()

    def open_sockets(
        self,
        list_tables: Callable[[], set[int]],
        handled: Container[int],  # noqa: ARG002 -- as the other finder
    ) -> Iterator[OpenSocket]:
        """Yield the descriptors of all sockets: an unconnected one is in no table."""
        self.listed = list_tables()
        yield from (one for one in self._of_owners() if one.inode not in self._not_tcp)
        if self.hidden:
            files = f"the open files of {counted(self.hidden, 'process', 'processes')}"
            if has_capability(CAP_SYS_PTRACE):
                self._namespaces.notes[f"{files} cannot be looked at"] = None
            else:
                self._namespaces.not_inspected["files"] = files

    def not_tcp(self, inode: int) -> None:
        """Skip the socket in later passes."""
        self._not_tcp.add(inode)

    def of_versions(
        self,
        namespace: NetNamespace,  # noqa: ARG002 -- as the other finder
        found: list[TcpSocket],
        moved: Container[int],
    ) -> list[TcpSocket]:
        """Keep the sockets that were not moved, because old and new version have one name."""
        return [item for item in found if item.inode not in moved]

    def ended_in_queues(self, namespace: NetNamespace) -> int:  # noqa: ARG002 -- as the other finder
        """Return 0: their algorithm is unknown."""
        return 0

    def default_map(self, namespace: NetNamespace) -> int | None:  # noqa: ARG002 -- as the other finder
        """Return None: only the name is known."""
        return None
