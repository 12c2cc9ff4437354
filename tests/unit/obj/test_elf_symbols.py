"""Symbols and relocations of an ELF object."""

from __future__ import annotations

from struct import pack
from typing import Any

import pytest

from structops_cli.obj.elf import read_elf
from structops_cli.obj.elf_values import RelocationType, SymbolBinding, SymbolType
from tests.elf_writers import REL, Rel, Sec, Sym, small_object
from tests.unit.obj.damaged import refusal, section_headers


def test_symbols() -> None:
    elf = read_elf(small_object(), "x.o")
    assert elf.symbols[0] == ("", 0, 0, 0, 0, 0, False)
    assert elf.symbols[1] == ("half", SymbolType.FUNC, SymbolBinding.LOCAL, 1, 0, 16, False)
    assert elf.symbols[5] == ("second_limit", SymbolType.OBJECT, SymbolBinding.LOCAL, 4, 4, 4, False)
    assert len(elf.symbols) == 9


def test_relocations_of_loaded_sections_in_order() -> None:
    late_first = Rel("struct_ops/init", 8, "t_map", 0), Rel(".BTF", 0, "t_map", 4), Rel(".bss", 0, "t_map", 2)
    elf = read_elf(small_object(more_relocations=late_first), "x.o")
    found = {
        elf.sections[position].name: [(one.offset_bytes, one.type, one.symbol.name) for one in relocations]
        for position, relocations in elf.relocations.items()
    }
    assert found == {
        "struct_ops/init": [
            (0, RelocationType.R64_64, "t_map"),
            (16, RelocationType.R64_64, "second_limit"),
            (32, RelocationType.R64_32, "half"),
        ],
        ".struct_ops.link": [(8, RelocationType.ABS64, "t_init")],
        ".bss": [(0, RelocationType.ABS64, "t_map")],
    }


def test_relocations_of_one_section_in_two_places() -> None:
    another = Sec(".rel2", pack("<QII", 24, 1, 3), 0, REL, link=11, info=2, entry_size=16)
    elf = read_elf(small_object(more_sections=[another]), "x.o")
    assert elf.sections[11].type == "SHT_SYMTAB"
    assert [(one.offset_bytes, one.symbol.name) for one in elf.relocations[2]] == [
        (0, "t_map"),
        (16, "second_limit"),
        (24, "t_map"),
        (32, "half"),
    ]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"symbols": {"half": {"value": 8}}},
            "symbol half is outside of its section: it ends at byte 24 of .text, which has 16",
        ),
        (
            {"symbols": {"half": {"value": 1 << 63}}},
            f"symbol half is outside of its section: it ends at byte {(1 << 63) + 16} of .text, which has 16",
        ),
        (
            {"symbols": {"half": {"section": 200}}},
            "symbol half is in no section: it should be in section 200; there are 14",
        ),
        (
            {"symbols": {"count": {"section": 0xFFF2}}},
            "symbol count is a common symbol: the linker has not given it a section",
        ),
        (
            {"more_symbols": [Sym("\udcff", ".text", 0, 0)]},
            "the name of symbol 9 is damaged: it is not UTF-8 text",
        ),
        (
            {"more_symbols": [Sym("x" * 1024, ".text", 0, 0)]},
            "the name of symbol 9 is damaged: offset 65 is not the start of a string of less than 1024 bytes",
        ),
        (
            {"relocations": {("struct_ops/init", 16): {"offset": 41}}},
            "the relocation at byte 41 of struct_ops/init is outside of the section: the section has 48 bytes",
        ),
        (
            {"relocations": {("struct_ops/init", 16): {"type": 99}}},
            "the relocation at byte 16 of struct_ops/init is of an unknown type: BPF knows no relocation type 99",
        ),
        (
            {"relocations": {("struct_ops/init", 16): {"symbol": 9}}},
            "the relocation at byte 16 of struct_ops/init has no symbol: it names symbol 9; there are 9",
        ),
    ],
)
def test_damaged_symbols_and_relocations(changes: dict[str, Any], message: str) -> None:
    assert refusal(small_object(**changes))[0] == message


def test_a_common_symbol_can_be_helped() -> None:
    assert refusal(small_object(symbols={"count": {"section": 0xFFF2}}))[1] == "compile it with -fno-common"


def test_a_stripped_object_can_be_helped() -> None:
    assert refusal(small_object(symbol_tables=0))[1] == "strip it with llvm-strip -g, which keeps the symbols"


def test_a_relocation_section_of_no_section() -> None:
    data = bytearray(small_object())
    at = section_headers(bytes(data)) + 12 * 64
    data[at + 44 : at + 48] = pack("<I", 77)
    assert (
        refusal(bytes(data))[0]
        == ".relstruct_ops/init relocates no section: it is for section 77; there are 14"
    )


def test_relocations_with_other_symbols() -> None:
    data = bytearray(small_object())
    at = section_headers(bytes(data)) + 12 * 64
    data[at + 40 : at + 44] = pack("<I", 1)
    assert refusal(bytes(data))[0] == (
        ".relstruct_ops/init is not a usable relocation section: "
        "its symbols are in section 1; the symbol table is section 10"
    )
