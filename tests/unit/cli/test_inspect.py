"""``structops inspect``: what an object holds, also where it holds little or something unknown."""

from __future__ import annotations

import pytest

from structops_cli.btf.ext import CoreRelo
from structops_cli.btf.types import Array
from structops_cli.cli.inspect import SHORTENED
from structops_cli.obj.sparse_bytes import SparseBytes
from structops_cli.obj.spec import (
    DataSection,
    DataVariable,
    Extern,
    ExternCategory,
    MapSlot,
    MapSpec,
    ObjectSpec,
)
from tests.cli_runner import done, done_json, refused
from tests.synthetic_kernels import BtfBuilder
from tests.unit.cli.results import HOSTILE, SHOWN
from tests.unit.struct_ops.objects import function, spec

INNER = MapSpec("inner", 2, 4, 8, 1, 0, 0, None, 0, 0, pinned_by_name=False)
OUTER = MapSpec(
    HOSTILE,
    9999,
    4,
    4,
    2,
    0x10,
    0x20,
    0,
    0,
    0,
    pinned_by_name=True,
    inner=INNER,
    slots=(MapSlot(1, "inner"),),
)


def give(monkeypatch: pytest.MonkeyPatch, given: ObjectSpec) -> None:
    monkeypatch.setattr("structops_cli.cli.inspect.open_object", lambda _: given)


def test_an_object_without_a_licence_or_a_program_is_two_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    give(monkeypatch, spec()._replace(licence="", struct_ops=(), functions=()))
    assert done("inspect", "x").stdout == "object   t_object.bpf.o\nlicence  none\n"


def test_a_map_of_an_unknown_type_and_its_inner_map_are_two_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    give(monkeypatch, spec()._replace(maps=(OUTER,)))
    rows = [" ".join(line.split()) for line in done("inspect", "x").stdout.splitlines()[-2:]]
    assert rows == [
        f"{SHOWN} type 9999 4 4 2 flags 0x10, extra 0x20, numa node 0, pinned by name, [1] = inner",
        "inner array 4 8 1 -",
    ]
    [data] = done_json("inspect", "x")["maps"]
    assert (data["type"], data["numa_node"], data["inner"]["type"]) == ("type 9999", 0, "array")


def test_long_arrays_are_shortened_unless_all_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    types = BtfBuilder()
    number = types.integer("int", 4)
    array = types.add(Array, number, number, 20)
    values = b"".join(value.to_bytes(4, "little") for value in range(20))
    section = DataSection(
        ".data", False, SparseBytes(80, [(0, values)]), 0, (DataVariable("v", array, 0, 80, False),)
    )
    empty = spec()._replace(btf=types.btf(), struct_ops=(), functions=())
    give(monkeypatch, empty._replace(data=(section,)))
    assert done("inspect", "x").stdout.endswith(f"15, /* 4 more */}}\n\n{SHORTENED}\n")
    assert done("inspect", "x", "--all").stdout.endswith("18, 19}\n")
    short, whole = (done_json("inspect", "x", *more)["data"][0]["variables"][0] for more in ((), ("--all",)))
    assert (short["omitted"], whole["omitted"], whole["value"][-1]) == (4, 0, 19)


def test_an_invalid_relocation_is_shown_in_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    program = function("p", core_relos=(CoreRelo(3, 999, "0:1", 77),))
    give(monkeypatch, spec()._replace(functions=(program,)))
    assert "CO-RE RELOCATION" not in done("inspect", "x").stdout
    assert done("inspect", "x", "-v").stdout.splitlines()[-1].split() == [
        *("type", "999,", "access", "0:1"),
        *("p", "3", "77"),
    ]


def test_externs_show_their_sort_and_whether_they_are_weak(monkeypatch: pytest.MonkeyPatch) -> None:
    given = spec()._replace(externs=(Extern("tcp_slow_start", ".ksyms", 1, True, ExternCategory.FUNCTION),))
    give(monkeypatch, given)
    line = done("inspect", "x").stdout.splitlines()[-1]
    assert line.split() == ["tcp_slow_start", "kernel", "function", ".ksyms", "yes"]
    assert done_json("inspect", "x")["externs"][0]["function"] is True


def test_a_word_that_names_no_bundled_object() -> None:
    error = refused("inspect", "no_such_object", exit_code=3)
    assert error["what"] == "there is no bundled object no_such_object"
    assert "ending in .o" in error["hint"]
