"""Go back to a version that is kept: the same swap as an update, with a map that was registered before."""

from __future__ import annotations

from contextlib import ExitStack
from typing import NamedTuple

from structops_cli.errors import StateError
from structops_cli.operations.candidate import candidate_of_live, copied
from structops_cli.operations.catching_up import CaughtUp, catch_up
from structops_cli.operations.restart import Restart, replace
from structops_cli.operations.swap import (
    Swap,
    Swapped,
    needs_restart,
    refuse_unregistered,
    refuse_unreplaceable,
    rehearsed,
)
from structops_cli.operations.update import superfluous
from structops_cli.operations.versions import (
    KEPT_VERSIONS,
    Version,
    kept_path,
    kept_pins,
    not_kept,
    pin_folder,
    pin_of,
    versions_of,
)
from structops_cli.runtime.live_map import LiveMap
from structops_cli.shell_words import shell_words

__all__ = ["RolledBack", "rollback", "version_to_go_back_to"]


class RolledBack(NamedTuple):
    """What became of a rollback: ``version`` is what is registered now; ``done`` is None when it was before.

    ``forward`` are kept versions that are younger than the registered one: it was gone back from them.
    ``gap_ns`` is how long the name was gone; None where it never was. ``caught_up`` are defaults that another version had.
    """

    live: LiveMap
    version: Version
    done: Swapped | None
    forward: tuple[Version, ...] = ()
    gap_ns: int | None = None
    caught_up: CaughtUp | None = None


def rollback(
    stock: tuple[LiveMap, ...],
    live: LiveMap,
    to: int | None,
    *,
    keep: int = KEPT_VERSIONS,
    dry_run: bool = False,
    by_restart: bool = False,
) -> RolledBack:
    """Put a kept version in the place of ``live``: ``to``, or the one that was replaced last.

    Once more is nothing to do: a version that was gone back to has a younger one
    among those that are kept. Going back further takes ``to``. A version that was
    registered without a link comes back as a copy, with an id of its own.
    """
    refuse_unregistered(live)
    in_place = not needs_restart(live)
    version, forward = version_to_go_back_to(stock, live, to)
    if version.is_current:
        return RolledBack(live, version, None, forward, caught_up=catch_up(stock, live, dry_run=dry_run))
    if not by_restart:
        refuse_unreplaceable(live)
    with ExitStack() as owner:
        if in_place and not version.live.is_link_map:
            new = copied(version.live, owner, link=True)
        else:
            new = candidate_of_live(version.live, owner)
        todo = Swap(
            live,
            new.map_fd,
            new.value_set,
            kept_path(live, pin_folder(live)) if keep else "",
            tuple(pin for pin in superfluous(stock, live, keep) if pin not in version.live.pins),
            kept_pins(version.live),
        )
        if dry_run:
            map_id = version.live.info.id if version.live.is_link_map else 0
            return RolledBack(live, version, rehearsed(todo, map_id))
        plan = Restart(todo, new, pin_of(live))
        done, gap_ns = replace(plan, in_place=in_place, may_restart=by_restart)
        return RolledBack(live, version, done, gap_ns=gap_ns)


def version_to_go_back_to(
    stock: tuple[LiveMap, ...], live: LiveMap, to: int | None
) -> tuple[Version, tuple[Version, ...]]:
    """Return the version that is meant, which may be the registered one, and the kept ones that are younger than that."""
    found = versions_of(stock, live.type.name, live.name)
    current = next((one for one in found if one.live.info.id == live.info.id), None)
    if current is None:
        raise StateError(
            f"{live.name} (id:{live.info.id}) cannot be gone back from",
            why="it was unregistered meanwhile, and is gone",
            hint=f"{shell_words('structops', 'versions', live.name)} shows what is kept",
        )
    kept = [one for one in found if one.pin and one is not current]
    younger = tuple(one for one in kept if one.loaded_ns > current.loaded_ns)
    if to is None and younger:
        return current, younger
    wanted = [one for one in (current, *kept) if one.live.info.id == to] if to is not None else kept
    if not wanted:
        raise not_kept(live.name, to, kept)
    return wanted[0], younger
