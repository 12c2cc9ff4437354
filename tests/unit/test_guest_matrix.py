"""Test the table of live tests by kernels, and the tests that wait for a kernel."""

from __future__ import annotations

import os
from datetime import date
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from tests.cli_runner import run_python
from tests.kernel_features import Feature, require
from tests.vm.docs_table import report
from tests.vm.guests import believable
from tests.vm.matrix import (
    Result,
    by_file,
    failures,
    junit,
    left_out_everywhere,
    matrix,
    merged,
    read_results,
    totals,
)
from tests.vm.suite import DIFFERING, LEFT_OUT, LIVE, NEWER, all_files, shares, takes_variants

TESTS = """
import os, pytest
def test_fine(): pass
def test_bad(): assert 1 == 2, "not so"
def test_left_out(): pytest.skip("waits for Linux 6.4")
@pytest.fixture
def after():
    yield
    raise OSError("left behind")
def test_torn(after): pass
def test_that_the_guest_dies_of(): os._exit(9)
def test_never(): pass
"""
REPORT = {
    "test_a.py::test_one": Result("passed", "", 1.5),
    "test_a.py::test_two[x]": Result("failed", "not so", 2),
    "test_b.py::test_three": Result("skipped", "waits for Linux 6.4", 0),
    "test_b.py::test_four": Result("error", "left behind \x1b", 1),
}


def test_what_guests_tell_is_known_when_they_die(tmp_path: Path) -> None:
    (tmp_path / "test_these.py").write_text(TESTS)
    root = str(Path(__file__).parents[2])
    words = (
        "-m",
        "pytest",
        "-q",
        "-p",
        "tests.vm.report_plugin",
        "-p",
        "no:cacheprovider",
        "-c",
        "/dev/null",
    )
    done = run_python(*words, str(tmp_path), environment={"PYTHONPATH": root})
    found = read_results(f"a warning\n{done.stderr}\x1e{{half".encode())
    statuses = {name.partition("::")[2]: result.status for name, result in found.items()}
    assert statuses == {
        "test_fine": "passed", "test_bad": "failed", "test_left_out": "skipped", "test_torn": "error",
        "test_that_the_guest_dies_of": "error",
    }  # fmt: skip
    whys = [found[f"test_these.py::test_{name}"].why for name in ("bad", "left_out", "torn")]
    assert whys[0].startswith("AssertionError: not so")
    assert whys[1:] == ["waits for Linux 6.4", "OSError: left behind"]
    assert found["test_these.py::test_that_the_guest_dies_of"].why == "it had begun when the guest ended"


@pytest.mark.parametrize(
    ("code", "statuses", "fine"),
    [
        (0, ("passed", "skipped"), True),
        (1, ("passed", "failed"), True),
        (1, ("error",), True),
        (1, ("passed", "passed"), False),
        (0, ("passed", "failed"), False),
        (2, ("failed",), False),
        (5, (), False),
    ],
)
def test_what_pytest_ends_with_goes_with_what_its_tests_told(
    code: int, statuses: tuple[str, ...], *, fine: bool
) -> None:
    results = {str(number): Result(status, "", 0) for number, status in enumerate(statuses)}
    assert believable(code, results) is fine


def test_the_matrix_has_a_row_for_each_test_and_a_column_for_each_kernel() -> None:
    lines = matrix({"5.10": {"test_a.py::test_one": Result("passed", "", 1)}, "6.12": REPORT}).splitlines()
    assert [line.split() for line in lines[:-1]] == [
        ["TEST", "5.10", "6.12"],
        ["test_a.py::test_one", ".", "."],
        ["test_a.py::test_two[x]", "-", "F"],
        ["test_b.py::test_four", "-", "E"],
        ["test_b.py::test_three", "-", "s"],
    ]


def test_failures_and_totals() -> None:
    assert failures("6.12", REPORT) == [
        "6.12 test_a.py::test_two[x]: not so",
        "6.12 test_b.py::test_four: left behind \x1b",
    ]
    assert totals(REPORT) == "1 passed, 1 skipped, 1 failed, 1 error in 4 s"


def test_a_file_that_no_kernel_ran_is_said() -> None:
    left_out = {
        "test_b.py::test_five": Result("skipped", "", 0),
        "test_c.py::test_six": Result("skipped", "", 0),
    }
    assert left_out_everywhere([REPORT, left_out]) == ["test_c.py: left out on every kernel of this run"]
    assert left_out_everywhere([REPORT]) == []


def test_a_test_that_ran_again_counts_by_its_last_run() -> None:
    again = {"test_a.py::test_two[x]": Result("passed", "", 3)}
    assert merged([REPORT, again]) == {**REPORT, **again}


def test_junit_holds_nothing_that_xml_cannot() -> None:
    suite = ET.fromstring(junit("6.12", REPORT))
    assert next((case.get("classname"), case.get("name")) for case in suite) == ("test_a", "test_one")
    assert [child.get("message") for case in suite for child in case] == [
        "not so", "waits for Linux 6.4", "left behind ",
    ]  # fmt: skip


def test_the_table_of_the_documentation() -> None:
    made = report({"5.10.0": {}, "6.12.1": REPORT}, "10.0", date(2026, 1, 2))
    assert made.startswith("2026-01-02, QEMU 10.0: ")
    assert by_file({"5.10.0": {}, "6.12.1": REPORT}).splitlines() == [
        "| live tests | 5.10.0 | 6.12.1 |",
        "| --- | --- | --- |",
        "| `test_a.py` | - | 1, **1 failed** |",
        "| `test_b.py` | - | 0 + 1, **1 failed** |",
        "| all | - | 1 + 1, **2 failed** |",
    ]


def test_every_file_is_in_one_share_or_left_out_by_name() -> None:
    files = {path.stem for path in LIVE.glob("test_*.py")}
    assert LEFT_OUT.keys() < files
    assert {name.partition("::")[0] for name in (*DIFFERING, *NEWER)} < set(all_files())
    for file, _, test in (name.partition("::") for name in DIFFERING):
        assert f"def {test}(" in (LIVE / f"{file}.py").read_text() or not test
    for count in (1, 2, 3):
        shared = [path for share in shares(all_files(), count) for path in share]
        assert sorted(shared) == sorted(f"tests/live/{name}.py" for name in files - LEFT_OUT.keys())


@pytest.mark.parametrize(
    ("selection", "takes"),
    [
        ((), True),
        (("-k", "verdict"), True),
        (("tests/live", "-x"), True),
        (("tests/live/test_check_proof.py::test_a", "tests/live/test_net.py"), True),
        (("tests/live/test_net.py",), False),
        (shares(DIFFERING, 1)[0], False),
    ],
)
def test_variants_are_compiled_for_the_test_that_goes_through_them(
    selection: tuple[str, ...], takes: bool
) -> None:
    assert takes_variants(selection) is takes


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
