"""The two pytest runs of ``make test`` have all tests, and a lost run is an error."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests import conftest

ROOT = Path(__file__).parents[2]
PYTHON = """#!/bin/sh
echo "$*" >>"$ASKED"
case $* in *tests/live*) exit $LIVE ;; esac
exit $OTHERS
"""


def make_test(folder: Path, *arguments: str, others: int = 0, live: int = 0) -> tuple[int, list[list[str]]]:
    """Return the exit code of ``.ci/test`` and its pytest runs, the live run last.

    ``others`` and ``live`` are the exit codes of the two runs.
    """
    python = folder / "python"
    python.write_text(PYTHON)
    python.chmod(0o755)
    asked = folder / "asked"
    environment = {**os.environ, "ASKED": str(asked), "OTHERS": str(others), "LIVE": str(live)}
    command = [str(ROOT / ".ci" / "test"), str(python), *arguments]
    code = subprocess.run(command, cwd=ROOT, env=environment, check=False).returncode
    runs = [line.split() for line in asked.read_text().splitlines()]
    return code, sorted(runs, key=lambda words: "tests/live" in words)


def test_every_test_is_in_one_of_two_runs(tmp_path: Path) -> None:
    code, (apart, live) = make_test(tmp_path, "-x")
    assert (code, apart[:4], apart[-1]) == (0, ["-m", "pytest", "-n", "2"], "-x")
    assert live == ["-m", "pytest", "tests/live", "-x"], "in order, in one process"
    folders = {"/".join(path.relative_to(ROOT).parts[:2]) for path in ROOT.glob("tests/**/test_*.py")}
    assert folders == {word for word in (*apart, *live) if word.startswith("tests/")}


@pytest.mark.parametrize(
    ("others", "live", "arguments", "ended"),
    [
        (0, 0, (), 0),
        (1, 0, (), 1),
        (0, 1, (), 1),
        (0, 5, (), 1),
        (5, 0, ("-k", "live"), 0),
        (5, 1, ("-k", "live"), 1),
    ],
)
def test_both_run_and_either_may_fail(
    tmp_path: Path, others: int, live: int, arguments: tuple[str, ...], ended: int
) -> None:
    code, runs = make_test(tmp_path, *arguments, others=others, live=live)
    assert (code, len(runs)) == (ended, 2)


@pytest.mark.parametrize(
    "words", [("tests/live/test_net.py",), ("-x", "tests/unit"), ("tests/unit/test_api.py::test_it", "-q")]
)
def test_a_selection_runs_as_it_is(tmp_path: Path, words: tuple[str, ...]) -> None:
    code, [run] = make_test(tmp_path, *words, others=1, live=1)
    assert (code, run) == (1, ["-m", "pytest", *words])


@pytest.mark.parametrize(
    ("words", "passed", "lacks"),
    [
        (("tests/live", "tests/vm"), "tests/vm/test_guests.py::test_one", True),
        (("tests/live", "tests/vm"), "tests/live/test_net.py::test_one", False),
        (("tests",), "tests/unit/test_api.py::test_one", True),
        (("tests/unit", "tests/fuzz"), "tests/unit/test_api.py::test_one", False),
        (("tests/live/test_net.py",), "", False),
    ],
)
def test_in_ci_a_run_of_all_live_tests_needs_one_that_passed(
    monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], passed: str, lacks: bool
) -> None:
    monkeypatch.setattr(conftest, "IN_CI", True)
    reporter = SimpleNamespace(stats={"passed": [SimpleNamespace(nodeid=passed)]})
    plugins = SimpleNamespace(get_plugin=lambda _: reporter)
    session: Any = SimpleNamespace(startpath=ROOT, config=SimpleNamespace(args=words, pluginmanager=plugins))
    assert conftest._lacks_live_tests(session) == lacks


@pytest.mark.parametrize(("library", "code"), [("libelf", 0), ("libbpf", 1)])
def test_a_library_of_a_long_list_is_found(tmp_path: Path, library: str, code: int) -> None:
    """``ldconfig`` writes on after the matching line, and SIGPIPE must not end it."""
    ldconfig = tmp_path / "ldconfig"
    ldconfig.write_text("#!/bin/sh\necho 'libelf.so.1 (libc6) => /lib/libelf.so.1'\nexec seq 100000\n")
    ldconfig.chmod(0o755)
    (tmp_path / "id").write_text("#!/bin/sh\necho 1000\n")  # nothing is installed for this user
    (tmp_path / "id").chmod(0o755)
    environment = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    command = [str(ROOT / ".ci" / "need"), library]
    done = subprocess.run(command, env=environment, check=False, capture_output=True, text=True)
    assert (done.returncode, f"missing: install {library}1" in done.stderr) == (code, bool(code))
