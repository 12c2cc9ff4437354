"""A pytest plugin for guests: write a line to stderr when a test starts and when it ends.

So the results are known even if the kernel panics in the next test.
"""

from __future__ import annotations

import json
import os
import sys

import pytest

__all__ = ["MARK", "pytest_runtest_logfinish", "pytest_runtest_logreport", "pytest_runtest_logstart"]

MARK = "\x1e"
"""The first character of each line of this plugin: ASCII's record separator."""
OUT = os.dup(sys.__stderr__.fileno()) if sys.__stderr__ else 2
"""The stderr of the process, before pytest captures the output of tests."""
_phases: list[pytest.TestReport] = []


def pytest_runtest_logstart(nodeid: str) -> None:
    """Report the start of a test."""
    _phases.clear()
    _report(test=_name(nodeid))


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Keep the outcomes of setup, call and teardown."""
    _phases.append(report)


def pytest_runtest_logfinish(nodeid: str) -> None:
    """Report the outcome of a test, which the first phase that did not pass decides."""
    failed = next((phase for phase in _phases if phase.outcome != "passed"), None)
    status, why = ("passed", "") if failed is None else _failure(failed)
    seconds = round(sum(phase.duration for phase in _phases), 2)
    _report(test=_name(nodeid), status=status, why=why, seconds=seconds)


def _failure(phase: pytest.TestReport) -> tuple[str, str]:
    if phase.skipped:
        place = phase.longrepr if isinstance(phase.longrepr, tuple) else ("", 0, phase.longreprtext)
        return "skipped", str(place[2]).removeprefix("Skipped: ")
    crash = getattr(phase.longrepr, "reprcrash", None)
    why = crash.message if crash else phase.longreprtext
    return ("failed" if phase.when == "call" else "error"), why


def _name(nodeid: str) -> str:
    """Return ``file.py::test``, with the folders below ``tests/live`` or ``tests/unit``."""
    return nodeid.removeprefix("tests/live/").removeprefix("tests/unit/")


def _report(**words: object) -> None:
    os.write(OUT, f"{MARK}{json.dumps(words)}\n".encode())
