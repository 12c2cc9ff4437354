"""The findings of a check become a table, a matrix of several kernels, and problems."""

from __future__ import annotations

import pytest

from structops_cli.cli.check_text import checked_data, checked_text, problem_lines
from structops_cli.cli.output import Output
from structops_cli.operations.check import BootResult, CheckedObject
from structops_cli.runtime.targets import CheckTarget
from structops_cli.struct_ops.check import CheckReport
from structops_cli.struct_ops.check_members import MemberRow, MemberState, VariableReport
from structops_cli.struct_ops.findings import Finding, Severity
from structops_cli.struct_ops.plan import Selection, plan_object
from tests.synthetic_kernels import kernel
from tests.unit.cli.results import HOSTILE, SHOWN, quiet_output
from tests.unit.struct_ops.objects import spec

PLAN = plan_object(spec(), kernel(), Selection())
WARNING = Finding(Severity.WARNING, "t is odd", "it is", "mend it")
ERROR = Finding(Severity.ERROR, "t is wrong", "it is", "mend it", {"log": "0: exit\n"})


def checked(*findings: Finding, label: str = "6.12", path: str = "/k", name: str = "t.o") -> CheckedObject:
    report = CheckReport(name, PLAN, findings, (), ())
    return CheckedObject(CheckTarget(label, path, kernel), report)


def text(*items: CheckedObject, verbosity: int = 0) -> str:
    output = Output()
    output.verbosity = verbosity
    return checked_text(output, items)


def test_a_matrix_has_a_line_for_each_object_and_a_column_for_each_kernel() -> None:
    found = text(
        checked(WARNING, name="a.o"), checked(name="b.o"), checked(ERROR, label="7.3", name="a.o"),
        checked(Finding(Severity.UNKNOWN, "t"), label="7.3", name="b.o"),
    )  # fmt: skip
    assert found.splitlines()[:3] == [
        "OBJECT  6.12            7.3",
        "a.o     yes, 1 warning  no",
        "b.o     yes             cannot tell",
    ]


def test_quiet_prints_problems_only() -> None:
    assert checked_text(quiet_output(), [checked()]) == ""
    found = checked_text(quiet_output(), [checked(ERROR)])
    assert found.splitlines() == [
        "t.o on 6.12: would not register",
        "error: t is wrong",
        "  why: it is",
        "  fix: mend it",
    ]


def test_the_log_of_the_verifier_is_for_v_only() -> None:
    assert "0: exit" not in text(checked(ERROR))
    assert "  fix: mend it\n0: exit" in text(checked(ERROR), verbosity=1)


@pytest.mark.parametrize(("path", "how"), [("", "--verify asks it, as root"), ("/k", "--boot asks that")])
def test_a_yes_without_the_verifier_is_limited_by_a_note(path: str, how: str) -> None:
    assert (
        text(checked(path=path))
        .splitlines()[-1]
        .startswith(f"note: the verifier was not asked, and may refuse a program; {how}")
    )
    assert "note: the verifier" not in text(checked(ERROR, path=path))
    asked = checked(path=path)
    assert "note:" not in text(asked._replace(report=asked.report._replace(verifier_asked=True)))


def test_a_booted_kernel_that_disagrees_shows_both_answers() -> None:
    booted = BootResult("refused", "would register", False, ())
    item = checked(ERROR)._replace(booted=booted)
    assert "no (by its types yes)" in text(item, checked(label="7.3"))
    assert text(item).startswith("t.o on 6.12 (booted): refused\n")
    assert checked_data(item)["booted"]["agrees"] is False


def test_a_member_shows_both_sizes_if_they_differ() -> None:
    row = MemberRow("flags", 1, 8, 4, "u64 flags", "data", "", 2, None, MemberState.OK)
    absent = row._replace(name="new", member_index=None, size_bytes=None, value=None)
    item = checked()
    variable = VariableReport("one", "tcp_congestion_ops", HOSTILE, False, "", (row, absent))
    lines = text(item._replace(report=item.report._replace(variables=(variable,)))).splitlines()
    assert lines[2] == f"struct_ops one (tcp_congestion_ops), as {SHOWN}, without a link"
    assert lines[4].split() == ["flags", "1", "8", "(4", "here)", "data", "2", "-", "ok"]
    assert lines[5].split()[:5] == ["new", "-", "-", "data", "-"]


def test_a_problem_cannot_forge_a_line() -> None:
    assert problem_lines(Finding(Severity.ERROR, HOSTILE, HOSTILE, HOSTILE)).splitlines() == [
        f"error: {SHOWN}",
        f"  why: {SHOWN}",
        f"  fix: {SHOWN}",
    ]
