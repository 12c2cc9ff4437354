"""The network namespaces whose sockets are drained: in hand from when they are first seen, with where their sockets go."""

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
from structops_cli.operations.drain_plan import CAP_SYS_PTRACE, Source, default_target, has_capability
from structops_cli.syscall.fd import Fd

__all__ = ["Place", "Places"]


class Place(NamedTuple):
    """A network namespace in hand: its inet_diag, and where its sockets go."""

    namespace: NetNamespace
    diag: NetlinkSocket
    target: str
    default: str


def _hold() -> tuple[NetlinkSocket, CongestionControls, Fd]:
    """Return what is kept of the namespace that the calling thread is in."""
    with ExitStack() as undo:
        diag = undo.enter_context(open_sock_diag())
        own = undo.enter_context(Fd(os.open(OWN_NAMESPACE, os.O_RDONLY | os.O_CLOEXEC)))
        controls = read_congestion_controls()
        undo.pop_all()
    return diag, controls, own


class Places:
    """The namespaces in hand, by inode; ``stack`` closes what is opened for them."""

    def __init__(self, source: Source, words: Sequence[str], stack: ExitStack) -> None:
        self._source, self._words, self._stack = source, words, stack
        self._places: dict[int, Place] = {}
        self.notes: dict[str, None] = {}
        """What else there is to say, each once."""
        self.hidden = 0
        """The number of processes that may not be looked at."""
        self.unseen: dict[str, str] = {}
        """What could not be looked at and may hide sockets that are meant, in words, by what it is."""

    @property
    def are_chosen(self) -> bool:
        """Whether only some namespaces are meant."""
        return bool(self._words)

    def __iter__(self) -> Iterator[Place]:
        return iter(list(self._places.values()))

    def get(self, inode: int) -> Place | None:
        """Return the place of a namespace that is in hand."""
        return self._places.get(inode)

    def look(self) -> None:
        """Take the namespaces in hand that are new since the last look."""
        found = find_namespaces()
        if first := not self._places:
            self._look_for_hidden()
        for namespace in select_namespaces(found, self._words) if self._words else found:
            self._take(namespace, must_have_a_target=first)

    def _look_for_hidden(self) -> None:
        """Count what is out of sight for want of a right; with it, what is hidden even so is another container's."""
        self.hidden = 0 if has_capability(CAP_SYS_PTRACE) else unreadable_processes()
        if self.hidden and not self._words:
            count = counted(self.hidden, "process", "processes")
            self.unseen["processes"] = f"the network namespaces of {count}"

    def _take(self, namespace: NetNamespace, *, must_have_a_target: bool = False) -> Place | None:
        """Take a namespace in hand, by a descriptor of its own: the process that led to it may end."""
        if namespace.inode in self._places:
            return self._places[namespace.inode]
        try:
            diag, controls, own = inside(namespace, _hold)
        except NotFoundError:
            return None
        except NotPermittedError as error:
            if self._words:
                raise
            self.unseen[namespace.title] = f"the network namespace {namespace.title} ({error.why})"
            return None
        self._stack.enter_context(diag)
        self._stack.enter_context(own)
        default = controls.default
        held = namespace._replace(path=f"/proc/self/fd/{own.fileno()}")
        place = self._places[namespace.inode] = Place(held, diag, "", default)
        if self._source.target is not None or tcp_sockets(diag, algorithm=self._source.name):
            with nullcontext() if must_have_a_target else suppress(UsageError):  # said of each socket then
                return self.with_target(place)
        return place

    def of_socket(self, inode: int, tcp: RawSocket) -> Place | None:
        """Return the place of a socket; its namespace may be one that nothing but the socket holds."""
        if inode in self._places:
            return self._places[inode]
        try:
            fd = namespace_of(tcp)
        except OSError:
            return None
        number = os.fstat(fd.fileno()).st_ino
        if number in self._places or self._words:
            fd.close()
            return self._places.get(number)
        self._stack.enter_context(fd)
        return self._take(NetNamespace(number, f"/proc/self/fd/{fd.fileno()}"))

    def with_target(self, place: Place) -> Place:
        """Return a place with where its sockets go; ``UsageError`` when that was not said."""
        if place.target:
            return place
        target = default_target(self._source, place.default, place.namespace.title)
        place = place._replace(target=target)
        self._places[place.namespace.inode] = place
        return place
