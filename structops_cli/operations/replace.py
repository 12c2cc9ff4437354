"""Replace a registered map by another version, and keep the old one.

The steps of ``update`` and ``rollback``: pin the maps that the new version shares by name;
pin the old version's map; replace the map (the commit point); rewrite the default sysctls;
remove the pins of dropped versions. ``restart`` replaces maps that the kernel cannot
replace behind a link.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import ExitStack, suppress
from errno import EOPNOTSUPP, EPERM
from typing import NamedTuple

from structops_cli.errors import KernelError, StateError, UnsupportedError
from structops_cli.operations.default_sysctls import DefaultSysctls, NamespaceResult
from structops_cli.operations.ready_map import ReadyMap
from structops_cli.operations.register import pin_dir_step, shared_map_steps
from structops_cli.operations.transaction import Change, Step, Transaction
from structops_cli.operations.versions import Dropped, drop, holds, keep, kept_pins, users_of
from structops_cli.runtime.live_map import LiveMap, MapState
from structops_cli.runtime.loaded import Loaded
from structops_cli.runtime.pins import check_pin_dir
from structops_cli.shell_words import shell_words
from structops_cli.struct_ops.explain import explained
from structops_cli.struct_ops.kinds import kind_of
from structops_cli.struct_ops.value import KEY, read_state
from structops_cli.syscall import bpf, bpf_maps
from structops_cli.syscall.fd import Fd
from structops_cli.syscall.info import link_info, map_info


class Replacement(NamedTuple):
    """A plan: ``new`` replaces ``live``, which is pinned at ``keep_at`` (None: not kept).

    ``new`` belongs to the caller. Without a value it is registered through a link, which
    a restart pins at ``pin``. At the end the pins ``drop`` (older versions) and ``unkeep``
    (``new`` itself) are removed. ``loaded`` is the object of ``new``, whose shared maps may have
    to be pinned; None if ``new`` was a kept version. ``kept_id`` is the id of that version's
    map, None if ``new`` is a copy of it.
    """

    live: LiveMap
    new: ReadyMap
    pin: str
    keep_at: str | None
    drop: tuple[str, ...] = ()
    unkeep: tuple[str, ...] = ()
    loaded: Loaded | None = None
    kept_id: int | None = None


class Replaced(NamedTuple):
    """The result of a replacement.

    ``map_id`` is None in a dry run if the map has no id yet. ``references`` is the
    kernel's count of sockets and defaults that still use the old version.
    ``still_kept`` are pins that could not be removed. ``gap_ns`` is the time in
    nanoseconds for which the name was free; None if the map was replaced behind its link.
    """

    link_id: int | None
    map_id: int | None
    kept: str | None
    dropped: tuple[str, ...]
    defaults: tuple[NamespaceResult, ...]
    not_inspected: tuple[NamespaceResult, ...]
    references: int
    still_kept: tuple[str, ...] = ()
    gap_ns: int | None = None


# Refusals


def refuse_unregistered(live: LiveMap) -> None:
    """Raise ``StateError`` for a map that is not registered: there is nothing to replace."""
    if live.state != MapState.REGISTERED and kept_pins(live):
        raise StateError(
            f"{live.name} (id:{live.info.id}) cannot be replaced",
            why="it is a kept version: it is not registered",
            hint=f"{shell_words('structops', 'rollback', live.name)} --to {live.info.id} puts it in the place of the registered one",
        )
    if live.state != MapState.REGISTERED:
        raise StateError(
            f"{live.name} (id:{live.info.id}) cannot be replaced",
            why=f"it is {live.state}: it is not registered",
            hint="structops register OBJ registers the new one"
            if kind_of(live.type.name).registration.registers
            else "the kernel has this type for test runs only: structops run OBJ PROGRAM",
        )


def refuse_unreplaceable(live: LiveMap) -> None:
    """Raise ``UnsupportedError`` if the kernel cannot replace a registered map behind a link."""
    what = f"{live.name} (id:{live.info.id}) cannot be replaced"
    restart = "--restart unregisters it and registers the new one; the name is gone for a moment then"
    if not live.links:
        raise UnsupportedError(
            what, why="it is registered without a link, and only a link can get another map", hint=restart
        )
    if not kind_of(live.type.name).registration.replaceable:
        raise UnsupportedError(
            what, why=f"the kernel has no way to replace a registered {live.type.name}", hint=restart
        )


# Steps


def replace(
    run: Transaction,
    plan: Replacement,
    *,
    in_place: bool,
    restart: Callable[[Attempt, ExitStack], Step] | None,
) -> tuple[Replaced, tuple[Change, ...]]:
    """Execute a plan: behind the link with ``in_place``, else with the step of ``restart``.

    A type without a file in ``kinds/`` is first replaced behind its link. If the kernel does
    not support that, nothing has changed, and ``restart`` follows.
    """
    with ExitStack() as owner:
        attempt = Attempt(plan, owner, dry_run=run.dry_run)
        if in_place or restart is None:
            try:
                return attempt.execute(run, attempt.in_place())
            except KernelError as error:
                if error.errno != EOPNOTSUPP or restart is None:
                    raise
        return attempt.execute(run, restart(attempt, owner))


class Attempt:
    """The shared state of one replacement's steps: the plan, open descriptors and results."""

    def __init__(self, plan: Replacement, owner: ExitStack, *, dry_run: bool) -> None:
        self.plan = plan
        self.old_fd = owner.enter_context(bpf.map_get_fd_by_id(plan.live.info.id))
        self.new_id = map_info(plan.new.map_fd).id
        self.defaults = owner.enter_context(DefaultSysctls(plan.live, writable=not dry_run))
        self.defaults.refuse_restricted(plan.live, plan.new.read_value())
        self.link_id: int | None = None
        self.gap_ns: int | None = None
        self._owner = owner
        self._results = self.defaults.planned()
        self._dropped = Dropped(plan.drop)
        self._unkept = Dropped(plan.unkeep)

    def execute(self, run: Transaction, commit: Step) -> tuple[Replaced, tuple[Change, ...]]:
        """Execute the steps around the one that replaces the map."""
        before = self._preparation()
        after = [
            Step(self._rewrite_defaults),
            Step(self._drop),
        ]
        changes = run.steps([*before, commit, *after], commit=len(before))
        return self._result(dry_run=run.dry_run), changes

    def _preparation(self) -> list[Step]:
        plan = self.plan
        steps = [] if plan.loaded is None else shared_map_steps(plan.loaded)
        if plan.keep_at is not None and not holds(plan.keep_at, plan.live.info.id):
            steps += _keep_steps(self.old_fd, plan.keep_at)
        return steps

    def change(self) -> Change:
        """Return the change of the map."""
        live = self.plan.live
        after = {"map_id": self.plan.kept_id}
        return Change(f"{live.type.name} {live.name}", {"map_id": live.info.id}, after)

    def changed(self) -> Change:
        """Return the change of the map after it was made."""
        return self.change()._replace(after={"map_id": self.new_id})

    def in_place(self) -> Step:
        """Return the step that replaces the map behind the link."""
        link = self._owner.enter_context(bpf.link_get_fd_by_id(self.plan.live.links[0].id))
        self.link_id = self.plan.live.links[0].id

        def do() -> Change:
            _link_update(self.plan.live, link, self.plan.new.map_fd, self.old_fd)
            return self.changed()

        return Step(do, lambda: link_info(link).map_id == self.new_id, change=self.change())

    def _rewrite_defaults(self) -> None:
        self._results = self.defaults.rewrite()

    def _drop(self) -> None:
        self._unkept, self._dropped = drop(self.plan.unkeep), drop(self.plan.drop)

    def _result(self, *, dry_run: bool) -> Replaced:
        live = self.plan.live
        references = (
            max(users_of(live) - len(self.defaults.defaults), 0)
            if dry_run
            else references_of(live, self.old_fd)
        )
        return Replaced(
            self.link_id,
            self.plan.kept_id if dry_run else self.new_id,
            self.plan.keep_at,
            self._dropped.gone,
            self._results,
            tuple(self.defaults.not_inspected),
            references,
            (*self._unkept.still_there, *self._dropped.still_there),
            self.gap_ns,
        )


def _keep_steps(old: Fd, path: str) -> list[Step]:
    """Return the steps that pin the map of the old version."""
    folder = os.path.dirname(path)
    map_id = map_info(old).id

    def undo() -> None:
        if holds(path, map_id):
            drop([path])

    return [
        pin_dir_step(folder),
        Step(
            lambda: keep(old, path, ExitStack()),
            lambda: holds(path, map_id),
            undo,
            check=lambda: check_pin_dir(folder),
        ),
    ]


def _link_update(live: LiveMap, link: Fd, new: Fd, old: Fd) -> None:
    """Replace the map behind a link if it still is the old one, and read the link back."""
    new_id = map_info(new).id
    now = link_info(link).map_id
    if now == new_id:  # a map that replaces itself damages the kernel's list of congestion controls
        raise StateError(
            f"link {link_info(link).id} has the new map already", why="another process was faster"
        )
    try:
        bpf.link_update(link, new, old_map_fd=old)
    except KernelError as error:
        if error.errno == EPERM and link_info(link).map_id != live.info.id:
            raise _replaced_by_another(live, link_info(link).map_id) from None
        raise explained(
            error, f"{live.name} (id:{live.info.id}) could not be replaced", live.type.name
        ) from None
    with suppress(KernelError):  # the kernel reported success: a failed look changes nothing
        if (now := link_info(link).map_id) != new_id:
            raise StateError(
                f"{live.name} was not replaced, though the kernel reported success",
                why=f"its link {live.links[0].id} names map {now} and not {new_id}",
            )


def _replaced_by_another(live: LiveMap, now: int) -> StateError:
    return StateError(
        f"{live.name} was not replaced",
        why=f"its link has another map now: {now} and not {live.info.id}; somebody else was faster"
        if now
        else "its link was detached meanwhile",
        hint=f"look again: {shell_words('structops', 'versions', live.name)}",
        candidates=[f"id:{now}"] if now else [],
    )


def references_of(live: LiveMap, fd: Fd) -> int:
    """Return the kernel's count of sockets and defaults of a map; 0 if it cannot be read.

    Since 6.4 the count is an estimate.
    """
    with suppress(KernelError):
        return read_state(live.type, bpf_maps.map_lookup_elem(fd, KEY, live.info.value_size))[1]
    return 0
