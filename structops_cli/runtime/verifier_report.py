"""The report that the verifier of Linux 7.3 puts into its log: what it refused, why, where, and what to do.

Headings stand at the beginning of a line, what belongs to them is indented. Not
every refusal has a report, and nothing here relies on one: a heading that is not
there leaves its field empty.
"""

from __future__ import annotations

import re
from typing import NamedTuple

__all__ = ["Report", "report_in"]

BEGINS = "Verification failed:"
HEADING = re.compile(r"^([A-Z][a-z]+(?: [a-z]+)?):$")
INSTRUCTIONS = "Instruction context:"
MARKED = re.compile(r"^\s*>>>\s*(\d+) \|")


class Report(NamedTuple):
    """What a report says. ``insn`` is the index of the instruction that was refused, None where none is marked."""

    reason: str
    suggestion: str
    insn: int | None


def report_in(log: str) -> Report | None:
    """Return the last report of a log; None where it has none with a reason."""
    _, found, text = log.rpartition(f"\n{BEGINS}")
    sections = _sections(text) if found else {}
    reason = _paragraph(sections.get("Reason", []))
    if not reason:
        return None
    return Report(reason, _paragraph(sections.get("Suggestion", [])), _marked(sections.get("At", [])))


def _sections(text: str) -> dict[str, list[str]]:
    """Return the lines below each heading, to the next line that is not indented."""
    sections: dict[str, list[str]] = {}
    current: list[str] | None = None
    for line in text.splitlines():
        if heading := HEADING.match(line):
            current = sections.setdefault(heading[1], [])
        elif line[:1].strip():
            current = None
        elif current is not None:
            current.append(line)
    return sections


def _paragraph(lines: list[str]) -> str:
    return " ".join(" ".join(lines).split())


def _marked(lines: list[str]) -> int | None:
    """Return the marked instruction; the source has marked lines as well, in a context of its own."""
    among = False
    for line in lines:
        among = among or line.strip() == INSTRUCTIONS
        if among and (marked := MARKED.match(line)):
            return int(marked[1])
    return None
