"""Replace a registered map by the same struct_ops of another object."""

from __future__ import annotations

from typing import NamedTuple

from structops_cli.btf.kernel_types import KernelTypes
from structops_cli.core.target import Target
from structops_cli.errors import FitError, StateError
from structops_cli.obj.spec import ObjectSpec
from structops_cli.operations.default_sysctls import OutdatedDefaults, rewrite_outdated
from structops_cli.operations.existing import described_live
from structops_cli.operations.ready_map import ready_loaded
from structops_cli.operations.register import without_ids
from structops_cli.operations.replace import (
    Replaced,
    Replacement,
    refuse_unregistered,
    refuse_unreplaceable,
    replace,
)
from structops_cli.operations.restart import restart_step
from structops_cli.operations.transaction import Caller, Change, Transaction, transaction
from structops_cli.operations.versions import (
    KEPT_VERSIONS,
    kept_path,
    needs_restart,
    pin_folder,
    pin_of,
    versions_of,
)
from structops_cli.runtime.identity import is_same
from structops_cli.runtime.inventory import list_maps
from structops_cli.runtime.live_map import LiveMap
from structops_cli.runtime.loaded import Loaded
from structops_cli.runtime.objects import RegisteredObject, describe, load_object
from structops_cli.runtime.registration import registered_map
from structops_cli.runtime.selection import find_to_change
from structops_cli.shell_words import shell_words
from structops_cli.struct_ops.kinds import kind_of
from structops_cli.struct_ops.plan import Plan, Selection, plan_object
from structops_cli.syscall import bpffs


class UpdateOptions(NamedTuple):
    """The options of an update.

    ``keep``: number of replaced versions that stay pinned. ``restart``: unregister and register
    a map that the kernel cannot replace behind a link. ``expect_map``: refuse unless the map
    with this id is registered.
    """

    keep: int = KEPT_VERSIONS
    map_pin_dir: str = bpffs.DEFAULT
    restart: bool = False
    expect_map: int | None = None


class Updated(NamedTuple):
    """The result of an update.

    ``object`` is the new version. ``replaced`` is None if it was registered before; then
    ``outdated`` are the defaults that an older version still had.
    """

    live: LiveMap
    object: RegisteredObject
    replaced: Replaced | None
    changes: tuple[Change, ...]
    outdated: OutdatedDefaults | None = None


def update(
    kernel: KernelTypes,
    selector: str,
    spec: ObjectSpec,
    selection: Selection,
    options: UpdateOptions,
    *,
    dry_run: bool = False,
    caller: Caller | None = None,
) -> Updated:
    """Replace the registered map that a selector names by the version in an object.

    The old version is kept, and default sysctls are rewritten. If the object is the
    registered version, nothing is changed but defaults that are an older version.
    """
    with transaction(dry_run=dry_run, caller=caller) as run:
        maps = list_maps(kernel)
        live = find_to_change(maps, selector)
        _expect(live, options.expect_map)
        return _update(run, maps, live, spec, Target(kernel), selection, options)


def _expect(live: LiveMap, map_id: int | None) -> None:
    if map_id is not None and live.info.id != map_id:
        raise StateError(
            f"{live.name} is id:{live.info.id}, and id:{map_id} was expected",
            why="it was replaced or registered anew since you looked",
            hint=shell_words("structops", "versions", live.name),
            candidates=[f"id:{live.info.id}"],
        )


def _update(
    run: Transaction,
    maps: tuple[LiveMap, ...],
    live: LiveMap,
    spec: ObjectSpec,
    target: Target,
    selection: Selection,
    options: UpdateOptions,
) -> Updated:
    refuse_unregistered(live)
    in_place = not needs_restart(live)
    if in_place:
        selection = selection._replace(link=True)
    with _load_version(live, spec, target, selection, options) as loaded:
        [plan] = loaded.plan.maps
        if is_same(live, loaded, plan):
            return _same(run, maps, live, loaded)
        if not options.restart:
            refuse_unreplaceable(live)
        new = ready_loaded(loaded, plan)
        pin = pin_of(live)
        replacement = Replacement(
            live,
            new,
            pin,
            kept_path(live, pin_folder(live)) if options.keep else None,
            drop=superfluous(maps, live, max(options.keep - 1, 0)),
            loaded=loaded,
        )
        # described before the commit point, because it may fail
        one = registered_map(loaded, plan, new.map_fd, None, pin if plan.link else None)
        done, changes = replace(
            run, replacement, in_place=in_place, restart=restart_step if options.restart else None
        )
        one = (without_ids(one) if run.dry_run else one)._replace(link_id=done.link_id)
        return Updated(live, describe(loaded, (one,), held=False), done, changes)


def _same(run: Transaction, maps: tuple[LiveMap, ...], live: LiveMap, loaded: Loaded) -> Updated:
    [plan] = loaded.plan.maps
    there = described_live(live, plan.variable)
    outdated = rewrite_outdated(run, maps, live)
    changes = [unchanged(live), *(outdated.changes if outdated else ())]
    return Updated(live, describe(loaded, (there,), held=False), None, tuple(changes), outdated)


def unchanged(live: LiveMap) -> Change:
    """Return the report of a map that stays registered."""
    state = {"map_id": live.info.id}
    return Change(f"{live.type.name} {live.name}", state, state)


def _load_version(
    live: LiveMap, spec: ObjectSpec, target: Target, selection: Selection, options: UpdateOptions
) -> Loaded:
    """Load the variable of an object that has the type and the name of a live map.

    The caller owns the result.
    """
    chosen = _choose(live, spec, target, selection)
    return load_object(
        spec, target, selection._replace(only=(chosen,), also=()), map_pin_dir=options.map_pin_dir
    )


def _choose(live: LiveMap, spec: ObjectSpec, target: Target, selection: Selection) -> str:
    """Return the variable that has the type and the name of a live map, or raise ``FitError``."""
    if selection.members:
        from structops_cli.obj.settings import with_globals  # only --set needs it

        spec, members = with_globals(spec, selection.members)
        selection = selection._replace(members=members)
    plan = plan_object(spec, target.kernel, selection)
    named = bool(kind_of(live.type.name).naming.member)
    fitting = [
        item.variable
        for item in plan.maps
        if item.type.name == live.type.name and (not named or item.registered_name == live.name)
    ]
    if len(fitting) == 1:
        return fitting[0]
    raise _none_fits(live, spec, plan, fitting)


def _none_fits(live: LiveMap, spec: ObjectSpec, plan: Plan, fitting: list[str]) -> FitError:
    member = kind_of(live.type.name).naming.member
    alike = [item.variable for item in plan.maps if item.type.name == live.type.name]
    hint = "choose one with --only VAR"
    if not fitting and len(alike) == 1 and member:
        hint = f"if it is another version of {live.name}, give it the name: --set {alike[0]}.{member}={live.name}"
    elif not fitting and alike and member:
        hint = f"choose one and give it the name: --only VAR --set VAR.{member}={live.name}"
    elif not fitting and not alike:
        hint = f"an update keeps the type {live.type.name}: unregister the old one, and register this object"
    return FitError(
        f"{spec.name} has {'more than one' if fitting else 'no'} {live.type.name} named {live.name}",
        why="it has "
        + ", ".join(f"{item.variable} ({item.type.name} {item.registered_name})" for item in plan.maps),
        hint=hint,
        object=spec.name,
        type_name=live.type.name,
    )


def superfluous(maps: tuple[LiveMap, ...], live: LiveMap, keep: int) -> tuple[str, ...]:
    """Return the pins of kept versions beyond the newest ``keep``."""
    kept = [one for one in versions_of(maps, live.type.name, live.name) if one.pin and not one.is_current]
    return tuple(one.pin for one in kept[keep:])
