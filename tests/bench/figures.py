"""Compare structops with bpftool or with a number, each figure with a budget.

Figures time whole processes, unless their title has "in process". Each run is undone
before the next one, which is not timed.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

from structops_cli.core.target import Target
from structops_cli.obj.reader import read_object
from structops_cli.runtime.kernel import live_kernel
from structops_cli.struct_ops.plan import Selection
from structops_cli.syscall import bpf
from structops_cli.syscall.uapi import BtfKind
from tests.bench.kernel import maps_without_value, private_bpffs, registered_maps, unregister_pins
from tests.bench.renamed_objects import renamed, short_names
from tests.bench.timing import (
    CommandError,
    Contender,
    Sample,
    Series,
    command,
    compare,
    peak_memory_kib,
    timed,
)
from tests.registering import register_object

__all__ = ["FIGURES", "Bench", "Figure", "Measured", "ratio", "ratio_of_user_time"]

MANY = 32
LISTED = 200


class Bench(NamedTuple):
    """The two commands, the object, a folder for files, and the number of rounds."""

    structops: tuple[str, ...]
    bpftool: str
    object: bytes
    registered_name: str
    folder: Path
    rounds: int

    def write_objects(self, names: Sequence[str]) -> list[Path]:
        """Write one object for each name, which it registers, and return their paths."""
        paths = [self.folder / f"{name}.bpf.o" for name in names]
        for path, name in zip(paths, names, strict=True):
            path.write_bytes(renamed(self.object, self.registered_name, name))
        return paths

    def register(self, objects: Sequence[Path], place: Path) -> Sample:
        """Register objects with one call of structops."""
        return _fresh(place, lambda: command([*self.structops, "register", *objects, "--pin-dir", place])[0])

    def bpftool_register(self, objects: Sequence[Path], place: Path) -> Sample:
        """Register objects with one call of bpftool each.

        Each has its own folder, because bpftool pins by the map's name.
        """
        folders = _folders(place, len(objects))
        pairs = zip(objects, folders, strict=True)
        calls = [(self.bpftool, "struct_ops", "register", path, folder) for path, folder in pairs]
        return _fresh(place, lambda: _sum([command(call)[0] for call in calls]))

    def bpftool_batch(self, objects: Sequence[Path], place: Path) -> Sample:
        """Register objects with one call of bpftool and a batch file."""
        folders, batch = _folders(place, len(objects)), self.folder / "batch"
        batch.write_text(
            "".join(f"struct_ops register {o} {f}\n" for o, f in zip(objects, folders, strict=True))
        )
        return _fresh(place, lambda: command([self.bpftool, "batch", "file", batch])[0])


def _folders(place: Path, count: int) -> list[Path]:
    folders = [place / str(number) for number in range(count)]
    for folder in folders:
        folder.mkdir(exist_ok=True)
    return folders


def _fresh(place: Path, run: Callable[[], Sample]) -> Sample:
    try:
        return run()
    finally:
        unregister_pins(place)


def _sum(samples: Sequence[Sample]) -> Sample:
    wall, cpu, user = (sum(times) for times in zip(*samples, strict=True))
    return Sample(wall, cpu, user)


class Measured(NamedTuple):
    """One line of the result.

    ``unit`` is ``x`` for a ratio to ``other``, else that of ``value``. A ratio is the
    larger of those of the best and of the median runs. It compares user time if
    ``of_user_time``, else the wall clock.
    """

    title: str
    budget: float
    unit: str
    value: float
    ours: Series | None = None
    other: Series | None = None
    remark: str = ""
    of_user_time: bool = False

    @property
    def within(self) -> bool:
        """Whether the value is within the budget."""
        return self.value <= self.budget


def ratio(title: str, budget: float, ours: Series, other: Series) -> Measured:
    """Compare the wall-clock time of two contenders."""
    worst = max(ours.wall.best / other.wall.best, ours.wall.median / other.wall.median)
    return Measured(title, budget, "x", worst, ours, other)


def ratio_of_user_time(title: str, budget: float, ours: Series, other: Series) -> Measured:
    """Compare the user time of two contenders, without the time of the kernel's verifier."""
    worst = max(ours.user.best / other.user.best, ours.user.median / other.user.median)
    return Measured(title, budget, "x", worst, ours, other, of_user_time=True)


# The figures


def register_one(bench: Bench) -> list[Measured]:
    """Register the bundled object in a whole process."""
    objects = bench.write_objects(["bpf_bench"])
    with private_bpffs() as ours, private_bpffs() as theirs:
        series = compare(
            [
                Contender("structops", lambda: bench.register(objects, ours)),
                Contender("bpftool", lambda: bench.bpftool_register(objects, theirs)),
            ],
            bench.rounds,
        )
    return [ratio("register one object", 4.0, *series)]


def register_many(bench: Bench) -> list[Measured]:
    """Register many objects with one call, against as many calls and against a batch.

    There is no batch if bpftool crashes on it.
    """
    objects = bench.write_objects([f"bpf_t{number:02}" for number in range(MANY)])
    with private_bpffs() as first, private_bpffs() as second, private_bpffs() as third:
        contenders = [
            Contender("structops", lambda: bench.register(objects, first)),
            Contender(f"{MANY} x bpftool", lambda: bench.bpftool_register(objects, second)),
            Contender("bpftool batch", lambda: bench.bpftool_batch(objects, third)),
        ]
        remark = _why_not(contenders[2])
        ours, calls, *batch = compare(contenders[:2] if remark else contenders, bench.rounds)
    alone = ratio(f"{MANY} objects in one call, against {MANY} calls", 0.4, ours, calls)
    if remark:
        return [alone._replace(remark=f"no batch to compare with: {remark}")]
    return [alone, ratio(f"{MANY} objects in one call, against one batch", 0.4, ours, batch[0])]


def _why_not(contender: Contender) -> str:
    """Return the error of a contender that cannot run, else "".

    In the second struct_ops command of a batch, bpftool 7.5 crashes: it uses the kernel's
    BTF, which it freed after the first one.
    """
    try:
        contender.run()
    except CommandError as error:
        return str(error).partition(":")[0]
    return ""


def register_in_process(bench: Bench) -> list[Measured]:
    """Register from the object's bytes with a parsed kernel BTF, against bpftool."""
    target = Target(live_kernel())
    objects = bench.write_objects(["bpf_bench"])
    data = objects[0].read_bytes()
    with private_bpffs() as ours, private_bpffs() as theirs:
        series = compare(
            [
                Contender("in process", lambda: _register_bytes(data, target, ours)),
                Contender("bpftool", lambda: bench.bpftool_register(objects, theirs)),
            ],
            bench.rounds,
        )
    return [ratio("object's bytes to registered, in process", 0.3, *series)]


def _register_bytes(data: bytes, target: Target, place: Path) -> Sample:
    with ExitStack() as undo:
        with timed() as taken:
            done = register_object(
                read_object(data, "bench.bpf.o"), target, Selection(), os.fspath(place), undo
            )
        for one in done.registered:
            if one.link is not None:
                bpf.link_detach(one.link)
    unregister_pins(place)
    return taken[0]


def list_many(bench: Bench) -> list[Measured]:
    """List many struct_ops maps, once registered and once without a value."""
    target, names = Target(live_kernel()), short_names("t_b", LISTED)
    objects = [renamed(bench.object, bench.registered_name, name) for name in names]
    contenders = [
        Contender("structops", lambda: command([*bench.structops, "list"])[0]),
        Contender("bpftool", lambda: command([bench.bpftool, "struct_ops", "list"])[0]),
    ]
    with registered_maps(objects, target):
        registered = compare(contenders, bench.rounds)
    with maps_without_value(names, target.kernel):
        unset = compare(contenders, bench.rounds)
    return [
        ratio(f"list of {LISTED} registered maps", 5.0, *registered),
        ratio(f"list of {LISTED} maps without a value", 5.0, *unset),
    ]


def peak_memory(bench: Bench) -> list[Measured]:
    """Measure the peak memory of a registration, for structops and bpftool."""
    (path,) = bench.write_objects(["bpf_bench"])
    with private_bpffs() as place:
        folder = _folders(place, 1)[0]
        try:
            ours = peak_memory_kib([*bench.structops, "register", path, "--pin-dir", place])
            unregister_pins(place)
            theirs = peak_memory_kib([bench.bpftool, "struct_ops", "register", path, folder])
        finally:
            unregister_pins(place)
    remark = f"bpftool: {theirs / 1024:.1f} MB"
    return [Measured("peak memory of register", 60.0, "MB", ours / 1024, remark=remark)]


def open_kernel_types(bench: Bench) -> list[Measured]:
    """Open the kernel's BTF and find a type by name."""
    (series,) = compare([Contender("in process", _find_a_type)], bench.rounds)
    return [Measured("kernel BTF opened, a type found by name", 10.0, "ms", series.wall.median, series)]


def _find_a_type() -> Sample:
    with timed() as taken:
        found = live_kernel().vmlinux.find("tcp_congestion_ops", BtfKind.STRUCT)
    assert found is not None
    return taken[0]


class Figure(NamedTuple):
    """A figure, by the name on the command line."""

    name: str
    measure: Callable[[Bench], list[Measured]]


FIGURES = (
    Figure("register", register_one),
    Figure("many", register_many),
    Figure("in-process", register_in_process),
    Figure("list", list_many),
    Figure("memory", peak_memory),
    Figure("btf", open_kernel_types),
)
