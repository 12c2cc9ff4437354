"""Routes that choose a congestion control, and the dangling ones, which the kernel does not show."""

from __future__ import annotations

from collections.abc import Callable
from errno import EPERM
from socket import AF_INET
from typing import TypeVar

import pytest

from structops_cli.errors import NotFoundError, NotPermittedError, StructopsError
from structops_cli.net.congestion_controls import CongestionControls
from structops_cli.net.namespaces import NetNamespace
from structops_cli.net.routes import Route
from structops_cli.operations import chosen_routes as module
from structops_cli.operations.chosen_routes import ChosenRoute, clearing, list_routes, route_key
from structops_cli.operations.state_store import RouteKey, SavedRoute, StateStore

Result = TypeVar("Result")
ONE = NetNamespace(11, "/run/netns/t_one", ("t_one",))


def route(number: int, congctl: str | None = None, *, locked: bool = False) -> Route:
    address = bytes([10, number, 0, 0])
    return Route(AF_INET, address, 16, 254, 0, 0, None, "eth0", congctl, locked=locked, message=b"")


ROUTES = [
    route(1, "reno"),
    route(2, locked=True),
    route(3),
    route(4),
    route(5, locked=True),
    route(6, "cubic", locked=True),
]


@pytest.fixture
def saved(monkeypatch: pytest.MonkeyPatch) -> dict[RouteKey, SavedRoute]:
    """Return the saved routes; namespace 11 is the identity 1, has ``ROUTES``, and t_a is registered."""
    entries: dict[RouteKey, SavedRoute] = {}
    monkeypatch.setattr(StateStore, "routes", lambda _: entries)
    monkeypatch.setattr(module, "inside", lambda _, function: function())
    monkeypatch.setattr(module, "namespace_identity", lambda: 1)
    controls = CongestionControls(("reno", "cubic", "t_a"), (), "cubic")
    monkeypatch.setattr(module, "read_congestion_controls", lambda: controls)
    monkeypatch.setattr(module, "read_routes", lambda *, every: ROUTES if every else kernels_choice())
    return entries


def kernels_choice() -> list[Route]:
    return [one for one in ROUTES if one.congctl or one.locked]


def save(entries: dict[RouteKey, SavedRoute], one: Route, name: str, *, identity: int = 1) -> None:
    key = route_key(identity, one)
    entries[key] = SavedRoute(key, name, locked=False)


def seen(*found: ChosenRoute) -> list[tuple[int, str, bool]]:
    return [(item.route.address[1], item.name, item.dangling) for item in found]


def test_only_the_lock_shows_a_dangling_route_that_nobody_saved(saved: dict[RouteKey, SavedRoute]) -> None:
    assert not saved
    found, notes = list_routes([ONE])
    assert seen(*found) == [(1, "reno", False), (2, "", True), (5, "", True), (6, "cubic", False)]
    assert notes == ()


def test_a_saved_name_shows_a_dangling_route_until_it_is_registered(
    saved: dict[RouteKey, SavedRoute],
) -> None:
    save(saved, ROUTES[1], "t_gone")
    save(saved, ROUTES[2], "t_gone")
    save(saved, ROUTES[3], "t_a")
    save(saved, ROUTES[0], "t_gone")
    found, _ = list_routes([ONE])
    assert seen(*found)[:4] == [(1, "reno", False), (2, "t_gone", True), (3, "t_gone", True), (5, "", True)]


def test_the_saved_routes_of_another_namespace_do_not_count(
    saved: dict[RouteKey, SavedRoute], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a saved route nothing but a choice or a lock is read: a host may have a million routes."""
    asked: list[bool] = []

    def read(*, every: bool) -> list[Route]:
        asked.append(every)
        return ROUTES

    monkeypatch.setattr(module, "read_routes", read)
    save(saved, ROUTES[2], "t_gone", identity=2)
    assert (3, "t_gone", True) not in seen(*list_routes([ONE])[0])
    assert asked == [False]


def test_a_namespace_that_cannot_be_entered_is_a_note(
    saved: dict[RouteKey, SavedRoute], monkeypatch: pytest.MonkeyPatch
) -> None:
    refusals = {
        12: NotFoundError("no"),
        13: NotPermittedError("no", why="no right", errno=EPERM, operation="setns"),
    }

    def inside(namespace: NetNamespace, function: Callable[[], Result]) -> Result:
        if namespace.inode in refusals:
            raise refusals[namespace.inode]
        return function()

    monkeypatch.setattr(module, "inside", inside)
    found, notes = list_routes([NetNamespace(12, ""), NetNamespace(13, ""), ONE])
    assert len(found) == 4
    assert notes == ("net:[12] is gone meanwhile", "net:[13] is left out: no right")


def test_without_the_saved_routes_the_others_are_shown(
    saved: dict[RouteKey, SavedRoute], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(_: object) -> None:
        raise StructopsError("no map")

    monkeypatch.setattr(StateStore, "routes", refused)
    found, notes = list_routes([ONE])
    assert len(found) == 4
    assert notes == ("dangling routes are not known: no map",)


def test_the_command_names_exactly_one_route() -> None:
    assert clearing(ONE, route(1)) == "structops route clear 10.1.0.0/16 dev eth0 metric 0 --netns t_one"
