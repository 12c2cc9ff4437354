"""Write the results of a check as JUnit XML: a suite per kernel, a case per object."""

from __future__ import annotations

import re
from collections.abc import Sequence
from xml.sax.saxutils import escape, quoteattr

from structops_cli.cli.check_text import problem_lines
from structops_cli.errors import UsageError
from structops_cli.operations.check import CheckedObject, problems_of
from structops_cli.struct_ops.findings import Severity, Verdict

NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""Characters that XML 1.0 cannot contain, and names in objects can."""


def write_junit(path: str, checked: Sequence[CheckedObject], *, strict: bool) -> None:
    """Write the results to a file. Raises ``UsageError`` if it cannot be written."""
    try:
        with open(path, "w", encoding="utf-8") as file:
            file.write(junit_xml(checked, strict=strict))
    except OSError as error:
        raise UsageError(f"{path} cannot be written", why=error.strerror or "") from None


def junit_xml(checked: Sequence[CheckedObject], *, strict: bool) -> str:
    """Return the results as XML.

    A failure means that the object would not register, an error that the answer is unknown.
    With ``strict`` a warning is a failure.
    """
    suites: dict[str, list[CheckedObject]] = {}
    for item in checked:
        suites.setdefault(item.kernel.label, []).append(item)
    bodies = [_suite(label, items, strict=strict) for label, items in suites.items()]
    return '<?xml version="1.0" encoding="UTF-8"?>\n<testsuites>\n' + "".join(bodies) + "</testsuites>\n"


def _suite(label: str, items: Sequence[CheckedObject], *, strict: bool) -> str:
    outcomes = [_outcome(item, strict=strict) for item in items]
    counts = f'tests="{len(items)}" failures="{outcomes.count("failure")}" errors="{outcomes.count("error")}"'
    cases = "".join(_case(item, outcome) for item, outcome in zip(items, outcomes, strict=True))
    return f"  <testsuite name={_attribute(f'structops check {label}')} {counts}>\n{cases}  </testsuite>\n"


def _outcome(item: CheckedObject, *, strict: bool) -> str:
    """Return the name of a result's element, "" if the object passed."""
    if item.report.verdict is Verdict.WOULD_NOT:
        return "failure"
    if item.report.verdict is Verdict.UNDECIDABLE:
        return "error"
    warned = any(finding.severity is Severity.WARNING for finding in item.report.findings)
    return "failure" if strict and warned else ""


def _case(item: CheckedObject, outcome: str) -> str:
    problems = problems_of(item.report)
    said = escape(_clean("\n".join(problem_lines(finding) for finding in problems)))
    head = f"    <testcase classname={_attribute(item.kernel.label)} name={_attribute(item.report.object)}"
    if outcome:
        first = _attribute(problems[0].what if problems else item.report.verdict.value)
        return f"{head}>\n      <{outcome} message={first}>{said}</{outcome}>\n    </testcase>\n"
    return f"{head}>\n      <system-out>{said}</system-out>\n    </testcase>\n" if said else f"{head}/>\n"


def _attribute(text: str) -> str:
    return quoteattr(_clean(text))


def _clean(text: str) -> str:
    return NOT_XML.sub("\ufffd", text)
