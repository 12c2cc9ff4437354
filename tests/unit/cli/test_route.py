"""``structops route``: the words of a change, and the table of routes that choose a congestion control."""

from __future__ import annotations

import socket
from typing import Any

import pytest

from structops_cli.net.namespaces import NetNamespace
from structops_cli.net.routes import Route
from structops_cli.operations.chosen_routes import ChosenRoute
from structops_cli.operations.transaction import Change
from tests.cli_runner import done, done_json, refused
from tests.unit.cli.results import HOSTILE, SHOWN

HERE = "structops_cli.cli.route"
NONE = {"exists": False, "congctl": "", "locked": False, "remembered": ""}
PLAIN = NONE | {"exists": True}
CHOSEN = PLAIN | {"congctl": "t"}
BLUE = NetNamespace(2, "/run/netns/blue", ("blue",))
ROUTE = Route(socket.AF_INET, bytes([10, 0, 0, 0]), 8, 254, 0, 0, None, "eth0", "t", False, b"")


def give(monkeypatch: pytest.MonkeyPatch, before: dict[str, Any], after: dict[str, Any]) -> None:
    change = Change("route to 10.0.0.0/8", before, after)
    monkeypatch.setattr(f"{HERE}.change_one_route", lambda *_, **__: change)


@pytest.mark.parametrize(
    ("verb", "before", "after", "line"),
    [
        ("add", NONE, CHOSEN | {"locked": True}, "congctl t, locked (was no route)"),
        ("change", PLAIN, CHOSEN, "congctl t (was congctl none)"),
        ("change", CHOSEN, CHOSEN, "congctl t: nothing to do"),
        ("del", PLAIN | {"remembered": "t"}, NONE, "no route (was congctl t, dangling)"),
        ("del", PLAIN | {"locked": True}, NONE, "no route (was congctl ?, locked, dangling)"),
        ("clear", CHOSEN, PLAIN, "congctl none (was congctl t)"),
        (
            "clear",
            PLAIN,
            PLAIN,
            "the kernel shows no congctl: written again without one, lest it be dangling",
        ),
    ],
)
def test_a_change_in_words(
    monkeypatch: pytest.MonkeyPatch, verb: str, before: dict[str, Any], after: dict[str, Any], line: str
) -> None:
    give(monkeypatch, before, after)
    assert done("route", verb, "10.0.0.0/8").stdout == f"route to 10.0.0.0/8: {line}\n"


def test_a_dry_run_of_add_says_what_was_not_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    give(monkeypatch, NONE, CHOSEN)
    result = done("route", "add", "10.0.0.0/8", "--dry-run")
    assert result.stdout == (
        "dry run: nothing was done\nroute to 10.0.0.0/8: would be congctl t (is no route)\n"
    )
    assert result.stderr == "note: whether the kernel takes its gateway, device and source is not checked\n"
    assert done("route", "add", "10.0.0.0/8", "--dry-run", "-q").stderr == ""
    assert done("route", "add", "10.0.0.0/8").stderr == ""
    assert done("route", "change", "10.0.0.0/8", "--dry-run").stderr == ""
    assert done_json("route", "add", "10.0.0.0/8")["written_again"] is False


def test_a_route_begins_with_its_destination() -> None:
    error = refused("route", "add", "via", "10.0.0.1", exit_code=2)
    assert error["what"] == "a route begins with its destination"
    assert error["hint"].startswith("DEST [via GATEWAY]")


def test_the_table_marks_locked_and_dangling_routes(monkeypatch: pytest.MonkeyPatch) -> None:
    default6 = ROUTE._replace(
        family=socket.AF_INET6, address=bytes(16), prefix_bits=0, table=7, priority=1024, gateway="fe80::1"
    )
    seen = (
        ChosenRoute(BLUE, ROUTE, HOSTILE, False),
        ChosenRoute(BLUE, default6._replace(device=None, locked=True), "", True),
    )
    monkeypatch.setattr(f"{HERE}.find_namespaces", lambda: (BLUE,))
    monkeypatch.setattr(f"{HERE}.list_routes", lambda _: (seen, ("red is unreachable",)))
    result = done("route", "list", "--netns", "blue")
    assert [line.split() for line in result.stdout.splitlines()] == [
        ["NAMESPACE", "DESTINATION", "VIA", "DEV", "TABLE", "METRIC", "CONGCTL", "STATE"],
        ["blue", "10.0.0.0/8", "-", "eth0", "main", "-", SHOWN, "-"],
        ["blue", "default", "(IPv6)", "fe80::1", "-", "7", "1024", "?", "locked,", "dangling"],
    ]
    assert result.stderr == "note: red is unreachable\n"
    assert [item["family"] for item in done_json("route", "list")["routes"]] == ["inet", "inet6"]


def test_no_route_is_a_note(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(f"{HERE}.find_namespaces", lambda: (BLUE,))
    monkeypatch.setattr(f"{HERE}.list_routes", lambda _: ((), ()))
    assert done("route", "list") == (0, "", "no route chooses a congestion control\n")
    assert done("route", "list", "-q").stderr == ""
