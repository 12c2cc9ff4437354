"""Print the result as a table or as JSON data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tests.bench.curves import Curve
from tests.bench.figures import Measured
from tests.bench.start_up import LABELS, StartUp
from tests.bench.timing import Series, Timing

__all__ = ["as_data", "as_text", "curve_text", "start_up_text"]

SCHEMA_VERSION = 1
BAR = 60
COLUMNS = "{:<46} {:>8} {:>8}  {:>8} {:>8}  {:>7} {:>7}  {:<18}"


def as_text(lines: Sequence[Measured]) -> str:
    """Return the table, in milliseconds: wall-clock and processor time of each comparison."""
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
    wall, cpu = _times(line.ours.wall, line.other.wall), _times(line.ours.cpu, line.other.cpu)
    if line.of_user_time:
        user = _times(line.ours.user, line.other.user)
        return [COLUMNS.format(line.title, *user, verdict), COLUMNS.format("  on the clock", *wall, "")]
    return [COLUMNS.format(line.title, *wall, verdict), COLUMNS.format("  processor time", *cpu, "")]


def _times(ours: Timing, other: Timing) -> list[str]:
    ratios = [f"{mine / theirs:.2f}" for mine, theirs in zip(ours, other, strict=True)]
    return [*_pair(ours), *_pair(other), *ratios]


def _pair(timing: Timing) -> list[str]:
    return [f"{value:.1f}" for value in timing]


def start_up_text(parts: Sequence[StartUp]) -> str:
    """Return the table of start-up times in milliseconds: a column for each command."""
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


def curve_text(curve: Curve) -> str:
    """Draw a curve: a bar for each point, and each contender's slope and bend."""
    longest = max(point.ms for line in curve.lines for point in line.points) or 1.0
    rows = [f"{curve.title}, best of {curve.rounds} in ms of {curve.clock}"]
    for line in curve.lines:
        rows.append(
            f"  {line.name}: {line.slope:.3g} ms for each {curve.step}, the last step {line.bend:.2f} of that"
        )
        rows += [
            f"  {point.x:>8,} {point.ms:>8.1f}  {'#' * round(BAR * point.ms / longest)}"
            for point in line.points
        ]
    return "\n".join(row.rstrip() for row in rows)


def as_data(
    machine: Mapping[str, str],
    lines: Sequence[Measured],
    curves: Sequence[Curve],
    parts: Sequence[StartUp],
) -> dict[str, Any]:
    """Return the whole result as JSON data, with every single run."""
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
                "of_user_time": line.of_user_time,
                "structops": _series(line.ours),
                "against": _series(line.other),
            }
            for line in lines
        ],
        "curves": [_curve(curve) for curve in curves],
        "start_up": [{**part._asdict(), "imports": dict(part.imports)} for part in parts],
    }


def _curve(curve: Curve) -> dict[str, Any]:
    lines = [
        {
            "name": line.name,
            "slope_ms": line.slope,
            "bend": line.bend,
            "points": [point._asdict() for point in line.points],
        }
        for line in curve.lines
    ]
    return {"title": curve.title, "clock": curve.clock, "step": curve.step, "lines": lines}


def _series(series: Series | None) -> dict[str, Any] | None:
    if series is None:
        return None
    return {
        "name": series.name,
        "wall_ms": series.wall._asdict(),
        "cpu_ms": series.cpu._asdict(),
        "user_ms": series.user._asdict(),
        "runs": [sample._asdict() for sample in series.samples],
    }
