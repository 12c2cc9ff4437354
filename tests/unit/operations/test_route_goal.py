"""Compute the goal of a change of one route."""

from __future__ import annotations

from socket import AF_INET, inet_pton

import pytest

from structops_cli.errors import AmbiguousError, NotFoundError, StructopsError
from structops_cli.net.routes import Route, RouteSpec, parse_route
from structops_cli.operations.chosen_routes import route_key
from structops_cli.operations.route_goal import RouteGoal, RouteVerb, goal_of, metric_of

PLAIN = parse_route(["192.0.2.0/24"])
CHOOSING = parse_route(["192.0.2.0/24", "congctl", "t_a"])


def route(congctl: str = "", *, metric: int = 0, device: str = "eth0", locked: bool = False) -> Route:
    address = inet_pton(AF_INET, "192.0.2.0")
    return Route(AF_INET, address, 24, 254, metric, 0, "", device, congctl, locked=locked, message=b"")


def goal(verb: RouteVerb, spec: RouteSpec, *there: Route, saved: bool = False) -> RouteGoal:
    keys = {route_key(7, one) for one in there} if saved else set()
    return goal_of(verb, spec, list(there), keys, 7, locked=True)


def test_the_default_metric_depends_on_the_family() -> None:
    assert metric_of(PLAIN) == 0
    assert metric_of(parse_route(["2001:db8::/32"])) == 1024
    assert metric_of(parse_route(["192.0.2.0/24", "metric", "5"])) == 5


def test_add() -> None:
    assert goal(RouteVerb.ADD, CHOOSING) == RouteGoal(None, "t_a", locked=True)
    same = route("t_a", locked=True)
    assert goal(RouteVerb.ADD, CHOOSING, same) == RouteGoal(same, "t_a", locked=True)
    assert goal(RouteVerb.ADD, CHOOSING, route(metric=5)).before is None
    with pytest.raises(StructopsError, match="goes there already"):
        goal(RouteVerb.ADD, CHOOSING, route("reno"))


def test_change_and_clear() -> None:
    one = route("reno")
    assert goal(RouteVerb.CHANGE, CHOOSING, one) == RouteGoal(one, "t_a", locked=True)
    assert goal(RouteVerb.CLEAR, PLAIN, one) == RouteGoal(one, "", locked=False)
    with pytest.raises(NotFoundError):
        goal(RouteVerb.CLEAR, PLAIN)


def test_several_routes_are_ambiguous_until_one_is_named() -> None:
    first, second = route(metric=1), route(metric=2)
    with pytest.raises(AmbiguousError) as raised:
        goal(RouteVerb.CLEAR, PLAIN, first, second)
    assert len(raised.value.fields["candidates"]) == 2
    named = parse_route(["192.0.2.0/24", "metric", "2"])
    assert goal(RouteVerb.CLEAR, named, first, second).before == second


def test_routes_of_one_metric_cannot_be_changed() -> None:
    """The kernel changes the first of them, whatever the request names."""
    spec = parse_route(["192.0.2.0/24", "dev", "eth1", "congctl", "t_a"])
    with pytest.raises(StructopsError, match="several routes"):
        goal(RouteVerb.CHANGE, spec, route(), route(device="eth1"))


def test_delete_leaves_a_route_alone_that_chooses_nothing() -> None:
    with pytest.raises(StructopsError, match="left alone"):
        goal(RouteVerb.DEL, PLAIN, route())
    for one in (route("t_a"), route(locked=True)):
        assert goal(RouteVerb.DEL, PLAIN, one) == RouteGoal(one, None, locked=False)
    dangling = route()
    assert goal(RouteVerb.DEL, PLAIN, dangling, saved=True).before == dangling
    assert goal(RouteVerb.DEL, PLAIN) == RouteGoal(None, None, locked=False)
