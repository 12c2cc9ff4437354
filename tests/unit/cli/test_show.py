"""``structops show``: the fields of a map, and a table of its programs if it has some."""

from __future__ import annotations

import pytest

from structops_cli.cli import live, show
from structops_cli.runtime.live_map import LiveLink, LiveMap, LiveProgram
from tests.cli_runner import done, done_json, run_cli
from tests.unit.cli.results import HOSTILE, SHOWN, program
from tests.unit.operations.live_maps import live as live_map

EJECTED = live_map(7, "ejected", 1, name=HOSTILE)._replace(reason="runnable task stall")


def give(monkeypatch: pytest.MonkeyPatch, *found: LiveMap) -> None:
    monkeypatch.setattr(show, "readable_kernel", lambda: None)
    monkeypatch.setattr(show, "list_settled_maps", lambda _: ())
    monkeypatch.setattr(show, "find_each", lambda *_: found)


def test_a_map_without_anything_has_its_reason_and_no_table(monkeypatch: pytest.MonkeyPatch) -> None:
    give(monkeypatch, EJECTED)
    assert done("show", "t").stdout.splitlines() == [
        f"name     {SHOWN}",
        "type     tcp_congestion_ops",
        "state    ejected (runnable task stall)",
        "map      7 (t_map, link map)",
        "link     none",
        "pin      none",
        "holders  -",
    ]
    data = done_json("show", "t")
    assert (data["name"], data["reason"], data["programs"]) == (HOSTILE, "runnable task stall", [])


def test_a_program_for_several_members_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    found = live_map(7, "registered", 2)._replace(links=(LiveLink(3, ("/p",)), LiveLink(4, ())))
    give(monkeypatch, found._replace(type=found.type._replace(module="tcp_x")))
    programs = (LiveProgram(("ssthresh", "undo_cwnd"), program(11)),)
    for module in (show, live):
        monkeypatch.setattr(module, "programs_of", lambda _: programs)
    lines = done("show", "t").stdout.splitlines()
    assert lines[1] == "type     tcp_congestion_ops (module tcp_x)"
    assert lines[4:6] == ["link     3, 4", "pin      /p"]
    assert lines[-2].split() == ["PROGRAM", "NAME", "MEMBER", "JITED", "TAG", "MAPS"]
    assert lines[-1].split() == ["11", "t_ssthresh", "ssthresh,undo_cwnd", "64", "0011223344556677", "5,6"]


def test_several_maps_are_apart_and_a_list(monkeypatch: pytest.MonkeyPatch) -> None:
    give(monkeypatch, EJECTED, live_map(8, "retired", 3))
    assert "\nholders  -\n\nname     t_a\n" in done("show", "t", "id:8").stdout
    assert [item["map_id"] for item in done_json("show", "t", "id:8")["maps"]] == [7, 8]


def test_an_empty_call_is_a_usage_error() -> None:
    assert (run_cli("show", "-q").exit_code, run_cli("show", "-q").stdout) == (2, "")
