"""``structops list`` is one line for each map."""

from __future__ import annotations

import pytest

from structops_cli.cli import list_maps, live
from structops_cli.runtime.live_map import LiveLink, LiveMap
from structops_cli.runtime.pin_directory import Exposure
from tests.cli_runner import done, done_json
from tests.unit.cli.results import HOSTILE, SHOWN
from tests.unit.operations.live_maps import live as live_map


def give(monkeypatch: pytest.MonkeyPatch, *found: LiveMap) -> None:
    monkeypatch.setattr(list_maps, "list_maps", lambda: found)


def test_no_map_is_a_note_and_an_empty_list(monkeypatch: pytest.MonkeyPatch) -> None:
    give(monkeypatch)
    assert done("list") == (0, "", "no struct_ops map on this kernel\n")
    assert done("list", "-q") == (0, "", "")
    assert done_json("list")["maps"] == []


def test_cells_without_a_value_are_dashes(monkeypatch: pytest.MonkeyPatch) -> None:
    give(monkeypatch, live_map(7, "ready", 1), live_map(12, "retired", 3, name=HOSTILE))
    assert [line.split() for line in done("list").stdout.splitlines()] == [
        ["ID", "NAME", "TYPE", "STATE", "LINK", "HOLDERS", "PROGRAMS", "PIN"],
        ["7", "t_a", "tcp_congestion_ops", "ready", "-", "-", "0", "-"],
        ["12", SHOWN, "tcp_congestion_ops", "retired", "-", "3", "0", "-"],
    ]


def test_a_pin_that_others_can_change_is_marked(monkeypatch: pytest.MonkeyPatch) -> None:
    found = live_map(7, "registered", 1)._replace(links=(LiveLink(3, ("/a", "/b")),), pins=("/m",))
    give(monkeypatch, found)
    for module in (list_maps, live):
        monkeypatch.setattr(
            module, "exposure_of", lambda pin: Exposure("open to all") if pin == "/b" else None
        )
    assert done("list").stdout.endswith("  /a,/b (others can change it),/m\n")
    [data] = done_json("list")["maps"]
    assert data["exposed_pins"] == [{"pin": "/b", "why": "open to all"}]
    assert data["links"] == [{"id": 3, "pins": ["/a", "/b"]}]


def test_a_map_of_an_unread_type_is_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    unread = live_map(7, "registered", 1, type_name="unknown", name="id:7")
    give(monkeypatch, unread._replace(type=unread.type._replace(unread="its BTF is damaged")))
    result = done("list", "-q")
    assert result.stdout.splitlines()[1].split() == ["7", "id:7", "unknown", "registered", "-", "1", "?", "-"]
    assert "  why: its BTF is damaged\n" in result.stderr
    [data] = done_json("list")["maps"]
    assert (data["programs"], data["module"]) == (None, None)
