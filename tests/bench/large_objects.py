"""Figures of large objects, by user time: the verifier's time is the same for both."""

from __future__ import annotations

from pathlib import Path

from structops_cli.runtime.kernel import live_kernel
from tests.bench.figures import Bench, Figure, Measured, ratio_of_user_time
from tests.bench.generated_sources import common_layouts, compiled, many_programs, many_relocations
from tests.bench.kernel import private_bpffs
from tests.bench.timing import Contender, compare

__all__ = ["LARGE"]

RELOCATIONS, TYPES = 2000, 300
PROGRAMS = 200


def register_relocations(bench: Bench) -> list[Measured]:
    """Register an object with many CO-RE relocations over many types."""
    layouts = common_layouts(live_kernel().vmlinux, TYPES)
    path = compiled(many_relocations(layouts, RELOCATIONS, "t_relos"), bench.folder / "relocations.bpf.o")
    return [_compared(bench, f"{RELOCATIONS:,} relocations over {TYPES} types, user time", path)]


def register_programs(bench: Bench) -> list[Measured]:
    """Register an object with many programs."""
    path = compiled(many_programs(PROGRAMS, "t_p"), bench.folder / "programs.bpf.o")
    return [_compared(bench, f"{PROGRAMS} programs, user time", path)]


def _compared(bench: Bench, title: str, path: Path) -> Measured:
    """Compare both loaders on an object, and note the difference to the bundled object."""
    (small,) = bench.write_objects(["bpf_bench"])
    with private_bpffs() as ours, private_bpffs() as theirs:
        mine, other, my_least, their_least = compare(
            [
                Contender("structops", lambda: bench.register([path], ours)),
                Contender("bpftool", lambda: bench.bpftool_register([path], theirs)),
                Contender("structops, bundled object", lambda: bench.register([small], ours)),
                Contender("bpftool, bundled object", lambda: bench.bpftool_register([small], theirs)),
            ],
            bench.rounds,
        )
    more, theirs_more = mine.user.best - my_least.user.best, other.user.best - their_least.user.best
    remark = f"beyond the bundled object, best: structops {more:.1f} ms, bpftool {theirs_more:.1f} ms"
    return ratio_of_user_time(title, 1.0, mine, other)._replace(remark=remark)


LARGE = (Figure("relocations", register_relocations), Figure("programs", register_programs))
