"""Move every socket that a process owns off a congestion control, in every namespace.

Each pass moves the sockets that it finds, until none is left: listeners, defaults and
programs make new sockets meanwhile. One system call moves one socket, so an interrupted
run leaves each socket on the old algorithm or on the new one.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import ExitStack, suppress
from errno import EPERM
from typing import NamedTuple

from structops_cli.btf.kernel_types import KernelTypes
from structops_cli.errors import NotPermittedError, StructopsError, UnsupportedError, UsageError
from structops_cli.net.congestion_controls import read_congestion_controls
from structops_cli.net.namespace_entry import inside
from structops_cli.net.namespaces import NetNamespace
from structops_cli.net.sock_diag import TcpSocket, accept_queues, tcp_sockets
from structops_cli.net.socket_destroy import destroy, orphans_are_destroyed
from structops_cli.net.socket_owners import command_of
from structops_cli.net.tcp_socket import (
    SOCKET_GONE,
    RawSocket,
    choose_algorithm,
    congestion_control_of,
    connection_has_ended,
    foreign_socket,
)
from structops_cli.operations.drain_finders import OpenSocket, choose_finder
from structops_cli.operations.drain_namespaces import HeldNamespace, HeldNamespaces
from structops_cli.operations.drain_report import LASTING, Drained, Left, LeftReason, why_ended, why_left
from structops_cli.operations.drain_source import BUILT_IN, Source, choose_source
from structops_cli.operations.transaction import Caller, Recovery, Step, Transaction, transaction
from structops_cli.shell_words import shell_words

DRAIN_S = 10.0
"""Default time for moving sockets."""
PAUSE_S = 0.1
"""Pause after a pass that moved nothing: a listener's owner or a peer has to act first."""
ENDED_IN_QUEUE = "a connection that was destroyed before it was accepted holds its algorithm until it is accepted, or its listener closed"
ORPHANS_STAY = "this kernel does not destroy what no process owns: it would only lose its data and stay (tcp_abort before Linux 6.11)"


class DrainOptions(NamedTuple):
    """The options of a drain.

    ``to``: the new algorithm; None for the default of each namespace. ``kill``: destroy the
    sockets that cannot be moved. ``namespaces``: only these namespaces, as ``--netns`` takes
    them.
    """

    to: str | None = None
    timeout_s: float = DRAIN_S
    kill: bool = False
    namespaces: tuple[str, ...] = ()


def drain(
    kernel: KernelTypes,
    selector: str,
    options: DrainOptions | None = None,
    *,
    dry_run: bool = False,
    caller: Caller | None = None,
    progress: Callable[[str], object] = str,
) -> Drained:
    """Move sockets off an algorithm, until none is left or the time is over.

    Before the first change it raises ``UsageError`` if a namespace has no target, and
    ``UnsupportedError`` if it cannot distinguish versions and has to. Raises
    ``NotPermittedError`` if no socket was found and not everything could be inspected.
    """
    options = options or DrainOptions()
    with transaction(dry_run=dry_run, caller=caller) as run:
        return drain_sockets(run, choose_source(kernel, selector, options.to), options, progress)


def drain_sockets(
    run: Transaction, source: Source, options: DrainOptions, progress: Callable[[str], object] = str
) -> Drained:
    """Execute a drain as one step, which an error or a signal leaves half-done.

    Raises as ``drain``.
    """
    results: list[Drained] = []

    def passes(*, dry_run: bool) -> None:
        with ExitStack() as stack:
            results.append(_Drain(source, options, stack, dry_run=dry_run).run(progress))

    step = Step(lambda: passes(dry_run=False), check=lambda: passes(dry_run=True))
    run.steps([step], recovery=Recovery.NONE)
    [done] = results
    if done.not_inspected and not (done.left or done.moved or done.destroyed):
        raise NotPermittedError(
            f"the sockets that use {source.name} could not be looked for",
            why=f"none was found, and this process may not inspect: {'; '.join(done.not_inspected)}",
            hint="run as root; or say which namespace is meant, with --netns",
            errno=EPERM,
            operation="open",
        )
    return done


class _Drain:
    """The state of one drain: the namespaces, and the results of the passes so far."""

    def __init__(self, source: Source, options: DrainOptions, stack: ExitStack, *, dry_run: bool) -> None:
        self._source, self._options, self._dry_run = source, options, dry_run
        self._namespaces = HeldNamespaces(source, options.namespaces, stack)
        self._finder = choose_finder(source, self._namespaces, stack)
        self._moved: Counter[str] = Counter()
        self._done: set[int] = set()
        self._killed: set[int] = set()
        self._destroyed = self._passes = self._moves = 0
        if source.versions_matter and source.target != source.name and not self._finder.exact:
            raise UnsupportedError(
                f"the versions of {source.name} cannot be told apart here",
                why="this kernel has no BPF iterators over sockets, or this process may not load them",
                hint=f"select by name, {shell_words('structops', 'drain', source.name)}, to move the sockets of all of them",
            )

    def run(self, progress: Callable[[str], object]) -> Drained:
        """Make passes until nothing is left, nothing can be moved, or the time is over."""
        kill = self._options.kill
        self._namespaces.look()
        deadline = time.monotonic() + self._options.timeout_s
        left = self._pass()
        if self._dry_run:
            return self._report(self._check_kill(left) if kill else left)
        reported = 0
        while left and time.monotonic() < deadline and not (kill and not self._moves):
            if (total := self._moved.total()) != reported:
                reported = total
                progress(f"{total} moved, {len(left)} left")
            if not self._moves:
                if all(item.reason in LASTING for item in left):
                    break
                time.sleep(PAUSE_S)
            self._namespaces.look()
            left = self._pass()
        return self._report(self._kill(left) if kill and left else left)

    # One pass

    def _pass(self) -> list[Left]:
        """Move the sockets that can be moved, and return those that are left."""
        self._passes += 1
        self._moves = 0
        refused: dict[int, Left] = {}
        handled: set[int] = set()
        for one in self._finder.open_sockets(self._list_tables, handled):
            if one.inode not in handled:
                with suppress(_SocketGoneError):
                    left = self._move(one)
                    if left is None:
                        refused.pop(one.inode, None)
                    else:
                        refused[one.inode] = left
                    # this process may be allowed to trace another owner of the socket
                    if left is None or left.reason != LeftReason.PERMISSION:
                        handled.add(one.inode)
        return self._left(refused, self._finder.listed - handled)

    def _list_tables(self) -> set[int]:
        return {tcp.inode for held in self._namespaces for tcp in self._in_tables(held)}

    def _move(self, one: OpenSocket) -> Left | None:
        """Move one socket if it uses the source. Return the reason if it cannot be moved."""
        try:
            with foreign_socket(one.process, one.fd, one.inode, one.thread) as tcp:
                if tcp is None:
                    self._finder.not_tcp(one.inode)
                    raise _SocketGoneError
                if congestion_control_of(tcp) != self._source.name or self._is_settled(one):
                    return None
                held = self._namespaces.of_socket(one.namespace, tcp)
                return None if held is None else self._set(one, tcp, held)
        except OSError as error:
            if error.errno in SOCKET_GONE:
                raise _SocketGoneError from None
            if error.errno in NotPermittedError.ERRNOS:
                process = f"process {one.process} ({command_of(one.process) or '?'})"
                return self._untouched(one, LeftReason.PERMISSION, f"{process} may not be traced by this one")
            return self._untouched(one, LeftReason.REFUSED, error.strerror or "")

    def _is_settled(self, one: OpenSocket) -> bool:
        """Tell whether an earlier pass moved a socket to another version of the same name."""
        same_name = self._source.target == self._source.name
        return not self._finder.exact and same_name and one.inode in self._done

    def _set(self, one: OpenSocket, tcp: RawSocket, held: HeldNamespace) -> Left | None:
        try:
            target = self._namespaces.target_of(held)
            if not self._dry_run:
                choose_algorithm(tcp, target)
        except UsageError as error:
            return Left(held.namespace, None, LeftReason.REFUSED, error.hint, one.process, one.inode)
        except OSError as error:
            reason, why = LeftReason.REFUSED, error.strerror or ""
            if one.inode in self._killed or connection_has_ended(tcp):
                reason = LeftReason.STILL_OPEN
                why = "its connection has ended; the kernel lets go when its process closes it"
            elif error.errno == EPERM:
                why = "a route with a locked congctl chose it, or CAP_NET_ADMIN over its namespace is missing"
            return Left(held.namespace, None, reason, why, one.process, one.inode)
        self._done.add(one.inode)
        self._moved[held.namespace.title] += 1
        self._moves += 1
        return None

    def _untouched(self, one: OpenSocket, reason: LeftReason, why: str) -> Left | None:
        """Describe a socket that could not be opened; None if its namespace was not chosen."""
        held = self._namespaces.get(one.namespace)
        if held is None and self._namespaces.are_chosen:
            return None
        namespace = held.namespace if held else NetNamespace(one.namespace or 0, "")
        return Left(namespace, None, reason, why, one.process, one.inode)

    # Left sockets

    def _left(self, refused: dict[int, Left], unowned: set[int]) -> list[Left]:
        """Return the sockets in the kernel's tables, and refused sockets without an address.

        ``unowned`` were listed before the search for owners, which found none of theirs.
        """
        found: list[Left] = []
        in_tables = set()
        for held in self._namespaces:
            for tcp in self._in_tables(held):
                in_tables.add(tcp.inode)
                known = refused.get(tcp.inode) if tcp.inode else None
                if known is not None:
                    found.append(known._replace(tcp=tcp, namespace=held.namespace))
                elif not (self._dry_run and tcp.inode in self._done):
                    new = tcp.inode not in unowned
                    found.append(why_left(held.namespace, tcp, new=new, hidden=self._finder.hidden))
            found += self._ended(held)
        if not self._finder.exact or BUILT_IN in self._source.map_ids:
            return found  # the version of a socket without an address is unknown
        return found + [item for inode, item in refused.items() if inode not in in_tables]

    def _in_tables(self, held: HeldNamespace) -> list[TcpSocket]:
        found = tcp_sockets(held.diag, algorithm=self._source.name)
        if not self._source.versions_matter or not found:
            return found
        return self._finder.of_versions(held.namespace, found, self._done)

    def _ended(self, held: HeldNamespace) -> list[Left]:
        """Return the connections that ended in a listener's queue: they are in no table."""
        queues = [one for one in accept_queues(held.diag) if one.ended]
        if not queues:
            return []
        return [why_ended(held.namespace, queues)] * self._finder.ended_in_queues(held.namespace)

    # --kill

    def _kill(self, left: list[Left]) -> list[Left]:
        """Make another pass, destroy the sockets that it cannot move either; return the rest."""
        time.sleep(PAUSE_S)
        self._namespaces.look()
        queued = self._destroy(without_hope(self._pass(), left))
        left = self._pass()
        if queued and not any(item.reason == LeftReason.NOT_ACCEPTED for item in left):
            self._namespaces.notes[ENDED_IN_QUEUE] = None
        return left

    def _destroy(self, doomed: Iterable[Left]) -> bool:
        """Destroy connections; tell whether one of them was not accepted yet."""
        queued = False
        for item in doomed:
            held = self._namespaces.get(item.namespace.inode)
            if held is None or item.tcp is None:
                continue
            if _is_spared(item):
                self._namespaces.notes[ORPHANS_STAY] = None
                continue
            try:
                done = destroy(held.diag, item.tcp)
            except StructopsError as error:
                self._namespaces.notes[f"{error.what}: {error.why}"] = None
                continue
            self._killed.add(item.tcp.inode)
            self._destroyed += done
            queued |= done and item.reason == LeftReason.NOT_ACCEPTED
        return queued

    def _check_kill(self, left: list[Left]) -> list[Left]:
        """Count the sockets that would be destroyed, and return the rest."""
        doomed = [item for item in without_hope(left, left) if not _is_spared(item)]
        self._destroyed = len(doomed)
        return [item for item in left if item not in doomed]

    # Report

    def _report(self, left: list[Left]) -> Drained:
        return Drained(
            self._source,
            {held.namespace.title: held.target for held in self._namespaces if held.target is not None},
            dict(self._moved),
            tuple(left),
            self._destroyed,
            self._passes,
            self._defaults(),
            tuple(self._namespaces.notes),
            self._finder.exact or not self._source.versions_matter,
            tuple(self._namespaces.not_inspected.values()),
        )

    def _defaults(self) -> tuple[str, ...]:
        """Return the namespaces whose new sockets get the source."""
        suspects = [held for held in self._namespaces if held.default == self._source.name]
        return tuple(held.namespace.title for held in suspects if self._gives(held.namespace))

    def _gives(self, namespace: NetNamespace) -> bool:
        with suppress(StructopsError):
            if inside(namespace, read_congestion_controls).default != self._source.name:
                return False
            map_id = self._finder.default_map(namespace) if self._source.versions_matter else None
            return map_id is None or map_id in self._source.map_ids
        return False


class _SocketGoneError(Exception):
    """The process has ended, or has closed the socket."""


def without_hope(left: Iterable[Left], before: Iterable[Left]) -> list[Left]:
    """Return the sockets that are left after two passes, if owners were searched for in both.

    A socket has no owner for a moment while a process passes it to another or accepts it.
    """
    known = {item.tcp.cookie for item in before if item.tcp and item.reason != LeftReason.CAME_BACK}
    return [
        item
        for item in left
        if item.tcp is not None and item.tcp.cookie in known and item.reason != LeftReason.CAME_BACK
    ]


def _is_spared(item: Left) -> bool:
    """Tell whether this kernel would not destroy a connection."""
    return item.reason == LeftReason.ORPHANED and not orphans_are_destroyed()
