"""One run of the unit tests under another Python, and what it came to."""

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
"""Fewer tests that passed are not the unit tests: something kept them from being found."""
TIMEOUT_S = 1800
OPTIONS = ("-q", "--tb=short", "-p", "tests.vm.report_plugin", "-p", "no:cacheprovider")
ENDED = (0, 1)
"""How pytest ends when it could run the tests: they passed, or some failed."""
OF_ANOTHER_PYTHON = ("PYTHONHOME", "PYTHONEXECUTABLE", "VIRTUAL_ENV")


class Ran(NamedTuple):
    """What one Python gave: results by test, and what is wrong with the run itself."""

    release: str
    results: dict[str, Result]
    trouble: str
    seconds: float


def run_tests(interpreter: Interpreter, selection: Sequence[str] = (), timeout_s: float = TIMEOUT_S) -> Ran:
    """Run the unit tests, or those of them that pytest's arguments select; what they say goes to ``build/pythons``."""
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
    """Return what is wrong with a run beside the tests that failed; nothing when it can be believed.

    ``code`` is what pytest ended with, or None when it was out of time.
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
    """Return the lines that make a run a failure: each test that failed, and what is wrong with the run itself."""
    name = f"Python {ran.release}"
    return [*failures(name, ran.results), *([f"{name}: {ran.trouble}"] if ran.trouble else [])]


def environment(own: Mapping[str, str]) -> dict[str, str]:
    """Return this process's environment for another Python, which finds the project in its checkout."""
    kept = {name: value for name, value in own.items() if name not in OF_ANOTHER_PYTHON}
    return {**kept, "PYTHONPATH": str(REPOSITORY)}


def _run(command: Sequence[str], said: Path, told: Path, timeout_s: float) -> int | None:
    """Return the exit code, or None when there was none in time."""
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
