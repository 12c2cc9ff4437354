"""Write the table of docs/explanation/kernels.md: the results of a run, its date and the exact kernels."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.vm.matrix import Result, by_file

__all__ = ["PAGE", "put_into", "report"]

PAGE = Path(__file__).parents[2] / "docs" / "explanation" / "kernels.md"
BEGIN = "<!-- what make vmtest VMTEST_ARGS=--write-docs found -->"
END = "<!-- end of what it found -->"


def report(
    results: Mapping[str, Mapping[str, Result]], qemu: str, day: dt.date, words: Sequence[str] = ()
) -> str:
    """Return the table of files by kernels' releases, with what made it, with which ``words``, and when."""
    how = f'`VMTEST_ARGS="{" ".join(words)}"`, ' if words else ""
    said = f"{day.isoformat()}, {how}QEMU {qemu}: passed + left out, each with its reason: the kernel lacks the feature, or has what a test is about the lack of."
    return f"{said}\n\n{by_file(results)}\n"


def put_into(text: str, made: str) -> str:
    """Replace the text between the marks."""
    pattern = re.compile(f"{re.escape(BEGIN)}.*?{re.escape(END)}", re.DOTALL)
    if not pattern.search(text):
        raise ValueError(f"{PAGE.name} lacks the line {BEGIN}")
    return pattern.sub(lambda _: f"{BEGIN}\n{made}{END}", text)
