"""Parse the verifier's report of Linux 7.3, and find hints for common refusals. Pure.

Headings of the report start a line, and their text is indented. Not every refusal
has a report, and a missing heading leaves its field empty. Hints depend only on the
last lines of a log, or on the reason of a report.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from structops_cli.struct_ops.kinds import kind_of

if TYPE_CHECKING:
    from structops_cli.struct_ops.plan import ProgramPlan

BEGINS = "Verification failed:"
HEADING = re.compile(r"^([A-Z][a-z]+(?: [a-z]+)?):$")
INSTRUCTIONS = "Instruction context:"
MARKED = re.compile(r"^\s*>>>\s*(\d+) \|")


class VerifierReport(NamedTuple):
    """The fields of a report. ``insn`` is the index of the marked instruction, or None."""

    reason: str
    suggestion: str
    insn: int | None


def report_in(log: str) -> VerifierReport | None:
    """Return the last report of a log; None if it has no reason."""
    _, found, text = log.rpartition(f"\n{BEGINS}")
    sections = _sections(text) if found else {}
    reason = _paragraph(sections.get("Reason", []))
    if not reason:
        return None
    return VerifierReport(reason, _paragraph(sections.get("Suggestion", [])), _marked(sections.get("At", [])))


def _sections(text: str) -> dict[str, list[str]]:
    """Return the indented lines below each heading."""
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
    """Return the marked instruction after the heading; the source context has marks, too."""
    among = False
    for line in lines:
        among = among or line.strip() == INSTRUCTIONS
        if among and (marked := MARKED.match(line)):
            return int(marked[1])
    return None


LEAVE_OUT = "leave the call out, or make it in a program of another type and hand over the result in a map"
TOO_LARGE = re.compile(r"program is too large|sequence of \d+ jumps is too complex")


class KnownRefusal(NamedTuple):
    """A pattern of a verifier message, and a hint with the pattern's groups in braces."""

    words: re.Pattern[str]
    hint: str


KNOWN = (
    KnownRefusal(
        re.compile(r"_or_null\b|possibly NULL pointer", re.IGNORECASE),
        "test the pointer before that line: if (!POINTER) return 0",
    ),
    KnownRefusal(
        re.compile(r"Global function (?P<function>\w+)\(\) (doesn't return|return value not void or) scalar"),
        "declare {function}() static, or let it return an integer: the verifier checks a global function by itself",
    ),
    KnownRefusal(
        re.compile(r"combined stack size of \d+ calls? is \d+"),
        "functions that call each other share 512 bytes: move large local variables into global ones or into a map",
    ),
    KnownRefusal(
        re.compile(r"call stack of \d+ frames is too deep"),
        "declare some of the functions static inline __attribute__((always_inline)): this kernel takes no such chain of calls",
    ),
    KnownRefusal(
        re.compile(r"(program of this type cannot use helper|unknown func) (?P<helper>bpf_\w+)#\d+"),
        f"{{type}}.{{member}} may not call the helper {{helper}} on this kernel: {LEAVE_OUT}",
    ),
    KnownRefusal(
        re.compile(r"invalid func (bpf_\w+|unknown)#(?P<number>\d+)"),
        "this kernel has no helper number {number}: register on a newer kernel, or leave the call out",
    ),
    KnownRefusal(
        re.compile(r"calling kernel function (?P<function>\w+) is not allowed"),
        f"{{type}}.{{member}} may not call {{function}}() on this kernel: {LEAVE_OUT}",
    ),
    KnownRefusal(
        re.compile(r"might sleep in a non-sleepable prog|must be sleepable to call sleepable"),
        "{sleep}",
    ),
    KnownRefusal(
        TOO_LARGE,
        "the verifier follows every path: give loops fewer rounds, use bpf_loop(), or move parts into global functions, "
        "which are checked once each",
    ),
)


def hint_for(words: Sequence[str], plan: ProgramPlan) -> str | None:
    """Return the hint for the last line that has a known message."""
    for line in reversed(words):
        for known in KNOWN:
            if match := known.words.search(line):
                return known.hint.format(
                    **match.groupdict(),
                    type=plan.type.name,
                    member=plan.member.name,
                    sleep=_of_sleeping(plan),
                )
    return None


def is_too_large(words: Sequence[str]) -> bool:
    """Tell whether the verifier refused the size or the number of paths of the program."""
    return any(TOO_LARGE.search(line) for line in words)


def _of_sleeping(plan: ProgramPlan) -> str:
    """Return the hint for a call that may sleep."""
    name = plan.member.name
    if name in (kind_of(plan.type.name).programs.sleepable or ()):
        return f'{name} may sleep: put the program into SEC("struct_ops.s/{name}")'
    return "leave the call out: this member is called where nothing may sleep"
