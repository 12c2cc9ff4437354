"""The result as a table for people and as plain data for machines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tests.bench.clock import Series, Timing
from tests.bench.figures import Measured
from tests.bench.start_up import LABELS, StartUp

__all__ = ["as_data", "as_text", "start_up_text"]

SCHEMA_VERSION = 1
COLUMNS = "{:<46} {:>8} {:>8}  {:>8} {:>8}  {:>7} {:>7}  {:<18}"


def as_text(lines: Sequence[Measured]) -> str:
    """Return the table: a line on the clock and one of processor time for each comparison, in milliseconds."""
    rows = [
        COLUMNS.format("", "structops", "", "against", "", "ratio", "", ""),
        COLUMNS.format("", "best", "median", "best", "median", "best", "median", "budget"),
    ]
    for line in lines:
        rows += _rows(line) + ([f"  {line.remark}"] if line.remark else [])
    return "\n".join(row.rstrip() for row in rows)


def _rows(line: Measured) -> list[str]:
    verdict = f"{line.budget:g}{' ' if line.unit != 'x' else ''}{line.unit} {'PASS' if line.within else 'over budget'}"
    if line.ours is None:
        return [COLUMNS.format(line.title, f"{line.value:.1f}", line.unit, "", "", "", "", verdict)]
    if line.other is None:
        return [COLUMNS.format(line.title, *_pair(line.ours.wall), "", "", "", "", verdict)]
    return [
        COLUMNS.format(line.title, *_times(line.ours.wall, line.other.wall), verdict),
        COLUMNS.format("  processor time", *_times(line.ours.cpu, line.other.cpu), ""),
    ]


def _times(ours: Timing, other: Timing) -> list[str]:
    ratios = [f"{mine / theirs:.2f}" for mine, theirs in zip(ours, other, strict=True)]
    return [*_pair(ours), *_pair(other), *ratios]


def _pair(timing: Timing) -> list[str]:
    return [f"{value:.1f}" for value in timing]


def start_up_text(parts: Sequence[StartUp]) -> str:
    """Return the table of where start-up goes: a column a command, in milliseconds."""
    labels = ["interpreter", *LABELS, "running and exit", "whole process"]
    rows = [f"{'start-up, best in ms':<24}" + "".join(f"{part.command:>10}" for part in parts)]
    for label in labels:
        values = [_part(part, label) for part in parts]
        if any(value is not None for value in values):
            rows.append(f"{label:<24}" + "".join(f"{'-' if v is None else f'{v:.1f}':>10}" for v in values))
    return "\n".join(rows)


def _part(part: StartUp, label: str) -> float | None:
    own = {"interpreter": part.interpreter, "running and exit": part.running, "whole process": part.whole}
    return own.get(label, part.imports.get(label))


def as_data(
    machine: Mapping[str, str], lines: Sequence[Measured], parts: Sequence[StartUp]
) -> dict[str, Any]:
    """Return the whole result as JSON takes it, every single run included."""
    return {
        "schema_version": SCHEMA_VERSION,
        "machine": dict(machine),
        "figures": [
            {
                "title": line.title,
                "unit": line.unit,
                "value": line.value,
                "budget": line.budget,
                "within": line.within,
                "remark": line.remark,
                "structops": _series(line.ours),
                "against": _series(line.other),
            }
            for line in lines
        ],
        "start_up": [{**part._asdict(), "imports": dict(part.imports)} for part in parts],
    }


def _series(series: Series | None) -> dict[str, Any] | None:
    if series is None:
        return None
    return {
        "name": series.name,
        "wall_ms": series.wall._asdict(),
        "cpu_ms": series.cpu._asdict(),
        "runs": [sample._asdict() for sample in series.samples],
    }
