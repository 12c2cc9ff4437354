"""The result of a run under another Python: failures, and their description."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest

from structops_cli.errors import NotFoundError
from tests.compile import REPOSITORY
from tests.pythons import __main__ as command
from tests.pythons import runs
from tests.pythons.interpreter import Interpreter
from tests.pythons.runs import FEWEST, Ran, environment, run_tests, summary, trouble_of, troubles
from tests.vm.matrix import Result

PASSED, SKIPPED, FAILED = (Result(status, status, 0.1) for status in ("passed", "skipped", "failed"))
MIXED = {"a.py::one": PASSED, "a.py::two": SKIPPED, "b.py::three": FAILED, "b.py::four": PASSED}
SAID = REPOSITORY / "build" / "pythons" / "3.99.out"


@pytest.mark.parametrize(
    ("code", "bad", "passed", "trouble"),
    [
        (0, 0, 10, ""),
        (1, 2, 10, ""),
        (0, 0, 9, "only 9 passed, and 10 is the fewest"),
        (0, 0, 0, "only 0 passed"),
        (1, 1, 9, "only 9 passed"),
        (0, 1, 10, "pytest ended with 0, though 1 failed"),
        (1, 0, 10, "pytest ended with 1, see build/pythons/3.99.out"),
        (2, 0, 0, "pytest ended with 2"),
        (-11, 1, 10, "pytest ended with -11"),
        (None, 1, 10, "out of time"),
    ],
)
def test_which_run_can_be_believed(code: int | None, bad: int, passed: int, trouble: str) -> None:
    results = {f"{number}": FAILED if number < bad else PASSED for number in range(bad + passed)}
    found = trouble_of(code, results, SAID, 10)
    assert found.startswith(trouble)
    assert bool(found) == bool(trouble)


def test_little_is_not_enough() -> None:
    assert FEWEST >= 3000


def test_the_line_of_a_python() -> None:
    ran = Ran("3.99.1", MIXED, "", 61.4)
    assert summary(ran) == "Python 3.99.1: 2 passed, 1 skipped, 1 failed, 61 s"
    assert troubles(ran) == ["Python 3.99.1 b.py::three: failed"]
    assert troubles(ran._replace(trouble="out of time"))[1:] == ["Python 3.99.1: out of time"]


def test_another_python_finds_the_checkout_and_nothing_of_this_one() -> None:
    own = {"PATH": "/bin", "PYTHONHOME": "/x", "VIRTUAL_ENV": "/y", "PYTHONPATH": "/z", "CI": "true"}
    assert environment(own) == {"PATH": "/bin", "PYTHONPATH": str(REPOSITORY), "CI": "true"}


# Whole runs


@pytest.fixture
def python(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return where a script may be written that is run as a Python, with reports in a folder of their own."""
    monkeypatch.setattr(runs, "REPORTS", tmp_path / "reports")
    monkeypatch.setattr(Interpreter, "release", lambda self: f"{self.version}.1")
    (tmp_path / "usr/bin").mkdir(parents=True)
    return tmp_path / "usr/bin/python3"


def write(path: Path, text: str) -> Interpreter:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return Interpreter("3.99", str(path.parents[2]))


TOLD = """printf '\\036{"test":"a.py::one","status":"passed","why":"","seconds":0.1}\\n' >&2; echo "$@"; exit 0"""


def test_a_selection_needs_one_test_that_passed(python: Path) -> None:
    ran = run_tests(write(python, TOLD), ["tests/unit/a.py"])
    assert (ran.release, ran.trouble, list(ran.results)) == ("3.99.1", "", ["a.py::one"])
    assert (runs.REPORTS / "3.99.out").read_text().endswith("no:cacheprovider tests/unit/a.py\n")


def test_the_whole_run_needs_many(python: Path) -> None:
    assert "only 1 passed" in run_tests(write(python, TOLD)).trouble


def test_a_run_without_an_end(python: Path) -> None:
    assert run_tests(write(python, "exec sleep 60"), timeout_s=0.2).trouble == "out of time"


# The command


def test_it_ends_well_only_when_each_python_did(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interpreter_for(version: str, _: object) -> Interpreter:
        if version == "3.98":
            raise NotFoundError("Debian has no Python 3.98", why="there are 3.99")
        return Interpreter(version, "/nowhere")

    monkeypatch.setattr(command, "interpreter_for", interpreter_for)
    monkeypatch.setattr(command, "run_tests", lambda *_: Ran("3.99.1", {"a.py::one": PASSED}, "", 1))
    assert command.main(["3.99"]) == 0
    assert command.main(["3.98", "3.99"]) == 1
    line = "Python 3.99.1: 1 passed, 0 skipped, 0 failed, 1 s"
    missing = "Python 3.98: Debian has no Python 3.98: there are 3.99"
    assert capsys.readouterr().out.splitlines() == [line, missing, line]


def test_words_of_the_command() -> None:
    options = command._options(["3.13", "--", "-k", "x"])
    assert (options.pythons, options.selection) == (["3.13"], ("-k", "x"))
    with pytest.raises(argparse.ArgumentTypeError, match=r"3\.13\.1 is no version such as 3\.13"):
        command._version("3.13.1")
