"""Hints for the common refusals of the verifier, by its words. Pure.

Only the last words of a log are looked at, or the reason of its report: the same
sentence further up is a remark about something else. Words that are not known
here give no hint.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from structops_cli.struct_ops.kinds import kind_of

if TYPE_CHECKING:
    from structops_cli.struct_ops.plan import ProgramPlan

__all__ = ["hint_for", "is_too_large"]

LEAVE_OUT = "leave the call out, or make it in a program of another type and hand over the result in a map"
TOO_LARGE = re.compile(r"program is too large|sequence of \d+ jumps is too complex")


class Known(NamedTuple):
    """One refusal: a pattern of the verifier's words, and the hint; braces take the groups of the pattern."""

    words: re.Pattern[str]
    hint: str


KNOWN = (
    Known(
        re.compile(r"_or_null\b|possibly NULL pointer", re.IGNORECASE),
        "test the pointer before that line: if (!POINTER) return 0",
    ),
    Known(
        re.compile(r"Global function (?P<function>\w+)\(\) (doesn't return|return value not void or) scalar"),
        "declare {function}() static, or let it return an integer: the verifier checks a global function by itself",
    ),
    Known(
        re.compile(r"combined stack size of \d+ calls? is \d+"),
        "functions that call each other share 512 bytes: move large local variables into global ones or into a map",
    ),
    Known(
        re.compile(r"call stack of \d+ frames is too deep"),
        "declare some of the functions static inline __attribute__((always_inline)): this kernel takes no such chain of calls",
    ),
    Known(
        re.compile(r"(program of this type cannot use helper|unknown func) (?P<helper>bpf_\w+)#\d+"),
        f"{{type}}.{{member}} may not call the helper {{helper}} on this kernel: {LEAVE_OUT}",
    ),
    Known(
        re.compile(r"invalid func (bpf_\w+|unknown)#(?P<number>\d+)"),
        "this kernel has no helper number {number}: register on a newer kernel, or leave the call out",
    ),
    Known(
        re.compile(r"calling kernel function (?P<function>\w+) is not allowed"),
        f"{{type}}.{{member}} may not call {{function}}() on this kernel: {LEAVE_OUT}",
    ),
    Known(
        re.compile(r"might sleep in a non-sleepable prog|must be sleepable to call sleepable"),
        "{sleep}",
    ),
    Known(
        TOO_LARGE,
        "the verifier follows every path: give loops fewer rounds, use bpf_loop(), or move parts into global functions, "
        "which are checked once each",
    ),
)


def hint_for(words: Sequence[str], plan: ProgramPlan) -> str:
    """Return the hint for the last of the verifier's words that are known; "" for none."""
    for line in reversed(words):
        for known in KNOWN:
            if match := known.words.search(line):
                return known.hint.format(
                    **match.groupdict(),
                    type=plan.type.name,
                    member=plan.member.name,
                    sleep=_of_sleeping(plan),
                )
    return ""


def is_too_large(words: Sequence[str]) -> bool:
    """Tell whether the verifier gave up because of the program's size, or of the paths through it."""
    return any(TOO_LARGE.search(line) for line in words)


def _of_sleeping(plan: ProgramPlan) -> str:
    """Return the hint for a call that may sleep: only some members may, and not every type says which."""
    name = plan.member.name
    if name in (kind_of(plan.type.name).programs.sleepable or ()):
        return f'{name} may sleep: put the program into SEC("struct_ops.s/{name}")'
    return "leave the call out: this member is called where nothing may sleep"
