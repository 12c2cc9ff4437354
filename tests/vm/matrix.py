"""One table of all tests by all kernels, from the JUnit reports of the guests."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple
from xml.etree import ElementTree as ET

__all__ = ["Result", "failures", "matrix", "read_report", "totals"]

SIGNS = {"passed": ".", "skipped": "s", "failed": "F", "error": "E", "absent": "-"}


class Result(NamedTuple):
    """How one test ended, and why if it did not pass."""

    status: str
    why: str
    seconds: float


def read_report(data: bytes) -> dict[str, Result]:
    """Return the results of a JUnit report by test, ``file.py::name``."""
    found: dict[str, Result] = {}
    for case in ET.fromstring(data).iter("testcase"):
        name = f"{case.get('classname', '').rpartition('.')[2]}.py::{case.get('name')}"
        result = _result(case)
        if name not in found or found[name].status == "passed":  # a test can pass and its teardown fail
            found[name] = result
    return found


def matrix(reports: Mapping[str, Mapping[str, Result]]) -> str:
    """Return the table: a row for each file, with its tests' signs by kernel, and a row for each test that differs."""
    names = sorted({name for report in reports.values() for name in report})
    width = max((len(name) for name in names), default=0)
    lines = [f"{'TEST'.ljust(width)}  {'  '.join(reports)}"]
    for name in names:
        signs = [
            SIGNS[report[name].status if name in report else "absent"].center(len(kernel))
            for kernel, report in reports.items()
        ]
        lines.append(f"{name.ljust(width)}  {'  '.join(signs)}".rstrip())
    legend = ", ".join(f"{sign} {status}" for status, sign in SIGNS.items())
    return "\n".join([*lines, legend])


def failures(kernel: str, report: Mapping[str, Result]) -> list[str]:
    """Return a line or more for each test that failed."""
    return [
        f"{kernel} {name}: {result.why}"
        for name, result in report.items()
        if result.status in ("failed", "error")
    ]


def totals(report: Mapping[str, Result]) -> str:
    """Return how many tests ended in which way, and the time that they took."""
    statuses = [result.status for result in report.values()]
    counts = [f"{statuses.count(status)} {status}" for status in SIGNS if status in statuses]
    return f"{', '.join(counts)} in {sum(result.seconds for result in report.values()):.0f} s"


def _result(case: ET.Element) -> Result:
    seconds = float(case.get("time") or 0)
    for tag, status in (("error", "error"), ("failure", "failed"), ("skipped", "skipped")):
        if (found := case.find(tag)) is not None:
            said = found.get("message") or found.text or ""
            return Result(status, said.strip(), seconds)
    return Result("passed", "", seconds)
