"""A pytest plugin for guests: each test is told when it begins and when it has ended, on a line of stderr.

What a guest told is known even when its kernel dies in the next test.
"""

from __future__ import annotations

import json
import os
import sys

import pytest

__all__ = ["MARK", "pytest_runtest_logfinish", "pytest_runtest_logreport", "pytest_runtest_logstart"]

MARK = "\x1e"
"""What a line begins with that this wrote (ASCII's record separator)."""
OUT = os.dup(sys.__stderr__.fileno()) if sys.__stderr__ else 2
"""Before pytest takes what tests write."""
_phases: list[pytest.TestReport] = []


def pytest_runtest_logstart(nodeid: str) -> None:
    """Tell that a test begins."""
    _phases.clear()
    _tell(test=_name(nodeid))


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Keep how setup, call and teardown ended."""
    _phases.append(report)


def pytest_runtest_logfinish(nodeid: str) -> None:
    """Tell how a test ended: by the first phase that did not pass."""
    ended = next((phase for phase in _phases if phase.outcome != "passed"), None)
    status, why = ("passed", "") if ended is None else _bad_end(ended)
    seconds = round(sum(phase.duration for phase in _phases), 2)
    _tell(test=_name(nodeid), status=status, why=why, seconds=seconds)


def _bad_end(phase: pytest.TestReport) -> tuple[str, str]:
    if phase.skipped:
        place = phase.longrepr if isinstance(phase.longrepr, tuple) else ("", 0, phase.longreprtext)
        return "skipped", str(place[2]).removeprefix("Skipped: ")
    crash = getattr(phase.longrepr, "reprcrash", None)
    why = crash.message if crash else phase.longreprtext
    return ("failed" if phase.when == "call" else "error"), why


def _name(nodeid: str) -> str:
    """Return ``file.py::test`` without the folders."""
    path, _, rest = nodeid.partition("::")
    return f"{os.path.basename(path)}::{rest}"


def _tell(**words: object) -> None:
    os.write(OUT, f"{MARK}{json.dumps(words)}\n".encode())
