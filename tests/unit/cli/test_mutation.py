"""Changing commands share the JSON of changes and the words of a dry run."""

from __future__ import annotations

from types import MappingProxyType

import pytest

from structops_cli.cli.mutation import caller_of, change_data, did
from structops_cli.cli.output import Output
from structops_cli.operations.transaction import Change

SAME = Change("map a", {"id": 1}, {"id": 1})
OTHER = Change("map b", MappingProxyType({"id": 1}), {"id": None})


def test_one_difference_makes_a_change() -> None:
    assert change_data([SAME], dry_run=False)["changed"] is False
    data = change_data([SAME, OTHER], dry_run=True)
    assert (data["changed"], data["dry_run"]) == (True, True)
    assert data["changes"] == [
        {"what": "map a", "changed": False, "before": {"id": 1}, "after": {"id": 1}},
        {"what": "map b", "changed": True, "before": {"id": 1}, "after": {"id": None}},
    ]
    assert type(data["changes"][1]["before"]) is dict  # json takes no other mapping


def test_a_dry_run_says_what_would_be_done() -> None:
    assert did("dropped", "drop", dry_run=False) == "dropped"
    assert did("dropped", "drop", dry_run=True) == "would drop"


def test_the_caller_reports_and_hides_the_missing_lock(capsys: pytest.CaptureFixture[str]) -> None:
    output = Output()
    caller = caller_of(output)
    assert caller.ends_with_report
    caller.waiting("waiting")
    caller.unlocked()
    assert capsys.readouterr().err == "waiting\n"
    output.verbosity = 1
    caller.unlocked()
    assert capsys.readouterr().err == "note: no lock: /run is not writable here\n"
