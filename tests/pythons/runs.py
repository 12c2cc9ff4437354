"""Run the unit tests under another Python, and judge the result."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from tests.compile import REPOSITORY
from tests.pythons.interpreter import Interpreter
from tests.vm.matrix import Result, failures, read_results

__all__ = ["FEWEST", "REPORTS", "Ran", "environment", "run_tests", "summary", "troubles"]

REPORTS = REPOSITORY / "build" / "pythons"
TESTS = "tests/unit"
FEWEST = 3000
"""With fewer passed tests, pytest did not find all unit tests."""
TIMEOUT_S = 1800
OPTIONS = ("-q", "--tb=short", "-p", "tests.vm.report_plugin", "-p", "no:cacheprovider")
ENDED = (0, 1)
"""The exit codes of pytest after it ran the tests: all passed, or some failed."""
OF_ANOTHER_PYTHON = ("PYTHONHOME", "PYTHONEXECUTABLE", "VIRTUAL_ENV")


class Ran(NamedTuple):
    """The results of one Python by test, and an error of the run itself."""

    release: str
    results: dict[str, Result]
    trouble: str
    seconds: float


def run_tests(interpreter: Interpreter, selection: Sequence[str] = (), timeout_s: float = TIMEOUT_S) -> Ran:
    """Run the unit tests or a selection of them; ``build/pythons`` gets their output."""
    release = interpreter.release()
    REPORTS.mkdir(parents=True, exist_ok=True)
    said, told = REPORTS / f"{interpreter.version}.out", REPORTS / f"{interpreter.version}.told"
    command = [interpreter.program, "-m", "pytest", *OPTIONS, *(selection or [TESTS])]
    begun = time.monotonic()
    code = _run(command, said, told, timeout_s)
    seconds = time.monotonic() - begun
    results = read_results(told.read_bytes())
    trouble = trouble_of(code, results, said, 1 if selection else FEWEST)
    return Ran(release, results, trouble, seconds)


def trouble_of(code: int | None, results: Mapping[str, Result], said: Path, fewest: int) -> str:
    """Return the error of a run besides failed tests; "" for a valid run.

    ``code`` is the exit code of pytest, None after a timeout.
    """
    statuses = [result.status for result in results.values()]
    bad, passed = statuses.count("failed") + statuses.count("error"), statuses.count("passed")
    if code is None:
        return "out of time"
    if code not in ENDED or (code and not bad):
        return f"pytest ended with {code}, see {os.path.relpath(said, REPOSITORY)}"
    if bad and not code:
        return f"pytest ended with 0, though {bad} failed"
    return "" if passed >= fewest else f"only {passed} passed, and {fewest} is the fewest"


def summary(ran: Ran) -> str:
    """Return the line of one Python."""
    statuses = [result.status for result in ran.results.values()]
    failed = statuses.count("failed") + statuses.count("error")
    return (
        f"Python {ran.release}: {statuses.count('passed')} passed, {statuses.count('skipped')} skipped, "
        f"{failed} failed, {ran.seconds:.0f} s"
    )


def troubles(ran: Ran) -> list[str]:
    """Return a line for each failed test, and one for an error of the run itself."""
    name = f"Python {ran.release}"
    return [*failures(name, ran.results), *([f"{name}: {ran.trouble}"] if ran.trouble else [])]


def environment(own: Mapping[str, str]) -> dict[str, str]:
    """Return this process's environment for another Python, with the checkout in its path."""
    kept = {name: value for name, value in own.items() if name not in OF_ANOTHER_PYTHON}
    return {**kept, "PYTHONPATH": str(REPOSITORY)}


def _run(command: Sequence[str], said: Path, told: Path, timeout_s: float) -> int | None:
    """Return the exit code, None after a timeout."""
    with said.open("wb") as stdout, told.open("wb") as stderr:
        try:
            done = subprocess.run(
                command,
                check=False,
                cwd=REPOSITORY,
                env=environment(os.environ),
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=stderr,
                timeout=timeout_s,
            )
        except subprocess.TimeoutExpired:
            return None
    return done.returncode
