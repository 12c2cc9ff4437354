"""``structops unregister``: what was done to each map, who goes on with it, and what is left after a wait."""

from __future__ import annotations

from typing import Any

import pytest

from structops_cli.cli import unregister
from structops_cli.errors import NotFoundError
from structops_cli.net.namespaces import NetNamespace
from structops_cli.operations.dependents import Dependents
from structops_cli.operations.drain_report import Drained, Left, LeftReason
from structops_cli.operations.drain_source import Source
from structops_cli.operations.transaction import Change
from structops_cli.operations.unregister import Retired, UnregisterOptions, UnregisterResult
from structops_cli.runtime.unregistration import Unregistered, UnregisterMethod
from tests.cli_runner import done, done_json, refused, run_cli
from tests.unit.cli.results import HOSTILE, SHOWN
from tests.unit.operations.live_maps import live

LIVE = live(7, "registered", 2)
GONE = Unregistered(7, "t_a", "tcp_congestion_ops", UnregisterMethod.DETACH, (3,), ("/p",), True, True, 0)
HELD = GONE._replace(gone=False, refcnt=2, pins_removed=())
NEVER = HELD._replace(how=UnregisterMethod.NOTHING, changed=False)
NOTHING = UnregisterResult((LIVE,), (), (), {}, (), (), (Change("map t_a", {"x": 1}, {"x": 2}),))
BLUE = NetNamespace(2, "/run/netns/blue", ("blue",))


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Unregister without a kernel: set ``result`` to what comes of it. Gets what was asked for."""
    found: dict[str, Any] = {"result": NOTHING}

    def unregistering(_: None, selectors: tuple[str, ...], options: UnregisterOptions, **more: Any) -> Any:
        found.update(selectors=selectors, options=options)
        for item in found["result"].drained:
            more["drained"](item)
        return found["result"]

    monkeypatch.setattr(unregister, "readable_kernel", lambda: None)
    monkeypatch.setattr(unregister, "unregister", unregistering)
    return found


def test_options_become_values(asked: dict[str, Any]) -> None:
    done(
        "unregister", "a", "id:7", "--all", "--if-present", "--force", "--drain", "--to", "reno", "--dry-run"
    )
    assert (asked["selectors"], asked["options"]) == (
        ("a", "id:7"),
        UnregisterOptions(True, True, True, True, "reno", None),
    )


def test_where_sockets_go_is_for_a_drain_only() -> None:
    error = refused("unregister", "t", "--to", "reno", exit_code=2)
    assert (error["what"], error["hint"]) == ("--to says where --drain moves sockets", "give --drain as well")


@pytest.mark.parametrize(
    ("item", "line"),
    [
        (Retired(GONE, ()), "unregistered t_a (map 7, tcp_congestion_ops) by detach; unpinned /p"),
        (
            Retired(HELD, ("/k/1", "/k/2")),
            ("unregistered t_a (map 7, tcp_congestion_ops) by detach; dropped 2 kept versions; 2 still hold it: "
            "the kernel keeps it until the last socket and default lets go"),
        ),
        (Retired(NEVER, ()), "t_a (map 7) was not registered: nothing to do"),
        (Retired(NEVER, ("/k/1",)), "dropped t_a (map 7), a version that was kept; unpinned /k/1"),
        (Retired(GONE._replace(name=HOSTILE, pins_removed=()), ()), f"unregistered {SHOWN} (map 7, tcp_congestion_ops) by detach"),
    ],
)  # fmt: skip
def test_each_map_is_a_line(asked: dict[str, Any], item: Retired, line: str) -> None:
    asked["result"] = NOTHING._replace(retired=(item,))
    assert done("unregister", "t").stdout == f"{line}\n"


def test_a_dry_run_says_would_and_what_is_absent_is_a_note(asked: dict[str, Any]) -> None:
    absent = {"x": NotFoundError("no struct_ops x")}
    asked["result"] = NOTHING._replace(
        retired=(Retired(GONE, ("/k/1",)),), dead_pins=("/dead",), absent=absent
    )
    result = done("unregister", "t", "x", "--dry-run", "--wait", "5")
    assert result.stdout.splitlines() == [
        "dry run: nothing was done",
        "would unregister t_a (map 7, tcp_congestion_ops) by detach; would unpin /p; would drop 1 kept version",
        "would unpin /dead: its link was detached before",
    ]
    assert result.stderr == "note: no struct_ops x: nothing to do\n"
    data = done_json("unregister", "t", "x")
    assert (data["absent"], data["unregistered"][0]["how"]) == (["x"], "detach")


def test_who_goes_on_with_it_is_a_warning_or_a_note(asked: dict[str, Any]) -> None:
    one = Dependents(
        LIVE,
        ("blue",),
        (),
        (),
        (("eth0", "blue"),),
        True,
        ("net:[9]",),
        "structops default cubic --netns blue",
    )
    drained = Drained(
        Source("t_a", frozenset({7, 5}), frozenset(), None), {}, {"blue": 1},
        (Left(BLUE, None, LeftReason.REFUSED, "x"),), 0, 1, (), (), True, ("red is closed",),
    )  # fmt: skip
    asked["result"] = NOTHING._replace(dependents=(one,), drained=(drained,))
    lines = done("unregister", "t", "--force").stderr.splitlines()
    assert lines[:5] == [
        "not seen: red is closed",
        "1 socket moved off t_a (id:5, id:7), 1 left: structops drain id:5 && structops drain id:7 says why",
        "warning: t_a is still the default of blue",
        "  why: new sockets there get the retired one",
        "  fix: structops default cubic --netns blue",
    ]
    assert lines[5:7] == [
        "note: t_a is net.core.default_qdisc: new network devices get the retired one",
        "note: eth0 in blue goes on with the retired t_a",
    ]
    assert lines[7].startswith("note: t_a is the default of net:[9], which this process cannot reach")
    assert done("unregister", "t", "--force", "-q").stderr.splitlines() == lines[2:5]


def test_what_is_not_gone_after_the_wait_is_an_error_after_the_report(
    asked: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked["result"] = NOTHING._replace(retired=(Retired(HELD, ()),))
    left = [(live(7, "retired", 2),), ()]
    monkeypatch.setattr(unregister, "wait_until_freed", lambda *_: left.pop(0))
    result = run_cli("unregister", "t", "--wait", "1.5")
    assert result.exit_code == 1
    assert result.stdout.startswith("unregistered t_a")
    assert "error: t_a (id:7) is unregistered, and not gone after 1.5 s\n" in result.stderr
    [data] = done_json("unregister", "t", "--wait", "1.5")["unregistered"]
    assert (data["gone"], data["refcnt"]) == (True, 0)
