"""Replace a registered map by a kept version, with the steps of an update."""

from __future__ import annotations

from contextlib import ExitStack
from typing import NamedTuple

from structops_cli.btf.kernel_types import KernelTypes
from structops_cli.errors import StateError
from structops_cli.operations.default_sysctls import OutdatedDefaults, rewrite_outdated
from structops_cli.operations.ready_map import ReadyMap, copy_map, ready_live
from structops_cli.operations.replace import (
    Replaced,
    Replacement,
    refuse_unregistered,
    refuse_unreplaceable,
    replace,
)
from structops_cli.operations.restart import restart_step
from structops_cli.operations.transaction import Caller, Change, Transaction, transaction
from structops_cli.operations.update import superfluous, unchanged
from structops_cli.operations.versions import (
    KEPT_VERSIONS,
    Version,
    kept_path,
    kept_pins,
    needs_restart,
    not_kept,
    pin_folder,
    pin_of,
    versions_of,
)
from structops_cli.runtime.inventory import list_maps
from structops_cli.runtime.live_map import LiveMap
from structops_cli.runtime.selection import find_to_change
from structops_cli.shell_words import shell_words


class RolledBack(NamedTuple):
    """The result of a rollback: ``version`` is registered now.

    ``replaced`` is None if it was registered before; then ``outdated`` are the defaults
    that another version had. ``newer`` are kept versions that are younger than the
    registered one: an earlier rollback replaced them.
    """

    live: LiveMap
    version: Version
    replaced: Replaced | None
    changes: tuple[Change, ...]
    newer: tuple[Version, ...] = ()
    outdated: OutdatedDefaults | None = None


def rollback(
    kernel: KernelTypes,
    selector: str,
    to: int | None = None,
    *,
    keep: int = KEPT_VERSIONS,
    restart: bool = False,
    dry_run: bool = False,
    caller: Caller | None = None,
) -> RolledBack:
    """Replace the registered map that a selector names by a kept version.

    It is the version ``to``, by default the one that was replaced last. A second rollback
    without ``to`` changes nothing, because it does not return to a younger version. A version
    that was registered without a link comes back as a copy with an id of its own.
    """
    with transaction(dry_run=dry_run, caller=caller) as run:
        maps = list_maps(kernel)
        return _rollback(run, maps, find_to_change(maps, selector), to, keep, restart=restart)


def _rollback(
    run: Transaction, maps: tuple[LiveMap, ...], live: LiveMap, to: int | None, keep: int, *, restart: bool
) -> RolledBack:
    refuse_unregistered(live)
    in_place = not needs_restart(live)
    version, newer = find_version(maps, live, to)
    if version.is_current:
        outdated = rewrite_outdated(run, maps, live)
        changes = [unchanged(live), *(outdated.changes if outdated else ())]
        return RolledBack(live, version, None, tuple(changes), newer, outdated)
    if not restart:
        refuse_unreplaceable(live)
    with ExitStack() as owner:
        plan = Replacement(
            live,
            _ready(version.live, owner, in_place=in_place),
            pin_of(live),
            kept_path(live, pin_folder(live)) if keep else None,
            tuple(pin for pin in superfluous(maps, live, keep) if pin not in version.live.pins),
            kept_pins(version.live),
            kept_id=version.live.info.id if version.live.is_link_map else None,
        )
        done, changed = replace(run, plan, in_place=in_place, restart=restart_step if restart else None)
        return RolledBack(live, version, done, changed)


def _ready(version: LiveMap, owner: ExitStack, *, in_place: bool) -> ReadyMap:
    if in_place and not version.is_link_map:
        return copy_map(version, owner, link=True)
    return ready_live(version, owner)


def find_version(
    maps: tuple[LiveMap, ...], live: LiveMap, to: int | None
) -> tuple[Version, tuple[Version, ...]]:
    """Return the version to register, perhaps the present one, and the younger kept versions."""
    found = versions_of(maps, live.type.name, live.name)
    current = next((one for one in found if one.live.info.id == live.info.id), None)
    if current is None:
        raise StateError(
            f"{live.name} (id:{live.info.id}) cannot be gone back from",
            why="it was unregistered meanwhile",
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
