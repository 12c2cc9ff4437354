"""Jump tables: their entries by function and by program, and refused tables."""

from __future__ import annotations

from struct import pack

import pytest

from structops_cli.errors import InputError
from structops_cli.obj.jump_tables import linked_jump_tables
from structops_cli.obj.link import link_program
from structops_cli.obj.reader import read_object
from structops_cli.obj.spec import JumpTable, ObjectSpec, RelocationTarget
from tests.compile import NEWEST, OBJECTS, compile_object
from tests.elf_writers import Sec, Sym, small_object

TABLE = "BPF.JT.0.0"
NO_ALLOC = 0


def with_table(*places: int, size: int | None = None) -> bytes:
    """Return an object whose program ``t_init`` refers to a table with these entries, in its second load."""
    data = b"".join(pack("<Q", place) for place in places)
    return small_object(
        more_sections=[Sec(".jumptables", data, NO_ALLOC)],
        more_symbols=[Sym(TABLE, ".jumptables", 0, len(data) if size is None else size)],
        relocations={("struct_ops/init", 16): {"symbol": TABLE}},
    )


def refusal(data: bytes) -> InputError:
    with pytest.raises(InputError) as caught:
        read_object(data, "x.o")
    return caught.value


def test_entries_are_instructions_of_the_function() -> None:
    spec = read_object(with_table(40, 0, 16), "x.o")
    function = spec.function("t_init")
    assert function.jump_tables == (JumpTable(TABLE, (5, 0, 2)),)
    assert [(one.insn_index, one.target, one.symbol) for one in function.relocations][1] == (
        2,
        RelocationTarget.JUMP_TABLE,
        TABLE,
    )


@pytest.mark.parametrize("place", [48, 4, 1 << 40])
def test_an_entry_that_leads_out_of_the_function(place: int) -> None:
    error = refusal(with_table(0, place))
    assert str(error) == (
        f"x.o: jump table {TABLE} of t_init is unusable: "
        f"an entry is byte {place} of struct_ops/init, outside of the function"
    )


@pytest.mark.parametrize("size", [0, 4, 12])
def test_a_table_of_odd_size(size: int) -> None:
    assert refusal(with_table(0, 8, size=size)).why == f"it has {size} bytes; an entry has 8"


@pytest.fixture(scope="module")
def compiled() -> ObjectSpec:
    source = OBJECTS / "jump_tables.bpf.c"
    data = compile_object(source, clang=NEWEST, flags=("-O2", "-g", "-mcpu=v4"))
    return read_object(data, "jump_tables.bpf.o")


def test_tables_of_a_program_count_from_its_start(compiled: ObjectSpec) -> None:
    linked = link_program(compiled, "jump_tables_cong_avoid")
    starts = {name: start for start, name in linked.functions}
    assert starts["looked_up"] > 0
    tables = linked_jump_tables(compiled, linked)
    assert len(tables) == 2
    for index, table in tables.items():
        owner = max(starts, key=lambda name: (starts[name] <= index, starts[name]))
        size = len(compiled.function(owner).insns) // 8
        assert len(table.targets) == 24
        assert all(starts[owner] <= target < starts[owner] + size for target in table.targets)
