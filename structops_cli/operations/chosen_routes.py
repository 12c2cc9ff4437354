"""List the routes of every network namespace that choose a congestion control."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from structops_cli.errors import NotFoundError, NotPermittedError, StructopsError
from structops_cli.net.congestion_controls import read_congestion_controls
from structops_cli.net.namespace_entry import inside, namespace_identity
from structops_cli.net.namespaces import NetNamespace
from structops_cli.net.routes import Route, read_routes, words_of
from structops_cli.operations.state_store import STATE_PATH, RouteKey, SavedRoute, StateStore
from structops_cli.shell_words import netns_options_of


class ChosenRoute(NamedTuple):
    """A route that chooses a congestion control.

    ``dangling``: no algorithm of that name is registered; the next one with the name gets the
    route. ``name`` is "" if the kernel shows only the lock and the name is not saved.
    """

    namespace: NetNamespace
    route: Route
    name: str
    dangling: bool


def list_routes(
    found: Iterable[NetNamespace], path: str = STATE_PATH
) -> tuple[tuple[ChosenRoute, ...], tuple[str, ...]]:
    """Return every route that chooses a congestion control, and notes on failures.

    The kernel does not show a dangling choice without a lock. Such a route is found only if
    structops saved it.
    """
    notes: list[str] = []
    remembered: dict[RouteKey, SavedRoute] = {}
    try:
        remembered = StateStore(path).routes()
    except StructopsError as error:
        notes.append(f"dangling routes are not known: {error}")
    seen: list[ChosenRoute] = []
    for namespace in found:
        try:
            seen += inside(namespace, lambda here=namespace: _chosen_here(here, remembered))  # type: ignore[misc]
        except NotFoundError:
            notes.append(f"{namespace.title} is gone meanwhile")
        except NotPermittedError as error:
            notes.append(f"{namespace.title} is left out: {error.why}")
    return tuple(seen), tuple(notes)


def _chosen_here(namespace: NetNamespace, remembered: dict[RouteKey, SavedRoute]) -> list[ChosenRoute]:
    identity = namespace_identity()
    mine = {key: entry for key, entry in remembered.items() if key.namespace == identity}
    available = read_congestion_controls().available
    found = []
    for route in read_routes(every=bool(mine)):
        entry = mine.get(route_key(identity, route))
        if route.congctl:
            found.append(ChosenRoute(namespace, route, route.congctl, dangling=False))
        elif route.locked or (entry is not None and entry.name not in available):
            found.append(ChosenRoute(namespace, route, entry.name if entry else "", dangling=True))
    return found


def clearing(namespace: NetNamespace, route: Route) -> str:
    """Return the command that removes the congestion control of exactly this route."""
    if route.tos:  # the words of structops route have no type of service
        return f"ip route replace {words_of(route)} tos {route.tos:#x}, without congctl, in {namespace.title}"
    return f"structops route clear {words_of(route)} {netns_options_of(namespace.title)}"


def route_key(identity: int, route: Route) -> RouteKey:
    """Return the key of a route in the state store."""
    return RouteKey(identity, route.family, route.table, route.priority, route.address, route.prefix_bits)
