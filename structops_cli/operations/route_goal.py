"""What is to become of one route, by what is there and what was asked for."""

from __future__ import annotations

import socket
from typing import NamedTuple

from structops_cli.errors import AmbiguousError, NotFoundError, StructopsError
from structops_cli.net.routes import Route, RouteSpec, words_of
from structops_cli.operations.chosen_routes import route_key
from structops_cli.operations.state_store import RouteKey

__all__ = ["RouteGoal", "goal_of", "metric_of", "told"]

DEFAULT_METRIC = {int(socket.AF_INET): 0, int(socket.AF_INET6): 1024}
"""What a route gets that names none (IP6_RT_PRIO_USER)."""


class RouteGoal(NamedTuple):
    """What is to become of one route: ``name`` None says that it is to be no more, "" that it chooses nothing."""

    before: Route | None
    name: str | None
    locked: bool


def metric_of(words: RouteSpec) -> int:
    """Return the metric that a new route of these words gets."""
    return DEFAULT_METRIC[words.family] if words.metric is None else words.metric


def goal_of(
    verb: str, words: RouteSpec, there: list[Route], known: set[RouteKey], identity: int, *, locked: bool
) -> RouteGoal:
    """Return what ``add``, ``change``, ``clear`` or ``del`` makes of the routes to a destination.

    ``known`` are those that are remembered. Raises ``NotFoundError`` and
    ``AmbiguousError`` for none or more than one, ``StructopsError`` for what is left alone.
    """
    if verb == "add":
        return _goal_of_add(words, there, locked=locked)
    routes = [route for route in there if _is_meant(words, route)]
    if len(routes) > 1:
        raise AmbiguousError(
            f"{len(routes)} routes go there",
            why="; ".join(told(route) for route in routes),
            hint="say which: via GATEWAY, dev DEVICE, metric N",
            candidates=[told(route) for route in routes],
        )
    if verb == "del":
        return _goal_of_del(routes, known, identity)
    if not routes:
        raise NotFoundError(
            "no route goes there",
            why="table, metric, gateway and device count where they are given; the table is main without",
            hint="ip route shows them; structops route add ROUTE makes one",
        )
    if len([route for route in there if route.priority == routes[0].priority]) > 1:
        raise StructopsError(
            "several routes go there with one metric",
            why="the kernel changes the first of them, whichever was asked for",
            hint="give them metrics of their own",
        )
    return RouteGoal(routes[0], words.congctl if verb == "change" else "", locked and verb == "change")


def _is_meant(words: RouteSpec, route: Route) -> bool:
    gateway = socket.inet_ntop(words.family, words.gateway) if words.gateway else None
    return (
        words.metric in (None, route.priority)
        and gateway in (None, route.gateway)
        and words.device in (None, route.device)
    )


def _goal_of_add(words: RouteSpec, routes: list[Route], *, locked: bool) -> RouteGoal:
    there = [route for route in routes if route.priority == metric_of(words)]
    for route in there:
        if (route.congctl, route.locked) == (words.congctl, locked) and _is_meant(words, route):
            return RouteGoal(route, words.congctl, locked)
    if there:
        raise StructopsError(
            "a route goes there already",
            why=told(there[0]),
            hint="structops route change ROUTE gives it a congestion control; another metric makes another route",
        )
    return RouteGoal(None, words.congctl, locked)


def _goal_of_del(routes: list[Route], known: set[RouteKey], identity: int) -> RouteGoal:
    if routes and not (routes[0].congctl or routes[0].locked or route_key(identity, routes[0]) in known):
        raise StructopsError(
            "that route is left alone",
            why=f"it chooses no congestion control: {told(routes[0])}",
            hint="ip route del deletes any route",
        )
    return RouteGoal(routes[0] if routes else None, None, False)


def told(route: Route) -> str:
    """Return a route in the words of ``ip route``."""
    return f"{words_of(route)} congctl {route.congctl}" if route.congctl else words_of(route)
