"""Large objects of the benchmark have the requested size, and curves show their bend."""

from __future__ import annotations

from pathlib import Path

import pytest

from structops_cli.btf.types import Member
from structops_cli.core.fixup import Relocator
from structops_cli.core.target import Target
from structops_cli.obj.reader import read_object
from structops_cli.obj.spec import ObjectSpec
from tests.bench.curves import Curve, Point, line_through
from tests.bench.generated_sources import (
    FIELDS,
    OPS,
    common_layouts,
    compiled,
    many_programs,
    many_relocations,
)
from tests.bench.report import curve_text
from tests.compile import compiler
from tests.unit.core.worlds import World, at, kernel

STRUCTS = 7


def written_kernel() -> World:
    """Return structs with just enough fields, one with too few, and the registered type."""
    w = World()
    u32, ptr = w.integer("u32", 4), w.ptr()
    members = [Member("", u32, 0, 0), *(at(f"m{n}", (u32, ptr)[n % 2], n * 8) for n in range(FIELDS))]
    for number in range(STRUCTS):
        w.struct(f"s{number}", 8 * FIELDS, *members)
    w.struct("few", 8 * FIELDS, *members[2:])
    w.struct("tcp_congestion_ops", 8 * FIELDS, *members)
    return w


def made(source: str, folder: Path) -> ObjectSpec:
    compiler("clang-19")
    return read_object(compiled(source, folder / "made.bpf.o").read_bytes(), "made.bpf.o")


def test_only_plain_structs_are_asked_for() -> None:
    layouts = common_layouts(written_kernel().btf(), STRUCTS)
    assert [layout.name for layout in layouts] == [f"s{n}" for n in range(STRUCTS)]
    assert layouts[0].members[:2] == (("m0", "u32 "), ("m1", "void *"))
    with pytest.raises(ValueError, match="has 7 structs"):
        common_layouts(written_kernel().btf(), STRUCTS + 1)


@pytest.mark.parametrize("count", [0, 1, STRUCTS * FIELDS])
def test_an_object_has_as_many_relocations_as_asked_for(count: int, tmp_path: Path) -> None:
    target = written_kernel().btf()
    spec = made(many_relocations(common_layouts(target, STRUCTS), count, "t_many"), tmp_path)
    relos = [relo for function in spec.functions for relo in function.core_relos]
    fixups = Relocator(spec.btf, Target(kernel(target))).fixups(relos)
    assert len({(fixup.type_id, fixup.access) for fixup in fixups}) == len(fixups) == count
    assert not any(fixup.poison for fixup in fixups)


def test_more_relocations_than_fields_are_refused() -> None:
    with pytest.raises(ValueError, match="7 types have 70 fields, not 71"):
        many_relocations(common_layouts(written_kernel().btf(), STRUCTS), STRUCTS * FIELDS + 1, "t_many")


def test_an_object_has_as_many_programs_as_asked_for(tmp_path: Path) -> None:
    count = 2 * len(OPS) + 3
    spec = made(many_programs(count, "t_p"), tmp_path)
    assert sum(function.is_program for function in spec.functions) == count
    assert [variable.name for variable in spec.struct_ops] == ["t_p00", "t_p01", "t_p02"]


def test_a_bend_is_what_the_last_step_costs_by_what_all_do() -> None:
    straight = line_through("ours", [Point(0, 1.0), Point(1000, 3.0), Point(2000, 5.0)], 1000)
    assert (straight.slope, straight.bend) == (2.0, 1.0)
    bent = line_through("ours", [Point(0, 0.0), Point(1000, 1.0), Point(2000, 4.0)], 1000)
    assert (bent.slope, bent.bend) == (2.0, 1.5)
    text = curve_text(Curve("things", "user time", "1,000", 5, (straight, bent)))
    assert text.splitlines() == [
        "things, best of 5 in ms of user time",
        "  ours: 2 ms for each 1,000, the last step 1.00 of that",
        "         0      1.0  ############",
        "     1,000      3.0  ####################################",
        "     2,000      5.0  ############################################################",
        "  ours: 2 ms for each 1,000, the last step 1.50 of that",
        "         0      0.0",
        "     1,000      1.0  ############",
        "     2,000      4.0  ################################################",
    ]
