"""The table of live tests by kernels, and the tests that wait for a kernel."""

from __future__ import annotations

import os

import pytest

from tests.needs import Feature, require
from tests.vm.matrix import Result, failures, matrix, read_report, totals

REPORT = b"""<testsuites><testsuite>
<testcase classname="tests.live.test_a" name="test_one" time="1.5"/>
<testcase classname="tests.live.test_a" name="test_two[x]" time="2"><failure message="not so">long text</failure></testcase>
<testcase classname="tests.live.test_b" name="test_three" time="0"><skipped message="waits for Linux 6.4"/></testcase>
<testcase classname="tests.live.test_b" name="test_four" time="1"/>
<testcase classname="tests.live.test_b" name="test_four" time="1"><error message="left behind"/></testcase>
</testsuite></testsuites>"""


def test_a_report_by_test() -> None:
    report = read_report(REPORT)
    assert report["test_a.py::test_one"] == Result("passed", "", 1.5)
    assert report["test_a.py::test_two[x]"] == Result("failed", "not so", 2)
    assert report["test_b.py::test_three"].status == "skipped"
    assert report["test_b.py::test_four"] == Result("error", "left behind", 1), "its teardown failed"


def test_the_matrix_has_a_row_for_each_test_and_a_column_for_each_kernel() -> None:
    report = read_report(REPORT)
    lines = matrix({"5.10": {"test_a.py::test_one": Result("passed", "", 1)}, "6.12": report}).splitlines()
    assert [line.split() for line in lines[:-1]] == [
        ["TEST", "5.10", "6.12"],
        ["test_a.py::test_one", ".", "."],
        ["test_a.py::test_two[x]", "-", "F"],
        ["test_b.py::test_four", "-", "E"],
        ["test_b.py::test_three", "-", "s"],
    ]


def test_failures_and_totals() -> None:
    report = read_report(REPORT)
    assert failures("6.12", report) == [
        "6.12 test_a.py::test_two[x]: not so",
        "6.12 test_b.py::test_four: left behind",
    ]
    assert totals(report) == "1 passed, 1 skipped, 1 failed, 1 error in 4 s"


@pytest.mark.parametrize(
    ("release", "outcome"),
    [
        ("6.3.9-x", pytest.skip.Exception),
        ("6.4-rc1", pytest.fail.Exception),
        ("7.0.1+deb", pytest.fail.Exception),
    ],
)
def test_only_a_kernel_that_is_older_may_lack_a_feature(
    monkeypatch: pytest.MonkeyPatch, release: str, outcome: type[BaseException]
) -> None:
    monkeypatch.setattr(os, "uname", lambda: os.uname_result(("Linux", "host", release, "", "x86_64")))
    with pytest.raises(outcome, match=r"6\.4"):
        require(Feature("something", (6, 4), lambda: False))
    require(Feature("something", (6, 4), lambda: True))
