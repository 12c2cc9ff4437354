"""Compute the goal of a change of one route, from the present routes and the request."""

from __future__ import annotations

import socket
from enum import StrEnum
from typing import NamedTuple

from structops_cli.errors import AmbiguousError, NotFoundError, StructopsError
from structops_cli.net.routes import Route, RouteSpec, words_of
from structops_cli.operations.chosen_routes import route_key
from structops_cli.operations.state_store import RouteKey

DEFAULT_METRIC = {int(socket.AF_INET): 0, int(socket.AF_INET6): 1024}
"""The metric of a route that names none (IP6_RT_PRIO_USER)."""


class RouteVerb(StrEnum):
    """The change of a route, as the command line names it."""

    ADD = "add"
    CHANGE = "change"
    CLEAR = "clear"
    DEL = "del"


class RouteGoal(NamedTuple):
    """The goal of a change. ``name`` is None for a deletion, "" for a route without congctl."""

    before: Route | None
    name: str | None
    locked: bool


def metric_of(spec: RouteSpec) -> int:
    """Return the metric of a new route."""
    return DEFAULT_METRIC[spec.family] if spec.metric is None else spec.metric


def goal_of(
    verb: RouteVerb, spec: RouteSpec, there: list[Route], saved: set[RouteKey], identity: int, *, locked: bool
) -> RouteGoal:
    """Return the goal for the routes ``there`` to a destination.

    ``saved`` are the keys of saved routes. Raises ``NotFoundError`` for no route,
    ``AmbiguousError`` for several, and ``StructopsError`` for a route that structops does not
    change.
    """
    if verb == RouteVerb.ADD:
        return _goal_of_add(spec, there, locked=locked)
    routes = [route for route in there if _is_meant(spec, route)]
    if len(routes) > 1:
        raise AmbiguousError(
            f"{len(routes)} routes go there",
            why="; ".join(route_words(route) for route in routes),
            hint="say which: via GATEWAY, dev DEVICE, metric N",
            candidates=[route_words(route) for route in routes],
        )
    if verb == RouteVerb.DEL:
        return _goal_of_del(routes, saved, identity)
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
    return RouteGoal(
        routes[0], spec.congctl if verb == RouteVerb.CHANGE else "", locked and verb == RouteVerb.CHANGE
    )


def _is_meant(spec: RouteSpec, route: Route) -> bool:
    gateway = socket.inet_ntop(spec.family, spec.gateway) if spec.gateway else None
    return (
        spec.metric in (None, route.priority)
        and gateway in (None, route.gateway)
        and spec.device in (None, route.device)
    )


def _goal_of_add(spec: RouteSpec, routes: list[Route], *, locked: bool) -> RouteGoal:
    there = [route for route in routes if route.priority == metric_of(spec)]
    for route in there:
        if (route.congctl, route.locked) == (spec.congctl, locked) and _is_meant(spec, route):
            return RouteGoal(route, spec.congctl, locked)
    if there:
        raise StructopsError(
            "a route goes there already",
            why=route_words(there[0]),
            hint="structops route change ROUTE gives it a congestion control; another metric makes another route",
        )
    return RouteGoal(None, spec.congctl, locked)


def _goal_of_del(routes: list[Route], saved: set[RouteKey], identity: int) -> RouteGoal:
    if routes and not (routes[0].congctl or routes[0].locked or route_key(identity, routes[0]) in saved):
        raise StructopsError(
            "that route is left alone",
            why=f"it chooses no congestion control: {route_words(routes[0])}",
            hint="ip route del deletes any route",
        )
    return RouteGoal(routes[0] if routes else None, None, False)


def route_words(route: Route) -> str:
    """Return a route as ``ip route`` shows it."""
    return f"{words_of(route)} congctl {route.congctl}" if route.congctl else words_of(route)
