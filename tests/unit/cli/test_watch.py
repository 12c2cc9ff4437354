"""``structops watch``: each event is a line, and how many of them end it."""

from __future__ import annotations

import json
import os
import sys
from typing import Any, Self

import pytest

from structops_cli.cli import watch
from structops_cli.cli.output import ReaderGone
from structops_cli.cli.watch import _data, _text
from structops_cli.operations.watch import Event, Snapshot, Watcher
from tests.cli_runner import done, run_cli
from tests.unit.cli.results import HOSTILE, SHOWN

EVENT = Event("registered", 0.12345, "t_a", "tcp_congestion_ops", map_id=7, link_id=3)
DEFAULT = Event("default", 0.0, HOSTILE, "", 8, 7, netns=2, before="t_a")


class Written(Watcher):
    """A watcher whose reads give written events, one list a read."""

    reads: list[tuple[Event, ...]]

    def __init__(self, _: None) -> None:
        self._last = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def begin(self) -> Snapshot:
        return Snapshot(0.0, {}, {}, frozenset())

    def changes(self) -> tuple[Event, ...]:
        if not self.reads:
            raise KeyboardInterrupt
        return self.reads.pop(0)

    def title(self, netns: int) -> str:
        return f"net:[{netns}]"


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return a function that sets the events of each read; Ctrl-C comes after the last."""

    def give(*events: tuple[Event, ...]) -> None:
        Written.reads = list(events)

    monkeypatch.setattr(watch, "readable_kernel", lambda: None)
    monkeypatch.setattr(watch, "Watcher", Written)
    monkeypatch.setattr(watch, "_wait", lambda _: None)
    return give


@pytest.mark.parametrize(
    ("event", "text"),
    [
        (EVENT, "registered t_a id:7 (tcp_congestion_ops), link 3"),
        (EVENT._replace(link_id=None), "registered t_a id:7 (tcp_congestion_ops)"),
        (
            EVENT._replace(kind="replaced", old_map_id=5),
            "replaced t_a id:7 (tcp_congestion_ops), in place of id:5 behind link 3",
        ),
        (EVENT._replace(kind="retired", holders=0), "retired t_a id:7 (tcp_congestion_ops), nothing still holds it"),
        (EVENT._replace(kind="retired", holders=1), "retired t_a id:7 (tcp_congestion_ops), 1 still holds it"),
        (EVENT._replace(kind="retired", holders=2), "retired t_a id:7 (tcp_congestion_ops), 2 still hold it"),
        (EVENT._replace(kind="ejected", reason="stall"), "ejected t_a id:7 (tcp_congestion_ops): stall"),
        (EVENT._replace(kind="ejected"), "ejected t_a id:7 (tcp_congestion_ops)"),
        (DEFAULT, f"default of blue: {SHOWN} id:8, was t_a id:7"),
        (DEFAULT._replace(name="cubic", map_id=None), "default of blue: cubic, was t_a id:7"),
    ],
)  # fmt: skip
def test_an_event_is_a_line(event: Event, text: str) -> None:
    clock, _, rest = _text(event, "blue").partition(" ")
    assert (len(clock), rest) == (len("00:00:00"), text)


def test_data_has_null_for_what_does_not_belong_to_the_event() -> None:
    data = _data(EVENT, None)
    assert (data["time"], data["netns"], data["old_map_id"], data["reason"]) == (0.123, None, None, None)
    assert _data(DEFAULT, "blue")["namespace"] == "blue"
    retired = _data(EVENT._replace(kind="retired", holders=2, reason="x"), None)
    assert (retired["event"], retired["holders"], retired["reason"]) == ("retired", 2, "x")


def test_a_reader_that_ends_does_not_wait_for_the_next_event(monkeypatch: pytest.MonkeyPatch) -> None:
    reading, writing = os.pipe()
    with os.fdopen(writing, "w") as stdout:
        monkeypatch.setattr(sys, "stdout", stdout)
        watch._wait(0.001)
        os.close(reading)
        with pytest.raises(ReaderGone, match="its reader has ended"):
            watch._wait(600)


def test_it_ends_after_so_many_events(reads: Any) -> None:
    reads((EVENT, DEFAULT), (EVENT,))
    result = done("watch", "--count", "2")
    assert result.stdout.count("\n") == 2
    assert result.stderr == "watching 0 maps and 0 namespaces\n"
    reads((EVENT, DEFAULT))
    lines = done("watch", "--count", "2", "-q", "--json").stdout.splitlines()
    assert [json.loads(line)["namespace"] for line in lines] == [None, "net:[2]"]


def test_ctrl_c_is_the_usual_end_but_not_before_the_count(reads: Any) -> None:
    reads((EVENT,))
    assert run_cli("watch").exit_code == 0
    reads((EVENT,))
    assert run_cli("watch", "--count", "2").exit_code == 130


def test_a_timeout_before_the_count_is_a_failure(reads: Any) -> None:
    reads()
    assert run_cli("watch", "--timeout", "0").exit_code == 0
    assert run_cli("watch", "--timeout", "0", "--count", "1").exit_code == 1


@pytest.mark.parametrize("words", [("--interval", "0"), ("--count", "0"), ("--timeout", "-1")])
def test_numbers_out_of_range(words: tuple[str, ...]) -> None:
    result = run_cli("watch", *words)
    assert (result.exit_code, f"Invalid value for '{words[0]}'" in result.stderr) == (2, True)
