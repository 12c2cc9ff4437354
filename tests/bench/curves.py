"""Measure how the cost of CO-RE grows with the relocations and with the kernel's BTF."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import NamedTuple

from structops_cli.btf.btf import Btf
from structops_cli.btf.encode import encode
from structops_cli.btf.ext import CoreRelo
from structops_cli.btf.kernel_types import KernelTypes
from structops_cli.btf.types import BtfType, Int, Member, Struct
from structops_cli.runtime.kernel import live_kernel
from structops_cli.syscall.uapi import CoreReloKind
from tests.bench.figures import Bench
from tests.bench.generated_sources import FIELDS, common_layouts, compiled, many_relocations
from tests.bench.kernel import private_bpffs
from tests.bench.timing import Contender, Sample, compare, timed
from tests.core_fixups import compute_fixups

__all__ = ["CURVES", "Curve", "Line", "Point", "line_through"]

RELOCATIONS = (0, 500, 1000, 2000, 4000)
TYPES = max(RELOCATIONS) // FIELDS
STRUCTS = (25_000, 50_000, 100_000)
MEMBERS = ("a", "b", "c", "d")
ASKED = 500
MOST_ROUNDS = 5


class Point(NamedTuple):
    """A size, and the best time for it."""

    x: int
    ms: float


class Line(NamedTuple):
    """The points of one contender.

    ``slope`` is ms for each step. ``bend`` is the slope of the last stretch divided by the
    slope of the whole, 1 if linear.
    """

    name: str
    points: tuple[Point, ...]
    slope: float
    bend: float


class Curve(NamedTuple):
    """The best time of ``rounds`` runs for each point, measured by ``clock``.

    Slopes are for each ``step``.
    """

    title: str
    clock: str
    step: str
    rounds: int
    lines: tuple[Line, ...]


def by_relocations(bench: Bench) -> Curve:
    """Register objects with more and more relocations, in whole processes."""
    layouts = common_layouts(live_kernel().vmlinux, TYPES)
    paths = {
        count: compiled(many_relocations(layouts, count, "t_relos"), bench.folder / f"curve{count}.bpf.o")
        for count in RELOCATIONS
    }
    with private_bpffs() as ours, private_bpffs() as theirs:
        contenders = [
            Contender(f"{name} {count}", run)
            for count, path in paths.items()
            for name, run in _registrations(bench, path, ours, theirs).items()
        ]
        rounds = min(bench.rounds, MOST_ROUNDS)
        series = compare(contenders, rounds)
    best = {line.name: line.user.best for line in series}
    lines = [
        line_through(name, [Point(count, best[f"{name} {count}"]) for count in RELOCATIONS], 1000)
        for name in ("structops", "bpftool")
    ]
    title = f"relocations over {TYPES} types, registered"
    return Curve(title, "user time", "1,000", rounds, tuple(lines))


def _registrations(bench: Bench, path: Path, ours: Path, theirs: Path) -> dict[str, Callable[[], Sample]]:
    return {
        "structops": lambda: bench.register([path], ours),
        "bpftool": lambda: bench.bpftool_register([path], theirs),
    }


def by_kernel_size(bench: Bench) -> Curve:
    """Relocate against written BTF with more and more types, in this process."""
    local = Btf(encode(_types(ASKED)), origin="object")
    relos = [
        CoreRelo(number, struct_id, f"0:{number % len(MEMBERS)}", CoreReloKind.FIELD_BYTE_OFFSET)
        for number, struct_id in enumerate(range(2, 2 + ASKED))
    ]

    def relocation_against(data: bytes) -> Callable[[], Sample]:
        def run() -> Sample:
            with timed() as taken:
                compute_fixups(local, KernelTypes(Btf(data, origin="written")), relos)
            return taken[0]

        return run

    contenders = [Contender(str(count), relocation_against(encode(_types(count)))) for count in STRUCTS]
    series = compare(contenders, bench.rounds)
    points = [Point(count, line.cpu.best) for count, line in zip(STRUCTS, series, strict=True)]
    title = f"structs in the kernel's BTF, opened and {ASKED} relocations computed"
    return Curve(
        title,
        "processor time",
        "10,000",
        bench.rounds,
        (line_through("structops, in process", points, 10_000),),
    )


def _types(structs: int) -> list[BtfType]:
    """Return an integer and ``structs`` structs of it."""
    members = tuple(Member(name, 1, number * 32, 0) for number, name in enumerate(MEMBERS))
    made: Iterator[BtfType] = (
        Struct(number + 2, f"type_{number}", 16, members, False) for number in range(structs)
    )
    return list(chain([Int(1, "u32", 4, 0, 0, 32)], made))


def line_through(name: str, points: Sequence[Point], step: int) -> Line:
    """Return points with their slope for each ``step``, and their bend."""
    whole, last = (_slope(points[first], points[-1]) for first in (0, -2))
    return Line(name, tuple(points), whole * step, last / whole if whole else 0.0)


def _slope(first: Point, last: Point) -> float:
    return (last.ms - first.ms) / (last.x - first.x)


CURVES: Mapping[str, Callable[[Bench], Curve]] = {
    "curve-relocations": by_relocations,
    "curve-kernel": by_kernel_size,
}
"""The curves, by the names on the command line."""
