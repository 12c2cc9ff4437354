"""Write the table of docs/explanation/kernels.md: results, date and exact kernels."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence

from tests.vm.matrix import Result, by_file

__all__ = ["report"]


def report(
    results: Mapping[str, Mapping[str, Result]], qemu: str, day: dt.date, words: Sequence[str] = ()
) -> str:
    """Return the table of files by kernel release, with date, QEMU version and ``words``."""
    how = f'`VMTEST_ARGS="{" ".join(words)}"`, ' if words else ""
    said = f"{day.isoformat()}, {how}QEMU {qemu}: passed + left out, each with its reason: the kernel lacks the feature, or has what a test is about the lack of."
    return f"{said}\n\n{by_file(results)}\n"
