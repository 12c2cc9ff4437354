"""Print tables of all tests by all kernels, from the results of guests."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import NamedTuple
from xml.etree import ElementTree as ET

from tests.vm.report_plugin import MARK

__all__ = [
    "Result",
    "by_file",
    "failures",
    "junit",
    "left_out_everywhere",
    "matrix",
    "merged",
    "read_results",
    "totals",
]

SIGNS = {"passed": ".", "skipped": "s", "failed": "F", "error": "E", "absent": "-"}
UNFINISHED = "it had begun when the guest ended"


class Result(NamedTuple):
    """The status of one test, and its reason unless it passed."""

    status: str
    why: str
    seconds: float


def read_results(data: bytes) -> dict[str, Result]:
    """Parse the output of ``tests.vm.report_plugin``, by ``file.py::name``.

    A test that never ended is an error.
    """
    found: dict[str, Result] = {}
    for line in data.decode(errors="replace").split("\n")[:-1]:  # the last line may be incomplete
        mark, told, text = line.partition(MARK)
        if told and not mark:
            words = json.loads(text)
            name = words.pop("test")
            found[name] = Result(**words) if words else Result("error", UNFINISHED, 0)
    return found


def merged(parts: Iterable[Mapping[str, Result]]) -> dict[str, Result]:
    """Merge the results of several guests; the last run of a test counts."""
    return {name: result for part in parts for name, result in part.items()}


def matrix(reports: Mapping[str, Mapping[str, Result]]) -> str:
    """Return the table of tests: a row for each, with a sign for each kernel."""
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


def by_file(reports: Mapping[str, Mapping[str, Result]]) -> str:
    """Return a Markdown table of files: passed, skipped and failed tests on each kernel."""
    names = sorted({name for report in reports.values() for name in report})
    files = list(dict.fromkeys(name.partition("::")[0] for name in names))
    rows = [
        [f"`{file}`", *(_counts(_of_file(report, file)) for report in reports.values())] for file in files
    ]
    rows.append(["all", *(_counts(report.values()) for report in reports.values())])
    head = ["live tests", *reports]
    return "\n".join(f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head), *rows))


def failures(kernel: str, report: Mapping[str, Result]) -> list[str]:
    """Return a line for each failed test; it may contain line breaks."""
    return [
        f"{kernel} {name}: {result.why}"
        for name, result in report.items()
        if result.status in ("failed", "error")
    ]


def left_out_everywhere(reports: Iterable[Mapping[str, Result]]) -> list[str]:
    """Return a line for each file whose tests every kernel skipped."""
    ran: dict[str, bool] = {}
    for name, result in (item for report in reports for item in report.items()):
        file = name.partition("::")[0]
        ran[file] = ran.get(file, False) or result.status != "skipped"
    return [f"{file}: left out on every kernel of this run" for file in sorted(ran) if not ran[file]]


def totals(report: Mapping[str, Result]) -> str:
    """Return the number of tests by status, and the total time."""
    statuses = [result.status for result in report.values()]
    counts = [f"{statuses.count(status)} {status}" for status in SIGNS if status in statuses]
    return f"{', '.join(counts)} in {sum(result.seconds for result in report.values()):.0f} s"


def junit(kernel: str, report: Mapping[str, Result]) -> bytes:
    """Return the results of one kernel as JUnit XML, for CI tools."""
    suite = ET.Element("testsuite", name=kernel, tests=str(len(report)))
    for name, result in report.items():
        file, _, test = name.partition("::")
        case = ET.SubElement(
            suite, "testcase", classname=file.removesuffix(".py"), name=test, time=str(result.seconds)
        )
        if result.status != "passed":
            tag = {"skipped": "skipped", "error": "error"}.get(result.status, "failure")
            ET.SubElement(case, tag, message=_printable(result.why))
    text: bytes = ET.tostring(suite, encoding="utf-8", xml_declaration=True)
    return text


def _of_file(report: Mapping[str, Result], file: str) -> list[Result]:
    return [result for name, result in report.items() if name.partition("::")[0] == file]


def _counts(results: Iterable[Result]) -> str:
    """Return the counts as ``passed + skipped``, then failures; a dash if there is no test."""
    statuses = [result.status for result in results]
    bad = statuses.count("failed") + statuses.count("error")
    skipped = statuses.count("skipped")
    if not statuses:
        return "-"
    return f"{statuses.count('passed')}{f' + {skipped}' if skipped else ''}{f', **{bad} failed**' if bad else ''}"


def _printable(text: str) -> str:
    """Remove characters that XML cannot hold."""
    return "".join(letter for letter in text if letter in "\t\n" or letter >= " ")
