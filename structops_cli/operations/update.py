"""Replace what is registered by the same struct_ops of another object."""

from __future__ import annotations

from typing import NamedTuple

from structops_cli.core.target import Target
from structops_cli.errors import FitError, StateError
from structops_cli.obj.spec import ObjectSpec
from structops_cli.operations.candidate import candidate_of_loaded
from structops_cli.operations.catching_up import CaughtUp, catch_up
from structops_cli.operations.registering import without_ids
from structops_cli.operations.restart import Restart, replace
from structops_cli.operations.standing import described_live
from structops_cli.operations.swap import (
    Swap,
    Swapped,
    needs_restart,
    refuse_unregistered,
    refuse_unreplaceable,
    rehearsed,
)
from structops_cli.operations.versions import KEPT_VERSIONS, kept_path, pin_folder, pin_of, versions_of
from structops_cli.runtime.identity import is_same
from structops_cli.runtime.live_map import LiveMap
from structops_cli.runtime.loaded import Loaded
from structops_cli.runtime.objects import RegisteredObject, describe, load_object
from structops_cli.runtime.registration import described
from structops_cli.shell_words import shell_words
from structops_cli.struct_ops.kinds import kind_of
from structops_cli.struct_ops.plan import Plan, Selection, plan_object
from structops_cli.syscall import bpffs

__all__ = ["Request", "Updated", "expect", "load_version", "superfluous", "update"]


class Request(NamedTuple):
    """How to update: how many replaced versions to keep, where maps are shared by name, whether only to say what would be.

    ``restart``: what cannot be replaced in place is unregistered and registered.
    """

    keep: int = KEPT_VERSIONS
    map_pin_dir: str = bpffs.DEFAULT
    dry_run: bool = False
    restart: bool = False


class Updated(NamedTuple):
    """What became of an update: ``object`` has the new version, ``done`` is None when it was there already.

    ``gap_ns`` is how long the name was gone; None where it never was. ``caught_up`` are the defaults that an
    older version had all the same.
    """

    live: LiveMap
    object: RegisteredObject
    done: Swapped | None
    gap_ns: int | None = None
    caught_up: CaughtUp | None = None


def expect(live: LiveMap, map_id: int | None) -> None:
    """Raise ``StateError`` when another map than the caller expects is registered."""
    if map_id is not None and live.info.id != map_id:
        raise StateError(
            f"{live.name} is id:{live.info.id}, and id:{map_id} was expected",
            why="it was replaced or registered anew since you looked",
            hint=shell_words("structops", "versions", live.name),
            candidates=[f"id:{live.info.id}"],
        )


def update(
    stock: tuple[LiveMap, ...],
    live: LiveMap,
    spec: ObjectSpec,
    target: Target,
    selection: Selection,
    request: Request,
) -> Updated:
    """Put an object's version of ``live`` in its place; keep the old one; have the defaults follow.

    It is done behind the link, or where that cannot be and the request says so by
    unregistering and registering. When it is the same thing nothing stays loaded, and
    nothing is done but for defaults that are of an older version still.
    """
    refuse_unregistered(live)
    in_place = not needs_restart(live)
    if in_place:
        selection = selection._replace(link=True)
    with load_version(live, spec, target, selection, request) as loaded:
        [plan] = loaded.plan.maps
        if is_same(live, loaded, plan):
            there = described_live(live, plan.variable)
            caught_up = catch_up(stock, live, dry_run=request.dry_run)
            return Updated(live, describe(loaded, (there,), held=False), None, caught_up=caught_up)
        if not request.restart:
            refuse_unreplaceable(live)
        new = candidate_of_loaded(loaded, plan)
        todo = Swap(
            live,
            new.map_fd,
            new.value_set,
            keep_at=kept_path(live, pin_folder(live)) if request.keep else "",
            drop=superfluous(stock, live, max(request.keep - 1, 0)),
            loaded=loaded,
        )
        pin = pin_of(live) if plan.link else None
        gap_ns = None
        one = described(loaded, plan, new.map_fd, None, pin)  # all that may fail comes before it is done
        if request.dry_run:
            done = rehearsed(todo, 0)
        else:
            way = Restart(todo, new, pin or "")
            done, gap_ns = replace(way, in_place=in_place, may_restart=request.restart)
        if request.dry_run:
            one = without_ids(one)
        one = one._replace(link_id=done.link_id or None)
        return Updated(live, describe(loaded, (one,), held=False), done, gap_ns)


def load_version(
    live: LiveMap, spec: ObjectSpec, target: Target, selection: Selection, request: Request
) -> Loaded:
    """Load of an object what can take the place of a live map: one variable, of its type and name. The caller owns the answer."""
    chosen = _choose(live, spec, target, selection)
    return load_object(
        spec, target, selection._replace(only=(chosen,), also=()), map_pin_dir=request.map_pin_dir
    )


def _choose(live: LiveMap, spec: ObjectSpec, target: Target, selection: Selection) -> str:
    """Return the variable of an object that has the type and the name of a live map."""
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
    hint = "choose the one that is meant with --only VAR"
    if not fitting and len(alike) == 1 and member:
        hint = f"if it is another version of the same, name it so: --set {alike[0]}.{member}={live.name}"
    elif not fitting and alike and member:
        hint = f"choose one and name it so: --only VAR --set VAR.{member}={live.name}"
    elif not fitting and not alike:
        hint = f"what is registered stays a {live.type.name}: unregister it, and register this object"
    return FitError(
        f"{spec.name} has {'more than one' if fitting else 'no'} {live.type.name} named {live.name}",
        why="it has "
        + ", ".join(f"{item.variable} ({item.type.name} {item.registered_name})" for item in plan.maps),
        hint=hint,
        object=spec.name,
        type_name=live.type.name,
    )


def superfluous(stock: tuple[LiveMap, ...], live: LiveMap, keep: int) -> tuple[str, ...]:
    """Return the pins of kept versions beyond the newest ``keep``."""
    kept = [one for one in versions_of(stock, live.type.name, live.name) if one.pin and not one.is_current]
    return tuple(one.pin for one in kept[keep:])
