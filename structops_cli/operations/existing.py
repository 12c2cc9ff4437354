"""Compare a planned map with the existing map of the same name."""

from __future__ import annotations

from collections.abc import Container
from errno import EBUSY, EEXIST
from typing import TYPE_CHECKING

from structops_cli.errors import KernelError
from structops_cli.runtime.loaded import Loaded
from structops_cli.runtime.registration import Registered
from structops_cli.shell_words import shell_words
from structops_cli.struct_ops.explain import explained
from structops_cli.struct_ops.kinds import kind_of
from structops_cli.struct_ops.plan import MapPlan
from structops_cli.syscall.info import map_info

if TYPE_CHECKING:
    from structops_cli.runtime.live_map import LiveMap


def find_existing(
    loaded: Loaded, plan: MapPlan, *, mine: Container[int] = (), refused: bool = False
) -> Registered | None:
    """Return the live map if it equals the plan, None if the name is free.

    ``mine`` are the ids of the maps of this run. ``refused`` says that the kernel has
    refused the planned map: then a map of another name is in the way if the kernel takes
    one map of the type at a time. Raises ``KernelError`` if another map is in the way.
    """
    from structops_cli.runtime.identity import is_same
    from structops_cli.runtime.inventory import list_maps
    from structops_cli.runtime.kernel import live_kernel  # only a name that is taken needs them

    kind = kind_of(plan.type.name)
    if not kind.naming.member:
        return None
    for live in list_maps(live_kernel()):
        if (live.type.name, live.state) != (plan.type.name, "registered"):
            continue
        if live.info.id in mine:
            if refused and kind.registration.one_at_a_time:
                raise _second(plan, loaded, live)
            continue
        if live.name == plan.registered_name:
            if not is_same(live, loaded, plan):
                raise _another(plan, loaded, live)
            return described_live(live, plan.variable)
        if refused and kind.registration.one_at_a_time:
            raise _another(plan, loaded, live)
    return None


def refuse_existing(
    loaded: Loaded, plan: MapPlan, *, mine: Container[int] = (), refused: bool = False
) -> None:
    """Raise if the name is taken, even by an equal map: this process could not hold that one."""
    if (there := find_existing(loaded, plan, mine=mine, refused=refused)) is not None:
        error = _taken(plan, loaded, there.map_id)
        error.hint = f"the same is registered already: {shell_words('structops', 'unregister', there.name)} takes it away"
        raise error


def described_live(live: LiveMap, variable: str = "") -> Registered:
    """Describe a live map as its registration would have."""
    from structops_cli.runtime.live_map import programs_of

    link = live.links[0] if live.links else None
    return Registered(
        variable=variable,
        type_name=live.type.name,
        name=live.name,
        map_id=live.info.id,
        map_name=live.info.name,
        link_id=link.id if link else None,
        pin=link.pins[0] if link and link.pins else None,
        state=live.state,
        programs=tuple((item.info.name, item.info) for item in programs_of(live)),
        link=None,
        legacy_fallback=False,
        changed=False,
    )


def _taken(plan: MapPlan, loaded: Loaded, map_id: int) -> KernelError:
    errno = EBUSY if kind_of(plan.type.name).registration.one_at_a_time else EEXIST
    error = KernelError(
        "it is taken", errno=errno, operation="LINK_CREATE" if plan.link else "MAP_UPDATE_ELEM"
    )
    error.add(object=loaded.spec.name, variable=plan.variable)
    answer = explained(error, f"{plan.registered_name} could not be registered", plan.type.name)
    answer.add(candidates=[f"id:{map_id}"])
    return answer


def _second(plan: MapPlan, loaded: Loaded, live: LiveMap) -> KernelError:
    """Return the error of a second map of this run, of a type that the kernel registers once."""
    answer = _taken(plan, loaded, live.info.id)
    answer.why = (
        f"the kernel takes one {plan.type.name} at a time, and {live.name} of the same call came first"
    )
    of_this_object = any(map_info(fd).id == live.info.id for fd in loaded.struct_ops.values())
    answer.hint = f"choose one: --only {plan.variable}" if of_this_object else "give one of the objects only"
    answer.fields.pop("candidates")
    return answer


def _another(plan: MapPlan, loaded: Loaded, live: LiveMap) -> KernelError:
    """Return the error that names the command which replaces the map in the way."""
    from structops_cli.operations.versions import needs_restart  # only a refusal needs it

    answer, kind = _taken(plan, loaded, live.info.id), kind_of(plan.type.name)
    options = ["--restart"] if needs_restart(live) else []
    if live.name != plan.registered_name:
        options += ["--set", f"{plan.variable}.{kind.naming.member}={live.name}"]
    replacing = shell_words("structops", "update", live.name, "OBJ", *options)
    other = (
        f"take that one away first: {shell_words('structops', 'unregister', live.name)}"
        if kind.registration.one_at_a_time
        else f"choose another name with --set {plan.variable}.{kind.naming.member}=NAME"
    )
    answer.hint = f"put this one in its place: {replacing}; or {other}"
    return answer
