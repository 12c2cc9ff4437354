"""``structops doctor``: one line for each finding, its reason and remedy, and the exit code."""

from __future__ import annotations

import pytest

from structops_cli.operations.findings import NOTE, OK, PROBLEM, Finding
from tests.cli_runner import done, run_cli
from tests.unit.cli.results import HOSTILE, SHOWN

FINE = Finding("BTF", OK, "6.12", "never shown", "never shown")
ODD = Finding("lockdown", NOTE, "not inspected", "only root may look")


def give(monkeypatch: pytest.MonkeyPatch, *found: Finding) -> None:
    monkeypatch.setattr("structops_cli.cli.doctor.examine", lambda: found)


def test_a_note_has_its_reason_and_is_no_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    give(monkeypatch, FINE, ODD)
    assert done("doctor").stdout.splitlines() == [
        "STATE  CHECK     FOUND",
        "ok     BTF       6.12",
        "note   lockdown  not inspected",
        "  why: only root may look",
    ]
    assert done("doctor", "--json").json()["healthy"] is True


def test_a_problem_ends_with_1_and_prints_its_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    give(monkeypatch, Finding("pins", PROBLEM, HOSTILE, HOSTILE, f"rm {HOSTILE}"))
    result = run_cli("doctor")
    assert (result.exit_code, result.stderr) == (1, "")
    assert result.stdout.splitlines()[1:] == [
        f"problem  pins   {SHOWN}",
        f"  why: {SHOWN}",
        f"  fix: rm {SHOWN}",
    ]
    structured = run_cli("doctor", "--json")
    assert structured.exit_code == 1
    assert '"healthy":false' in structured.stdout
    assert structured.stderr == ""
