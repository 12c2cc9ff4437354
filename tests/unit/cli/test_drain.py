"""``structops drain``: what was moved and what is left, in words, as JSON and as exit code."""

from __future__ import annotations

import json
from typing import Any

import pytest

from structops_cli.net.namespaces import NetNamespace
from structops_cli.net.sock_diag import TcpSocket, TcpState
from structops_cli.operations.drain import DrainOptions
from structops_cli.operations.drain_report import Drained, Left, LeftReason
from structops_cli.operations.drain_source import Source
from tests.cli_runner import done, done_json, run_cli
from tests.unit.cli.results import HOSTILE, SHOWN

BLUE = NetNamespace(2, "/run/netns/blue", ("blue",))
TCP = TcpSocket(2, TcpState.ESTABLISHED, "10.0.0.1", 80, "10.0.0.2", 5000, 0, 1, 0, 0, "t", None, None)
ORPHAN = Left(BLUE, TCP, LeftReason.ORPHANED, "no process has it", None, 44)
NOTHING = Drained(Source("t", frozenset({0, 9, 7}), frozenset(), None), {}, {}, (), 0, 1, (), (), True)
MOVED = NOTHING._replace(targets={"blue": "cubic"}, moved={"blue": 2})


@pytest.fixture
def draining(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return a function that sets the result of a drain, and returns the list of its options."""
    monkeypatch.setattr("structops_cli.cli.drain.readable_kernel", lambda: None)

    def give(result: Drained) -> list[DrainOptions]:
        asked: list[DrainOptions] = []

        def drain(_kernel: None, _selector: str, options: DrainOptions, **_: Any) -> Drained:
            asked.append(options)
            return result

        monkeypatch.setattr("structops_cli.cli.drain.drain", drain)
        return asked

    return give


def test_options_become_values(draining: Any) -> None:
    asked = draining(NOTHING)
    done("drain", "t", "--to", "cubic", "--timeout", "2.5", "--kill", "--netns", "a", "--netns", "b")
    assert asked == [DrainOptions("cubic", 2.5, True, ("a", "b"))]


def test_without_a_socket_there_is_nothing_to_do(draining: Any) -> None:
    draining(NOTHING)
    assert done("drain", "t").stdout == "no socket uses t (map 7, 9): nothing to do\n"
    assert done_json("drain", "t")["changed"] is False


def test_what_is_left_is_grouped_by_reason_and_ends_with_1(draining: Any) -> None:
    other = Left(BLUE, None, LeftReason.REFUSED, HOSTILE, 12)
    draining(MOVED._replace(left=(ORPHAN, ORPHAN, other), destroyed=1))
    result = run_cli("drain", "t")
    assert result.exit_code == 1
    lines = result.stdout.splitlines()
    assert lines[:3] == [
        "blue: 2 sockets moved from t (map 7, 9) to cubic",
        "1 connection destroyed",
        "3 left:",
    ]
    assert [line.split(maxsplit=3)[:3] for line in lines[4:]] == [
        ["blue", "2", "orphaned"],
        ["blue", "1", "refused"],
    ]
    assert lines[4].endswith("ESTABLISHED 10.0.0.1:80 -> 10.0.0.2:5000  no process has it")
    assert "  pid 12, not connected  " in lines[5]
    assert lines[5].endswith(f"  {SHOWN}")
    data = json.loads(run_cli("drain", "t", "--json").stdout)
    assert [item["state"] for item in data["left"]] == ["ESTABLISHED", "ESTABLISHED", "CLOSE"]
    assert data["left"][0] == {
        "reason": "orphaned",
        "why": "no process has it",
        "namespace": {"name": "blue", "inode": 2},
        "state": "ESTABLISHED",
        "local": {"address": "10.0.0.1", "port": 80},
        "remote": {"address": "10.0.0.2", "port": 5000},
        "pid": None,
        "inode": 44,
    }
    assert (data["left"][2]["local"], data["left"][2]["pid"]) == (None, 12)


def test_a_destroyed_connection_alone_is_a_change(draining: Any) -> None:
    draining(NOTHING._replace(destroyed=2))
    assert done_json("drain", "t", "--kill")["changed"] is True


def test_a_dry_run_says_would_and_ends_with_0(draining: Any) -> None:
    draining(MOVED._replace(left=(ORPHAN,), destroyed=1))
    text = done("drain", "t", "--dry-run").stdout
    assert text.startswith(
        "dry run: nothing was done\n"
        "blue: 2 sockets would go from t (map 7, 9) to cubic\n"
        "1 connection would be destroyed\n"
    )


def test_what_was_not_inspected_is_a_failure_and_the_default_is_a_note(draining: Any) -> None:
    draining(MOVED._replace(not_inspected=("red may not be entered",), defaults=("blue",), notes=("slow",)))
    result = run_cli("drain", "t")
    assert (result.exit_code, result.stderr.splitlines()) == (
        1,
        [
            "not seen: red may not be entered",
            "note: slow",
            "note: new sockets of blue still get t: structops default OTHER --netns blue",
        ],
    )
    assert run_cli("drain", "t", "-q").stderr == ""
