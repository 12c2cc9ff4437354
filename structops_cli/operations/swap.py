"""Put one map in another's place behind a link, keep the other, and have the defaults follow: forwards as ``update``, back as ``rollback``.

The effects, in their order: what the new version shares by name is pinned, the old
version's map is pinned, LINK_UPDATE, the defaults are written again, pins that are
not needed any more go. Before LINK_UPDATE all is undone when something fails; after
it, all is brought to its end. Both hold for a process that is killed.
"""

from __future__ import annotations

import os
from contextlib import ExitStack, suppress
from errno import EPERM
from typing import NamedTuple

from structops_cli.errors import KernelError, StateError, UnsupportedError
from structops_cli.operations.followers import Followed, Followers
from structops_cli.operations.recovery import recovery_process
from structops_cli.operations.registering import Places, undo_begun
from structops_cli.operations.versions import drop, keep, kept_pins, users_of
from structops_cli.runtime.interrupts import from_here_uninterrupted
from structops_cli.runtime.live_map import LiveMap, MapState
from structops_cli.runtime.loaded import Loaded
from structops_cli.runtime.pins import check_pin_dir
from structops_cli.runtime.shared_maps import pin_maps
from structops_cli.shell_words import shell_words
from structops_cli.struct_ops.explain import explained
from structops_cli.struct_ops.kinds import kind_of
from structops_cli.struct_ops.value import KEY, read_state
from structops_cli.syscall import bpf, bpf_maps
from structops_cli.syscall.fd import Fd
from structops_cli.syscall.info import link_info, map_info

__all__ = [
    "Swap",
    "Swapped",
    "holders_of",
    "needs_restart",
    "prepare",
    "refuse_unpinned",
    "refuse_unregistered",
    "refuse_unreplaceable",
    "rehearsed",
    "swap",
    "undo_prepared",
]


class Swap(NamedTuple):
    """What is to be done: ``new`` takes the place of ``live``, whose map is kept at ``keep_at`` ("": it is not kept).

    ``new`` is a map, the caller's to close, and ``value`` the one that registers it, or that it has. When all is done,
    ``drop`` go, the pins of kept versions, and ``unkeep``, those of ``new`` itself. ``loaded`` is the object behind ``new``,
    whose maps may have to be pinned by name; None where nothing was loaded.
    """

    live: LiveMap
    new: Fd
    value: bytes
    keep_at: str
    drop: tuple[str, ...] = ()
    unkeep: tuple[str, ...] = ()
    loaded: Loaded | None = None


class Swapped(NamedTuple):
    """What was done. ``holders`` is the kernel's count of who still uses the old version.

    ``still_kept`` are pins that were to go and could not be removed.
    """

    link_id: int
    map_id: int
    kept: str
    dropped: tuple[str, ...]
    followed: tuple[Followed, ...]
    unseen: tuple[Followed, ...]
    holders: int
    still_kept: tuple[str, ...] = ()


def needs_restart(live: LiveMap) -> bool:
    """Tell whether what is registered can be replaced by unregistering it only."""
    return live.state == MapState.REGISTERED and (
        not live.links or not kind_of(live.type.name).registration.replaceable
    )


def refuse_unregistered(live: LiveMap) -> None:
    """Raise ``StateError`` for a live map that is not registered: there is nothing to replace."""
    if live.state != MapState.REGISTERED and kept_pins(live):
        raise StateError(
            f"{live.name} (id:{live.info.id}) cannot be replaced",
            why="it is a version that is kept: nothing registers it",
            hint=f"{shell_words('structops', 'rollback', live.name)} --to {live.info.id} puts it in the place of the registered one",
        )
    if live.state != MapState.REGISTERED:
        raise StateError(
            f"{live.name} (id:{live.info.id}) cannot be replaced",
            why=f"it is {live.state}: nothing registers it",
            hint="structops register OBJ registers the new one"
            if kind_of(live.type.name).registration.registers
            else "the kernel has this type for test runs only: structops run OBJ PROGRAM",
        )


def refuse_unreplaceable(live: LiveMap) -> None:
    """Raise what says why a registered map cannot be replaced behind its link, and what can be done instead."""
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


def refuse_unpinned(live: LiveMap) -> None:
    """Raise ``StateError`` for a link that nothing but a process holds: a restart would take it away from that process."""
    unpinned = [str(link.id) for link in live.links if not link.pins]
    if unpinned:
        raise StateError(
            f"{live.name} (id:{live.info.id}) is not replaced: a process holds it",
            why=f"link {', '.join(unpinned)} is pinned nowhere that is in sight, and a restart would detach it",
            hint=f"end that process (structops status id:{live.info.id} says which), and register the new version",
        )


def rehearsed(plan: Swap, map_id: int) -> Swapped:
    """Return what a swap or a restart would answer, as far as it can be known; ``map_id`` 0 for a new map."""
    live = plan.live
    if plan.keep_at:
        check_pin_dir(os.path.dirname(plan.keep_at))
    with Followers(live, writable=False) as followers:
        followers.refuse_restricted(live, plan.value)
        if needs_restart(live):
            refuse_unpinned(live)
        link_id = live.links[0].id if live.links and not needs_restart(live) else 0
        return Swapped(
            link_id,
            map_id,
            plan.keep_at,
            plan.drop,
            followers.followed(),
            tuple(followers.unseen),
            max(users_of(live) - len(followers.defaults), 0),
        )


def swap(plan: Swap) -> Swapped:
    """Do it: all, or nothing. When this returns no signal comes until the process ends."""
    live = plan.live
    with ExitStack() as owner:
        link = owner.enter_context(bpf.link_get_fd_by_id(live.links[0].id))
        old = owner.enter_context(bpf.map_get_fd_by_id(live.info.id))
        followers = owner.enter_context(Followers(live, writable=True))
        followers.refuse_restricted(live, plan.value)
        new_id = map_info(plan.new).id

        def finish() -> None:
            if link_info(link).map_id == new_id:
                followers.follow()
                drop((*plan.unkeep, *plan.drop))
            else:
                undo_prepared(plan)

        with recovery_process(finish), ExitStack() as undo:
            prepare(plan, old, undo)
            from_here_uninterrupted()
            _link_update(live, link, plan.new, old)
            undo.pop_all()
            followed = followers.follow()
            unkept, dropped = drop(plan.unkeep), drop(plan.drop)
        return Swapped(
            live.links[0].id,
            new_id,
            plan.keep_at,
            dropped.gone,
            followed,
            tuple(followers.unseen),
            holders_of(live, old),
            (*unkept.still_there, *dropped.still_there),
        )


def prepare(plan: Swap, old: Fd, undo: ExitStack) -> None:
    """Pin what the new version shares by name, and the old version's map."""
    if plan.loaded is not None:
        pin_maps(plan.loaded, undo)
    if plan.keep_at:
        keep(old, plan.keep_at, undo)


def undo_prepared(plan: Swap) -> None:
    """Undo ``prepare`` of a process that is dead."""
    if plan.loaded is not None:
        undo_begun([plan.loaded], Places(None))
    if plan.keep_at:
        drop([plan.keep_at])


def _link_update(live: LiveMap, link: Fd, new: Fd, old: Fd) -> None:
    """Replace the map behind a link, if the old one is there still, and read back that the new one is."""
    new_id = map_info(new).id
    now = link_info(link).map_id
    if now == new_id:  # never by itself: that damages the kernel's list of congestion controls
        raise StateError(f"link {link_info(link).id} has the new map already", why="somebody was faster")
    try:
        bpf.link_update(link, new, old_map_fd=old)
    except KernelError as error:
        if error.errno == EPERM and link_info(link).map_id != live.info.id:
            raise _another_is_there(live, link_info(link).map_id) from None
        raise explained(
            error, f"{live.name} (id:{live.info.id}) could not be replaced", live.type.name
        ) from None
    with suppress(KernelError):  # what cannot be read back was still answered with success
        if (now := link_info(link).map_id) != new_id:
            raise StateError(
                f"{live.name} was not replaced, though the kernel reported success",
                why=f"its link {live.links[0].id} names map {now} and not {new_id}",
            )


def _another_is_there(live: LiveMap, now: int) -> StateError:
    return StateError(
        f"{live.name} was not replaced",
        why=f"its link has another map now: {now} and not {live.info.id}; somebody else was faster"
        if now
        else "its link was detached meanwhile",
        hint=f"look again: {shell_words('structops', 'versions', live.name)}",
        candidates=[f"id:{now}"] if now else [],
    )


def holders_of(live: LiveMap, fd: Fd) -> int:
    """Return the kernel's own count of who uses a map: sockets and defaults. Since 6.4 it is an estimate.

    0 when it cannot be read: what was done is done.
    """
    with suppress(KernelError):
        return read_state(live.type, bpf_maps.map_lookup_elem(fd, KEY, live.info.value_size))[1]
    return 0
