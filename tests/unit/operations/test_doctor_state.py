"""Findings about defaults, routes, saved state, pins and modules: each names the command that repairs it."""

from __future__ import annotations

from pathlib import Path
from socket import AF_INET

import pytest

from structops_cli.errors import NotPermittedError, StructopsError
from structops_cli.net.congestion_controls import CongestionControls
from structops_cli.net.namespaces import NetNamespace
from structops_cli.net.routes import Route
from structops_cli.operations import doctor_state as module
from structops_cli.operations.chosen_routes import ChosenRoute, route_key
from structops_cli.operations.default import NamespaceDefault
from structops_cli.operations.doctor_state import KEPT, defaults, memory, modules, pins, routes
from structops_cli.operations.findings import NOTE, OK, PROBLEM, Finding, Tree
from structops_cli.operations.state_store import RouteKey, SavedDefault, SavedRoute, StateStore
from structops_cli.runtime.pin_directory import Exposure
from structops_cli.syscall import bpffs
from structops_cli.syscall.bpffs import Mount
from tests.unit.operations.live_maps import live

ONE = NetNamespace(2, "/run/netns/t_one", ("t_one",))
TWO = NetNamespace(3, "/run/netns/t two", ("t two",))
ROUTE = Route(AF_INET, b"\x0a\0\0\0", 8, 254, 0, 0, None, "eth0", None, locked=True, message=b"")


def states(found: list[Finding]) -> list[str]:
    return [item.state for item in found]


def test_a_default_that_is_retired_or_older(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = [
        NamespaceDefault(ONE, "t_gone", True, SavedDefault(2, "cubic", "t_gone")),
        NamespaceDefault(TWO, "t_a", False, None, older_map_id=7),
    ]
    controls = CongestionControls(("cubic", "t_a"), ("cubic",), "cubic")
    monkeypatch.setattr(module, "read_congestion_controls", lambda: controls)
    monkeypatch.setattr(module, "read_defaults", lambda _: (tuple(seen), ("net:[9] is gone meanwhile",)))
    retired, older, note = defaults([])
    assert states([retired, older, note]) == [PROBLEM, PROBLEM, NOTE]
    assert retired.fix == "structops default --restore --netns t_one"
    assert older.what.endswith("get an older version of t_a (map 7)")
    assert older.fix == "structops default t_a --netns 't two'"
    monkeypatch.setattr(module, "read_defaults", lambda _: (tuple(seen[1:])[:0], ()))
    [only] = defaults([])
    assert (only.state, only.what) == (OK, "registered in all of 0 network namespaces")


def test_a_dangling_route_names_the_command_that_clears_it(monkeypatch: pytest.MonkeyPatch) -> None:
    chosen = (
        ChosenRoute(ONE, ROUTE, "t_gone", dangling=True),
        ChosenRoute(ONE, ROUTE, "", dangling=True),
        ChosenRoute(ONE, ROUTE, "reno", dangling=False),
    )
    monkeypatch.setattr(module, "list_routes", lambda _: (chosen, ()))
    named, unnamed = routes([])
    assert "10.0.0.0/8 of t_one chooses t_gone," in named.what
    assert "chooses an algorithm," in unnamed.what
    assert named.fix.endswith("or structops route clear 10.0.0.0/8 dev eth0 metric 0 --netns t_one")
    monkeypatch.setattr(module, "list_routes", lambda _: (chosen[2:], ()))
    [only] = routes([])
    assert (only.state, only.what) == (OK, "1 choose a congestion control, none is dangling")


def test_saved_state_that_is_not_the_kernels_is_a_note(monkeypatch: pytest.MonkeyPatch) -> None:
    saved = {2: SavedDefault(2, "cubic", "t_a"), 8: SavedDefault(8, "cubic", "t_a")}
    key = route_key(2, ROUTE)
    keys = (key, key._replace(prefix_bits=9), key._replace(namespace=8))
    entries: dict[RouteKey, SavedRoute] = {one: SavedRoute(one, "t_a", locked=True) for one in keys}
    now = NamespaceDefault(ONE, "reno", False, saved[2])
    monkeypatch.setattr(StateStore, "defaults", lambda _: saved)
    monkeypatch.setattr(StateStore, "routes", lambda _: entries)
    monkeypatch.setattr(module, "inside", lambda namespace, _: namespace.inode)
    monkeypatch.setattr(module, "read_defaults", lambda _: ((now,), ()))
    monkeypatch.setattr(module, "routes_in", lambda *_, every: [ROUTE] if every else [])
    gone, stale, missing = memory([ONE, TWO])
    assert states([gone, stale, missing]) == [NOTE] * 3
    assert gone.what.startswith("remembered of 1 network namespace ")
    assert (
        stale.fix
        == "structops default --restore --force --netns t_one, or structops default NAME --netns t_one"
    )
    assert missing.what == "remembered of 1 route no more there"
    del saved[8], entries[keys[1]], entries[keys[2]]
    now = now._replace(default="t_a")
    assert [(item.state, item.what) for item in memory([ONE])] == [
        (OK, "1 default and 1 route, all as the kernel has them")
    ]


def test_pins_that_are_of_no_use(monkeypatch: pytest.MonkeyPatch) -> None:
    kept = live(7, "retired", 1, name="t_gone")._replace(pins=(f"{KEPT}/t_gone/7",))
    good = live(8, "retired", 1)._replace(pins=(f"{KEPT}/t_a/8",))
    folders = {"/bpf": ("/bpf/t%2edead", "/bpf/t_a"), KEPT: (*kept.pins, *good.pins, f"{KEPT}/t a/9")}
    monkeypatch.setattr(bpffs, "mounts", lambda: (Mount("/bpf", 0),))
    monkeypatch.setattr(bpffs, "pins", lambda folder: folders[folder])
    monkeypatch.setattr(module, "is_dead", lambda path: "dead" in path)
    monkeypatch.setattr(module, "exposure_of", lambda _: None)
    monkeypatch.setattr(module, "check_pin_dir", lambda _: None)
    found = list(pins([kept, good, live(9, "registered", 1, link=3)]))
    assert states(found) == [PROBLEM] * 3
    assert [item.fix for item in found] == [
        "structops unregister t.dead",
        "structops unregister id:7",
        f"rm '{KEPT}/t a/9'",
    ]


@pytest.mark.parametrize(
    ("first", "second", "fix"),
    [
        (Exposure("mode 0666", "chmod go-w /a"), None, "chmod go-w /a"),
        (Exposure("uid 7"), None, "rm /a"),
        (Exposure("uid 7"), Exposure("uid 7"), "structops unregister id:7, and register it again"),
    ],
)
def test_a_pin_that_others_can_change(
    monkeypatch: pytest.MonkeyPatch, first: Exposure, second: Exposure | None, fix: str
) -> None:
    """A pin is removed only if another one holds the map."""
    monkeypatch.setattr(bpffs, "mounts", tuple)
    monkeypatch.setattr(bpffs, "pins", lambda _: ())
    monkeypatch.setattr(module, "exposure_of", {"/a": first, "/b": second}.get)
    monkeypatch.setattr(module, "check_pin_dir", lambda _: None)
    found = list(pins([live(7, "registered", 1)._replace(pins=("/a", "/b"))]))
    assert found[0].what == "other users can change /a"
    assert found[0].fix.startswith(fix)


@pytest.mark.parametrize(
    ("error", "state"),
    [
        (StructopsError("it is not safe", why="every user", hint="chmod"), PROBLEM),
        (NotPermittedError("it is root's", errno=13, operation="open"), OK),
    ],
)
def test_the_default_folder_is_a_problem_unless_it_is_roots(
    monkeypatch: pytest.MonkeyPatch, error: StructopsError, state: str
) -> None:
    def refused(_: str) -> None:
        raise error

    monkeypatch.setattr(bpffs, "mounts", tuple)
    monkeypatch.setattr(bpffs, "pins", lambda _: ())
    monkeypatch.setattr(module, "check_pin_dir", refused)
    [only] = pins([])
    assert only.state == state


def test_a_module_of_a_registered_name_is_a_note(tmp_path: Path) -> None:
    folder = tmp_path / "lib/modules/6.1"
    folder.mkdir(parents=True)
    names = ("net/ipv4/tcp_t_a.ko.xz", "net/ipv4/tcp_bbr.ko", "net/ipv4/tcp_diag.ko", "x/udp_tcp_t_b.ko")
    (folder / "modules.dep").write_text("".join(f"kernel/{name}: kernel/tcp_c.ko\n" for name in names))
    tree = Tree(str(tmp_path))
    [only] = modules(tree, "6.1", [live(7, "registered", 1)])
    assert (only.state, only.fix) == (NOTE, "register it under a name of its own: --set name=NAME")
    [only] = modules(tree, "6.1", [live(7, "retired", 1)])
    assert (only.state, only.what.partition(": ")[2]) == (OK, "bbr, t_a")
    [only] = modules(tree, "6.2", [])
    assert only.what.startswith("0 congestion controls are modules")
