"""Before and after, and whether that is a difference."""

from __future__ import annotations

from structops_cli.cli.mutation import change_data
from structops_cli.operations.change import Change, changed

SAME = Change("default of initial", {"default": "cubic"}, {"default": "cubic"})
OTHER = Change("default of t_one", {"default": "cubic"}, {"default": "reno"})


def test_a_change_is_a_difference() -> None:
    assert not changed([])
    assert not changed([SAME])
    assert changed([SAME, OTHER])


def test_data_has_every_change_with_before_and_after() -> None:
    data = change_data([SAME, OTHER], dry_run=True)
    assert (data["changed"], data["dry_run"]) == (True, True)
    assert [item["changed"] for item in data["changes"]] == [False, True]
    assert data["changes"][1]["after"] == {"default": "reno"}
