"""Check how findings come to a verdict, and how an error becomes a finding."""

from __future__ import annotations

import pytest

from structops_cli.errors import UnsupportedError
from structops_cli.struct_ops.findings import Finding, Severity, Verdict, verdict_of


@pytest.mark.parametrize(
    ("severities", "verdict"),
    [
        ([], Verdict.WOULD),
        ([Severity.NOTE, Severity.WARNING], Verdict.WOULD),
        ([Severity.UNKNOWN, Severity.NOTE], Verdict.UNDECIDABLE),
        ([Severity.UNKNOWN, Severity.ERROR], Verdict.WOULD_NOT),
    ],
)
def test_the_gravest_severity_decides(severities: list[Severity], verdict: Verdict) -> None:
    assert verdict_of([Finding(one, "x") for one in severities]) is verdict


def test_an_error_is_an_error_unless_unread_modules_leave_it_open() -> None:
    error = UnsupportedError("no type", why="a", hint="b", type_name="t_ops")
    assert Finding.of_error(error) == (Severity.ERROR, "no type", "a", "b", {"type_name": "t_ops"})
    error.add(unread_modules=["t_module"])
    assert Finding.of_error(error).severity is Severity.UNKNOWN
