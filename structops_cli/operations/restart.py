"""Replace what cannot be replaced in place: unregister, register, and measure how long the name was gone.

Before the name is given up, all is there that can bring it back: the new version is
loaded and verified, and the old one is ready to be registered once more, as itself or
as a copy. When the new one is refused, or the process is killed in between, one of
the two is registered again.
"""

from __future__ import annotations

import os
import time
from contextlib import ExitStack, suppress
from errno import EOPNOTSUPP
from typing import NamedTuple

from structops_cli.errors import KernelError, StateError, StructopsError
from structops_cli.operations.candidate import Candidate, candidate_of_live, let_go, stand_up
from structops_cli.operations.followers import Followers
from structops_cli.operations.recovery import recovery_process
from structops_cli.operations.swap import (
    Swap,
    Swapped,
    holders_of,
    prepare,
    refuse_unpinned,
    swap,
    undo_prepared,
)
from structops_cli.operations.versions import drop
from structops_cli.runtime.dead_pins import pin_link
from structops_cli.runtime.interrupts import from_here_uninterrupted
from structops_cli.runtime.live_map import LiveMap
from structops_cli.runtime.pin_directory import Writers, open_pin
from structops_cli.runtime.pins import prepare_pin_dir
from structops_cli.runtime.threads import started
from structops_cli.runtime.unregistration import unregister
from structops_cli.struct_ops.explain import explained
from structops_cli.struct_ops.kinds import kind_of
from structops_cli.struct_ops.value import KEY, read_state
from structops_cli.syscall import bpf, bpf_maps
from structops_cli.syscall.fd import Fd
from structops_cli.syscall.info import link_info, map_info
from structops_cli.syscall.uapi import StructOpsState

__all__ = ["Restart", "replace", "restart"]


class Restart(NamedTuple):
    """What is to be done: as in ``todo``, with ``new``, which is registered by itself; its link, if it has one, is pinned at ``pin``."""

    todo: Swap
    new: Candidate
    pin: str


def replace(plan: Restart, *, in_place: bool, may_restart: bool) -> tuple[Swapped, int | None]:
    """Swap behind the link where that can be, else restart; return what was done, and the gap in nanoseconds, None without one.

    Whether a type that nobody here knows can be replaced is found out by asking: a swap that the kernel has no way
    to do has done nothing, and is a restart if it may be.
    """
    if in_place:
        try:
            return swap(plan.todo), None
        except KernelError as error:
            if error.errno != EOPNOTSUPP or not may_restart:
                raise
    return restart(plan)


class _Way(NamedTuple):
    """Both ways out of the gap: the new version, and the old one once more."""

    plan: Restart
    old: Candidate
    followers: Followers


def restart(plan: Restart) -> tuple[Swapped, int]:
    """Do it: all, or nothing; return what was done, and the nanoseconds between the two registrations.

    When this returns no signal comes until the process ends.
    """
    todo, live = plan.todo, plan.todo.live
    refuse_unpinned(live)
    with ExitStack() as owner:
        old_fd = owner.enter_context(bpf.map_get_fd_by_id(live.info.id))
        new_id = map_info(plan.new.map_fd).id
        way = _Way(
            plan,
            candidate_of_live(live, owner),
            owner.enter_context(Followers(live, writable=True)),
        )
        way.followers.refuse_restricted(live, todo.value)
        with recovery_process(lambda: _finish(way)), ExitStack() as undo:
            if not plan.new.value:
                prepare_pin_dir(os.path.dirname(plan.pin), undo)
            prepare(todo, old_fd, undo)
            from_here_uninterrupted()
            link, gap_ns = _exchange(way, owner)
            undo.pop_all()
            followed = way.followers.follow()
            unkept, dropped = drop(todo.unkeep), drop(todo.drop)
        return (
            Swapped(
                _id_of(link),
                new_id,
                todo.keep_at,
                dropped.gone,
                followed,
                tuple(way.followers.unseen),
                holders_of(live, old_fd),
                (*unkept.still_there, *dropped.still_there),
            ),
            gap_ns,
        )


def _id_of(link: Fd | None) -> int:
    """Return the id of a link, 0 without one and for one that cannot be read: what was done is done."""
    with suppress(KernelError):
        return link_info(link).id if link else 0
    return 0


def _exchange(way: _Way, owner: ExitStack) -> tuple[Fd | None, int]:
    """Unregister the old version and register the new one; the old one again when that is refused.

    A thread unregisters: the kernel takes the name from its list at once, and only
    answers after an RCU grace period, which is tens of milliseconds without a name.
    A type without names has no list to look at: what is refused because the old one is
    still there may have spoilt its map (``hid_bpf_reg`` sets ``hdev`` first), so it waits.
    """
    begun = time.perf_counter_ns()
    ending = _Ending(way.plan.todo.live)
    named = bool(kind_of(way.plan.todo.live.type.name).naming.member)
    link = None
    try:
        if not named:
            ending.wait()
        link, free_ns = stand_up(way.plan.new, owner, lambda: ending.failed)
        if not named:
            free_ns = time.perf_counter_ns() - begun
        ending.wait()
        _pin(link, way.plan.pin)
    except StructopsError as error:
        ending.wait()
        if link is not None:
            let_go(link)
        raise _went_back(way, error) from None
    return link, free_ns


class _Ending:
    """A thread that unregisters a map; what it raises, ``wait`` does."""

    def __init__(self, live: LiveMap) -> None:
        self._error: BaseException | None = None
        self._live = live
        self._thread = started(self._run, "unregister")

    def _run(self) -> None:
        try:
            unregister(self._live, settle=False)
        except BaseException as error:  # noqa: BLE001 -- raised again where it is waited for
            self._error = error

    @property
    def failed(self) -> bool:
        """Whether the map stays registered."""
        return self._error is not None

    def wait(self) -> None:
        """Wait for the kernel's answer."""
        self._thread.join()
        if self._error is not None:
            raise self._error


def _went_back(way: _Way, error: StructopsError) -> StructopsError:
    """Register the old version once more, and return the error that says why."""
    name, was = way.plan.todo.live.name, way.plan.todo.live.info.id
    said = (
        explained(error, str(error), way.plan.todo.live.type.name).why
        if isinstance(error, KernelError)
        else error.why
    )
    try:
        _register_old(way)
    except StructopsError as second:
        return StateError(
            f"{name} is not registered any more: neither the new version nor the old one could be",
            why=f"the new one: {said}; the old one: {second}",
            hint="structops register OBJ with the object of the old version",
        )
    now = map_info(way.old.map_fd).id
    as_what = "as it was" if now == was else f"as id:{now}, a copy of id:{was}"
    return StateError(
        f"{name} was not replaced: the new version could not be registered",
        why=said,
        hint=f"the old version is registered again, {as_what}; its name was gone for a moment",
    )


def _register_old(way: _Way) -> None:
    live = way.plan.todo.live
    with ExitStack() as owner:
        link, _ = stand_up(way.old, owner)
        for pin in (pin for one in live.links for pin in one.pins):
            _pin(link, pin)
    way.followers.follow()  # which cannot fail: the old version is registered again


def _pin(link: Fd | None, path: str) -> None:
    if link is not None:
        try:
            pin_link(link, path, ExitStack())  # what it is undone by is the other version
        except KernelError as error:
            raise explained(error, f"the new link could not be pinned at {path}") from None


# What the child does when this process is killed


def _finish(way: _Way) -> None:
    plan = way.plan
    if _is_registered(plan.new, [plan.pin]):
        _complete(way)
    elif _is_as_before(plan.todo.live):
        undo_prepared(plan.todo)
    else:
        unregister(plan.todo.live, settle=False)  # a link of which one pin is gone
        _fill_gap(way)


def _fill_gap(way: _Way) -> None:
    try:
        with ExitStack() as owner:
            _pin(stand_up(way.plan.new, owner)[0], way.plan.pin)
    except StructopsError:
        with suppress(StructopsError):
            _register_old(way)
        undo_prepared(way.plan.todo)
    else:
        _complete(way)


def _complete(way: _Way) -> None:
    way.followers.follow()
    drop((*way.plan.todo.unkeep, *way.plan.todo.drop))


def _is_registered(candidate: Candidate, pins: list[str]) -> bool:
    """Tell whether a map is registered in a way that outlives the process that did it."""
    if candidate.value:
        size = candidate.type.value.size_bytes
        raw = bpf_maps.map_lookup_elem(candidate.map_fd, KEY, size)
        return read_state(candidate.type, raw)[0] == StructOpsState.INUSE
    return _pinned_link_names(map_info(candidate.map_fd).id, pins)


def _is_as_before(live: LiveMap) -> bool:
    """Tell whether what was registered still is, with all its pins."""
    pins = [pin for link in live.links for pin in link.pins]
    if pins:
        return all(_pinned_link_names(live.info.id, [pin]) for pin in pins)
    with bpf.map_get_fd_by_id(live.info.id) as fd:
        raw = bpf_maps.map_lookup_elem(fd, KEY, live.info.value_size)
    return not live.links and read_state(live.type, raw)[0] == StructOpsState.INUSE


def _pinned_link_names(map_id: int, pins: list[str]) -> bool:
    for pin in pins:
        with suppress(StructopsError), open_pin(pin, Writers.ANYBODY) as fd:
            if link_info(fd).map_id == map_id:
                return True
    return False
