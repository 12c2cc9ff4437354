"""Move every socket that a process owns off a congestion control, live, in every namespace.

In passes, until none is left: sockets are made meanwhile, by listeners, by defaults, by
programs that choose. Each socket is moved by one system call, so whatever ends
this between two of them leaves every socket on the old algorithm or on the new one.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, suppress
from errno import EPERM
from typing import NamedTuple

from structops_cli.counted import counted
from structops_cli.errors import (
    NotFoundError,
    NotPermittedError,
    StructopsError,
    UnsupportedError,
    UsageError,
)
from structops_cli.net.congestion_controls import read_congestion_controls
from structops_cli.net.namespace_entry import inside
from structops_cli.net.namespaces import NetNamespace
from structops_cli.net.sock_diag import TcpSocket, accept_queues, tcp_sockets
from structops_cli.net.socket_owners import command_of, find_owners
from structops_cli.net.tcp_socket import (
    SOCKET_GONE,
    RawSocket,
    choose_algorithm,
    congestion_control_of,
    connection_has_ended,
    foreign_socket,
)
from structops_cli.operations.drain_kill import destroy_all, is_spared, without_hope
from structops_cli.operations.drain_places import Place, Places
from structops_cli.operations.drain_plan import BUILT_IN, CAP_SYS_PTRACE, Source, has_capability
from structops_cli.operations.drain_report import (
    LASTING,
    NOT_ACCEPTED,
    STILL_OPEN,
    Drained,
    Left,
    why_ended,
    why_left,
)
from structops_cli.runtime.holders import AlgorithmReader
from structops_cli.shell_words import shell_words

__all__ = ["drain"]

PAUSE_S = 0.1
"""Between two passes: what is left then waits for somebody, a listener's owner or the peer."""
ENDED_IN_QUEUE = "a connection that was destroyed before it was accepted holds its algorithm until it is accepted, or its listener closed"


class Candidate(NamedTuple):
    """A descriptor that may be of a socket to move; ``namespace`` is an inode, 0 if it is not known yet."""

    process: int
    thread: int
    fd: int
    inode: int
    namespace: int


def drain(
    source: Source,
    words: Sequence[str] = (),
    *,
    timeout_s: float,
    kill: bool = False,
    dry_run: bool = False,
    say: Callable[[str], object] = str,
) -> Drained:
    """Move sockets until none is left, nothing more can be done, or the time is over; ``say`` is told the progress.

    ``words`` mean the namespaces, all without. ``kill`` destroys what cannot be moved. Raises
    ``UsageError`` when a namespace has no target, ``UnsupportedError`` when versions have to be told apart and cannot
    be here, before anything is done; ``NotPermittedError`` when nothing was found and not everything could be looked at.
    """
    with ExitStack() as stack:
        work = _Work(source, words, stack, dry_run=dry_run)
        work.places.look()
        deadline = time.monotonic() + timeout_s
        left = work.run_pass()
        if dry_run:
            return _seen(work.report(work.rehearse_kill(left) if kill else left))
        said = 0
        while left and time.monotonic() < deadline and not (kill and not work.moves):
            if work.total != said:
                said = work.total
                say(f"{said} moved, {len(left)} left")
            if not work.moves:
                if all(item.reason in LASTING for item in left):
                    break
                time.sleep(PAUSE_S)
            work.places.look()
            left = work.run_pass()
        if kill and left:
            left = work.kill(left)
        return _seen(work.report(left))


def _seen(done: Drained) -> Drained:
    """Hold that "none" is not said of what could not be looked at."""
    if done.unseen and not (done.left or done.moved or done.destroyed):
        raise NotPermittedError(
            f"the sockets that use {done.source.name} could not be looked for",
            why=f"none is in sight, and this may not be looked at: {'; '.join(done.unseen)}",
            hint="run as root; or say which namespace is meant, with --netns",
            errno=EPERM,
            operation="open",
        )
    return done


class _Work:
    """The state of one drain: the namespaces in hand, and what has been done so far."""

    def __init__(self, source: Source, words: Sequence[str], stack: ExitStack, *, dry_run: bool) -> None:
        self._source, self._dry_run = source, dry_run
        self.places = Places(source, words, stack)
        self._reader = _reader(stack)
        self._moved: Counter[str] = Counter()
        self._done: set[int] = set()
        self._no_tcp: set[int] = set()
        self._killed: set[int] = set()
        self._destroyed = self._passes = self.moves = self._hidden = 0
        if self._reader is None and source.versions_matter and source.target != source.name:
            raise UnsupportedError(
                f"the versions of {source.name} cannot be told apart here",
                why="this kernel has no BPF iterators over sockets, or this process may not load them",
                hint=f"select by name, {shell_words('structops', 'drain', source.name)}, to move the sockets of all of them",
            )

    @property
    def total(self) -> int:
        """How many sockets have been moved so far."""
        return sum(self._moved.values())

    # One pass

    def run_pass(self) -> list[Left]:
        """Move what can be moved, and return what is left afterwards."""
        self._passes += 1
        self.moves = 0
        refused: dict[int, Left] = {}
        seen: set[int] = set()
        if self._reader is None:
            known = self._in_tables()
        self._move_each(self._candidates(), refused, seen)
        if self._reader is not None:
            known = self._in_tables()
            self._move_each(self._of_tables(known - seen - {0}), refused, seen)
        return self._left(refused, known - seen)

    def _move_each(self, candidates: Iterable[Candidate], refused: dict[int, Left], seen: set[int]) -> None:
        for candidate in candidates:
            if candidate.inode not in seen and candidate.inode not in self._no_tcp:
                with suppress(_Vanished):
                    left = self._move(candidate)
                    if left is None:
                        refused.pop(candidate.inode, None)
                    else:
                        refused[candidate.inode] = left
                    if (
                        left is None or left.reason != "permission"
                    ):  # another owner may be one that may be traced
                        seen.add(candidate.inode)

    def _in_tables(self) -> set[int]:
        return {tcp.inode for place in self.places for tcp in self._still_there(place)}

    def _of_tables(self, wanted: set[int]) -> Iterator[Candidate]:
        """Go through owners of sockets that the iterator did not show: of threads with descriptors of their own, and new ones."""
        if wanted:
            for one in self._of_owners():
                if one.inode in wanted:
                    yield one

    def _of_owners(self) -> Iterator[Candidate]:
        """Go through all descriptors of sockets that may be looked at."""
        found = find_owners(threads=True)
        self._hidden = max(len(found.unreadable), self.places.hidden)
        for inode, owners in found.by_inode.items():
            for owner in owners:
                yield Candidate(owner.process, owner.thread, owner.fd, inode, 0)

    def _candidates(self) -> Iterator[Candidate]:
        """Go through descriptors of sockets that may be meant."""
        if self._reader is not None:
            ids = self._source.map_ids
            for file in self._reader.open_files():
                if file.socket is not None and file.socket.map_id in ids:
                    yield Candidate(file.process, 0, file.fd, file.inode, file.socket.netns)
            return
        yield from self._of_owners()
        if self._hidden:  # what is in no table is known by its descriptor alone
            said = f"the open files of {counted(self._hidden, 'process', 'processes')}"
            if has_capability(CAP_SYS_PTRACE):
                self.places.notes[f"{said} cannot be looked at"] = None
            else:
                self.places.unseen["files"] = said

    def _move(self, one: Candidate) -> Left | None:
        """Move one socket if it is meant; return why not when it cannot be, ``_Vanished`` when it has gone."""
        try:
            with foreign_socket(one.process, one.fd, one.inode, one.thread) as tcp:
                if tcp is None:
                    if self._reader is None:
                        self._no_tcp.add(one.inode)
                    raise _Vanished
                if congestion_control_of(tcp) != self._source.name or self._is_settled(one):
                    return None
                place = self.places.of_socket(one.namespace, tcp)
                if place is None:
                    return None
                return self._set(one, tcp, place)
        except OSError as error:
            if error.errno in SOCKET_GONE:
                raise _Vanished from None
            if error.errno in NotPermittedError.ERRNOS:
                who = f"process {one.process} ({command_of(one.process) or '?'})"
                return self._untouched(one, "permission", f"{who} may not be traced by this one")
            return self._untouched(one, "refused", error.strerror or "")

    def _is_settled(self, one: Candidate) -> bool:
        """Tell whether a socket that shows the same name before and after was moved in an earlier pass."""
        return self._reader is None and self._source.target == self._source.name and one.inode in self._done

    def _set(self, one: Candidate, tcp: RawSocket, place: Place) -> Left | None:
        try:
            place = self.places.with_target(place)
            if not self._dry_run:
                choose_algorithm(tcp, place.target)
        except UsageError as error:
            return Left(place.namespace, None, "refused", error.hint, one.process, one.inode)
        except OSError as error:
            if one.inode in self._killed or connection_has_ended(tcp):
                why = "its connection has ended; the kernel lets go when its process closes it"
                return Left(place.namespace, None, STILL_OPEN, why, one.process, one.inode)
            why = error.strerror or ""
            if error.errno == EPERM:
                why = "a route with a locked congctl chose it, or CAP_NET_ADMIN over its namespace is missing"
            return Left(place.namespace, None, "refused", why, one.process, one.inode)
        self._done.add(one.inode)
        self._moved[place.namespace.title] += 1
        self.moves += 1
        return None

    def _untouched(self, one: Candidate, reason: str, why: str) -> Left | None:
        """Return what is said of a socket that could not be had; None when its namespace is not meant."""
        place = self.places.get(one.namespace)
        if place is None and self.places.are_chosen:
            return None
        namespace = place.namespace if place else NetNamespace(one.namespace, "")
        return Left(namespace, None, reason, why, one.process, one.inode)

    # What is left

    def _left(self, refused: dict[int, Left], unowned: set[int]) -> list[Left]:
        """Look at the kernel's tables once more; what has no address is known from the pass alone.

        ``unowned`` are sockets that were there when owners were looked for, and had none.
        """
        found: list[Left] = []
        in_tables = set()
        for place in self.places:
            for tcp in self._still_there(place):
                in_tables.add(tcp.inode)
                known = refused.get(tcp.inode) if tcp.inode else None
                if known is not None:
                    found.append(known._replace(tcp=tcp, namespace=place.namespace))
                elif not (self._dry_run and tcp.inode in self._done):
                    new = tcp.inode not in unowned
                    found.append(why_left(place.namespace, tcp, new=new, hidden=self._hidden))
            found += self._ended(place)
        if (
            self._reader is None or BUILT_IN in self._source.map_ids
        ):  # then nothing tells that such a socket is meant
            return found
        return found + [item for inode, item in refused.items() if inode not in in_tables]

    def _still_there(self, place: Place) -> list[TcpSocket]:
        found = tcp_sockets(place.diag, algorithm=self._source.name)
        if not self._source.versions_matter or not found:
            return found
        if self._reader is None:
            return [item for item in found if item.inode not in self._done]
        with suppress(NotFoundError):
            uses = inside(place.namespace, self._reader.sockets)
            return [item for item in found if uses.get(item.cookie) in self._source.map_ids]
        return []

    def _ended(self, place: Place) -> list[Left]:
        """Return what has ended in a listener's queue, and is in no table any more."""
        if self._reader is None or BUILT_IN in self._source.map_ids:  # then nothing tells what it used
            return []
        queues = [one for one in accept_queues(place.diag) if one.ended]
        if not queues:
            return []
        with suppress(NotFoundError, UnsupportedError):
            uses = inside(place.namespace, self._reader.ended_in_queues).uses
            mine = [use for use in uses if use.map_id in self._source.map_ids]
            return [why_ended(place.namespace, queues)] * len(mine)
        return []

    def kill(self, left: list[Left]) -> list[Left]:
        """Look again, destroy what nobody can move even then, and return what is left after that."""
        time.sleep(PAUSE_S)
        self.places.look()
        done = destroy_all(self.places, without_hope(self.run_pass(), left))
        self._killed |= done.inodes
        self._destroyed += done.destroyed
        left = self.run_pass()
        if done.queued and not any(item.reason == NOT_ACCEPTED for item in left):
            self.places.notes[ENDED_IN_QUEUE] = None
        return left

    def rehearse_kill(self, left: list[Left]) -> list[Left]:
        """Count what would be destroyed, as far as one look tells, and return what would be left after that."""
        doomed = [item for item in without_hope(left, left) if not is_spared(item)]
        self._destroyed = len(doomed)
        return [item for item in left if item not in doomed]

    def report(self, left: list[Left]) -> Drained:
        """Return the whole of it."""
        places = [place for place in self.places if place.target]
        return Drained(
            self._source,
            {place.namespace.title: place.target for place in places},
            dict(self._moved),
            tuple(left),
            self._destroyed,
            self._passes,
            self._defaults(),
            tuple(self.places.notes),
            self._reader is not None or not self._source.versions_matter,
            tuple(self.places.unseen.values()),
        )

    def _defaults(self) -> tuple[str, ...]:
        """Return the namespaces whose new sockets get what is being drained, versions told apart where they can be."""
        suspects = [place for place in self.places if place.default == self._source.name]
        return tuple(place.namespace.title for place in suspects if self._gives(place))

    def _gives(self, place: Place) -> bool:
        """Tell whether a namespace gives new sockets what is being drained, now."""
        with suppress(StructopsError):
            if inside(place.namespace, read_congestion_controls).default != self._source.name:
                return False
            if self._reader is None or not self._source.versions_matter:
                return True
            return inside(place.namespace, self._reader.default) in self._source.map_ids
        return False


class _Vanished(Exception):  # noqa: N818 -- no error: the process ended, or closed it
    """What a candidate meant is there no more."""


def _reader(stack: ExitStack) -> AlgorithmReader | None:
    """Return what tells versions apart and sees sockets without an address, None where that is not to be had."""
    try:
        reader = stack.enter_context(AlgorithmReader())
        reader.open_files()
    except (UnsupportedError, NotPermittedError):
        return None
    return reader
