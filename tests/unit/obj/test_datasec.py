"""Places of variables in BTF, taken from the ELF symbols."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from structops_cli.btf.btf import Btf
from structops_cli.btf.types import BtfType, Datasec, DatasecEntry, Var
from structops_cli.errors import ObjectError
from structops_cli.obj.datasec import datasec_of, repair_datasecs, variables_of_section
from structops_cli.obj.elf import read_elf
from tests.elf_writers import ALLOC, LOCAL, OBJECT, U32, Sec, Sym, small_object

FIRST, SECOND, RODATA = 17, 18, 22
OPS = ".struct_ops.link"


def repaired(**changes: Any) -> Btf:
    elf = read_elf(small_object(**changes), "x.o")
    section = elf.section(".BTF")
    assert section is not None
    return repair_datasecs(elf, Btf(bytes(section.data)))


def places(btf: Btf, name: str) -> list[tuple[str, int, int]]:
    datasec = datasec_of(btf, name)
    assert datasec is not None
    return [(btf.name(entry.type), entry.offset_bytes, entry.size_bytes) for entry in datasec.entries]


def refusal(**changes: Any) -> ObjectError:
    with pytest.raises(ObjectError) as caught:
        repaired(**changes)
    return caught.value


def test_globals_and_statics_get_their_places_in_order() -> None:
    btf = repaired()
    assert places(btf, ".rodata") == [("first_limit", 0, 4), ("second_limit", 4, 4)]
    assert places(btf, ".bss") == [("count", 8, 8)]
    assert places(btf, ".maps") == [("t_map", 0, 32)]
    assert places(btf, ".struct_ops.link") == [("t_ops", 0, 16)]


def test_sections_get_their_sizes() -> None:
    btf = repaired()
    sizes = {one.name: one.size_bytes for one in btf.types() if isinstance(one, Datasec)}
    assert sizes == {".maps": 32, ".rodata": 8, ".bss": 16, ".struct_ops.link": 16}


def test_entries_that_name_types_in_another_order_are_moved_with_their_types() -> None:
    datasec = repaired().type(RODATA)
    assert isinstance(datasec, Datasec)
    assert datasec.entries == (DatasecEntry(FIRST, 0, 4), DatasecEntry(SECOND, 4, 4))


def test_a_symbol_may_be_larger_than_its_type() -> None:
    btf = repaired(symbols={"count": {"value": 0, "size": 16}})
    assert places(btf, ".bss") == [("count", 0, 16)]


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        # not told: both entries say 0
        (0, 0, [(SECOND, 0, 4), (25, 4, 4)]),
        # told wrongly: in the order of the symbols
        (2, 2, [(25, 0, 4), (SECOND, 4, 4)]),
        # told by a linker
        (4, 0, [(25, 0, 4), (SECOND, 4, 4)]),
    ],
)
def test_statics_of_one_name(first: int, second: int, expected: list[tuple[int, int, int]]) -> None:
    entries = (DatasecEntry(SECOND, first, 4), DatasecEntry(25, second, 4))
    btf = repaired(
        types={RODATA: Datasec(RODATA, ".rodata", 0, entries)},
        more_types=[Var(25, "second_limit", U32, 0)],
        symbols={"first_limit": None},
        more_symbols=[Sym("second_limit", ".rodata", 0, 4, OBJECT, LOCAL)],
        relocations={("struct_ops/init", 16): {"symbol": 4}},
    )
    found = btf.type(RODATA)
    assert isinstance(found, Datasec)
    assert list(found.entries) == expected


def test_a_struct_ops_variable_without_a_symbol() -> None:
    error = refusal(symbols={"t_ops": None}, relocations={(OPS, 8): None})
    assert str(error) == (
        f"variable t_ops of section {OPS} has no place: no symbol of the section is left for it"
    )
    assert error.hint == "keep the symbols: strip with llvm-strip -g"
    assert error.fields == {"variable": "t_ops", "section": OPS}


def test_a_global_variable_without_a_symbol_is_left_out() -> None:
    plain, btf = repaired(), repaired(symbols={"count": None})
    assert ("count", 8, 8) in places(plain, ".bss")
    assert places(btf, ".bss") == [one for one in places(plain, ".bss") if one[0] != "count"]


MOVED = Sym("second_limit", ".rodata.cst4", 0, 4, OBJECT, LOCAL)


def constant(size: int = 4, first: dict[str, Any] | None = None, more: Sequence[BtfType] = ()) -> Btf:
    """Return the BTF of an object that lists ``second_limit`` in ``.rodata`` and has it in ``.rodata.cst4``."""
    return repaired(
        symbols={"second_limit": None} | (first or {}),
        more_symbols=[MOVED, Sym("third_limit", ".rodata.cst4", 4, 4, OBJECT, LOCAL)][: size // 4],
        more_sections=[Sec(".rodata.cst4", bytes(size), ALLOC | 0x10)],
        more_types=more,
        relocations={("struct_ops/init", 16): None},
    )


def test_the_symbol_decides_the_section() -> None:
    btf = constant()
    assert places(btf, ".rodata") == [("first_limit", 0, 4)]
    assert places(btf, ".rodata.cst4") == [("second_limit", 0, 4)]
    btf.check()


def test_a_section_of_which_nothing_is_left_in_btf() -> None:
    btf = constant(first={"first_limit": None})
    assert places(btf, ".rodata") == []
    datasec = datasec_of(btf, ".rodata")
    assert datasec is not None
    assert datasec.size_bytes > 0
    assert places(btf, ".rodata.cst4") == [("second_limit", 0, 4)]


def test_a_variable_joins_those_that_its_section_has() -> None:
    datasec = Datasec(26, ".rodata.cst4", 0, (DatasecEntry(25, 0, 4),))
    btf = constant(8, more=[Var(25, "third_limit", U32, 0), datasec])
    assert places(btf, ".rodata.cst4") == [("second_limit", 0, 4), ("third_limit", 4, 4)]


def test_statics_whose_symbols_are_too_small() -> None:
    symbols = [Sym("count", ".bss", 0, 4), Sym("count", ".bss", 4, 4)]
    error = refusal(symbols={"count": None}, more_symbols=symbols)
    assert str(error) == "variable count of section .bss has no place: no symbol has its size"


def test_variables_that_overlap() -> None:
    error = refusal(symbols={"second_limit": {"value": 2}})
    assert str(error) == (
        "variable second_limit of section .rodata overlaps another: it begins at byte 2; the one before ends at 4"
    )


def test_a_section_that_btf_does_not_describe() -> None:
    other: dict[int, BtfType] = {21: Datasec(21, ".other", 0, ())}
    elf = read_elf(small_object(types=other), "x.o")
    section = elf.section(".BTF")
    assert section is not None
    btf = repair_datasecs(elf, Btf(bytes(section.data)))
    with pytest.raises(ObjectError) as caught:
        variables_of_section(elf, btf, ".maps")
    assert str(caught.value) == "section .maps is not described by BTF: it has 32 bytes and no Datasec"
    assert caught.value.hint == "compile with -g"
    assert variables_of_section(elf, btf, ".absent") == ()


def test_a_section_with_something_that_is_no_variable() -> None:
    function = Datasec(21, ".maps", 32, (DatasecEntry(9, 0, 32),))
    elf = read_elf(small_object(types={21: function}), "x.o")
    section = elf.section(".BTF")
    assert section is not None
    with pytest.raises(ObjectError) as caught:
        variables_of_section(elf, Btf(bytes(section.data)), ".maps")
    assert str(caught.value) == "section .maps has an entry that is not a variable: type 9 is not a Var"
