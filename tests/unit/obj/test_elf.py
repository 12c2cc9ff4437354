"""The ELF container: what is kept of a sound one, and one refusal for each way of being none."""

from __future__ import annotations

from collections.abc import Callable
from mmap import mmap
from struct import pack
from typing import Any

import pytest

from structops_cli.errors import ElfError
from structops_cli.obj.elf import MAX_SECTIONS, btf_section, read_elf
from structops_cli.obj.elf_values import RelocationType, SymbolBinding, SymbolType
from tests.elf_writers import NOBITS, REL, RELA, Rel, Sec, Sym, small_object

AGAIN = "the file is damaged: compile it or copy it again"
BITCODE_OPTIONS = "clang writes that with -emit-llvm and with -flto"
WITHOUT_BITCODE = (
    "compile it with clang -target bpf -O2 -g -c and without those options, "
    "or make the object of it: llc -march=bpf -filetype=obj -o OBJ.bpf.o FILE"
)
FOR_BPF = "compile it with clang -target bpf"


def refusal(data: bytes) -> tuple[str, str]:
    """Return the message and the hint with which ``data`` is refused."""
    with pytest.raises(ElfError) as caught:
        read_elf(data, "x.o")
    return str(caught.value), caught.value.hint


def patched(offset: int, fields: bytes, **changes: Any) -> bytes:
    data = small_object(**changes)
    return data[:offset] + fields + data[offset + len(fields) :]


def section_headers(data: bytes) -> int:
    return int.from_bytes(data[40:48], "little")


def test_sections() -> None:
    elf = read_elf(small_object(), "x.o")
    assert elf.name == "x.o"
    assert [section.name for section in elf.sections[:10]] == [
        "",
        ".text",
        "struct_ops/init",
        ".maps",
        ".rodata",
        ".bss",
        ".struct_ops.link",
        "license",
        ".BTF",
        ".BTF.ext",
    ]
    assert [section.position for section in elf.sections] == list(range(len(elf.sections)))
    text, bss = elf.sections[1], elf.sections[5]
    assert (text.type, text.is_loaded, text.is_executable, text.size_bytes, len(text.data)) == (
        "SHT_PROGBITS",
        True,
        True,
        16,
        16,
    )
    assert (bss.type, bss.is_loaded, bss.is_executable, bss.size_bytes, bytes(bss.data)) == (
        "SHT_NOBITS",
        True,
        False,
        16,
        b"",
    )
    assert elf.section(".BTF") is elf.sections[8]
    assert not elf.sections[8].is_loaded
    assert elf.section(".nothing") is None


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
    ("data", "message", "hint"),
    [
        (b"", "this is no ELF file: it is empty", "give an object that clang -target bpf made"),
        (
            b"#!/bin/sh\n",
            "this is no ELF file: it begins with 23 21 2f 62, not with 7f 45 4c 46",
            "give an object that clang -target bpf made",
        ),
        (
            b"BC\xc0\xde5\x14",
            f"this is LLVM bitcode, and no object: it begins with 42 43 c0 de: {BITCODE_OPTIONS}",
            WITHOUT_BITCODE,
        ),
        (
            b"\xde\xc0\x17\x0b\0",
            f"this is LLVM bitcode, and no object: it begins with de c0 17 0b: {BITCODE_OPTIONS}",
            WITHOUT_BITCODE,
        ),
        (b"\x7fELF\2\1", "the file is truncated: its 6 bytes hold no ELF header", AGAIN),
        (small_object(truncate=63), "the file is truncated: its 63 bytes hold no ELF header", AGAIN),
        (
            small_object(elf_class=3),
            "the ELF header is damaged: its class is 3 and its byte order 1; each can be 1 or 2 only",
            AGAIN,
        ),
        (
            small_object(byte_order=0),
            "the ELF header is damaged: its class is 2 and its byte order 0; each can be 1 or 2 only",
            AGAIN,
        ),
        (
            small_object(machine=62),
            "this object is compiled for another machine: its machine is x86-64, not BPF",
            FOR_BPF,
        ),
        (
            small_object(machine=183),
            "this object is compiled for another machine: its machine is arm64, not BPF",
            FOR_BPF,
        ),
        (
            small_object(machine=8),
            "this object is compiled for another machine: its machine is MIPS, not BPF",
            FOR_BPF,
        ),
        (
            small_object(machine=0x8123),
            "this object is compiled for another machine: its machine is 33059, not BPF",
            FOR_BPF,
        ),
        (small_object(elf_class=1), "this is a 32-bit ELF file: BPF objects are 64-bit", FOR_BPF),
        (
            patched(16, pack(">HH", 1, 247), byte_order=2),
            "this object has the other byte order: it is big-endian (bpfeb); this machine is little-endian",
            "compile it with clang -target bpfel",
        ),
        (
            small_object(elf_type=2),
            "this is no relocatable object: it is an executable",
            "compile it with -c, and do not link it",
        ),
        (
            small_object(elf_type=3),
            "this is no relocatable object: it is a shared object",
            "compile it with -c, and do not link it",
        ),
        (
            small_object(elf_type=99),
            "this is no relocatable object: it is of ELF type 99",
            "compile it with -c, and do not link it",
        ),
    ],
)
def test_what_is_no_bpf_object(data: bytes, message: str, hint: str) -> None:
    assert refusal(data) == (message, hint)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"section_count": 0}, f"the section headers are unusable: there are 0 of at most {MAX_SECTIONS}"),
        (
            {"section_count": 0xFFFF},
            f"the section headers are unusable: there are 65535 of at most {MAX_SECTIONS}",
        ),
        ({"section_entry": 40}, "the section headers are unusable: each has 40 bytes; 64-bit ELF has 64"),
        (
            {"names_section": 14},
            "the section names are missing: section 14 is said to hold them; there are 14 sections",
        ),
        (
            {"names_section": 4},
            "the name of section 1 is damaged: offset 65 begins no string of less than 1024 bytes",
        ),
        ({"symbol_tables": 0}, "there is no symbol table: the object was stripped of it"),
        ({"symbol_tables": 2}, "the symbol table is unusable: there are 2 of them"),
        (
            {"symbol_entry": 16},
            "the symbol table is unusable: its 216 bytes are entries of 16; 64-bit ELF has 24",
        ),
        (
            {"relocation_entry": 24},
            ".relstruct_ops/init is no usable relocation section: its 48 bytes are entries of 24; BPF has 16",
        ),
        (
            {"relocation_type": RELA},
            (
                ".relstruct_ops/init is no usable relocation section: "
                "it carries addends of its own (SHT_RELA); BPF objects have SHT_REL"
            ),
        ),
    ],
)
def test_damaged_headers(changes: dict[str, Any], message: str) -> None:
    assert refusal(small_object(**changes))[0] == message


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
            "symbol half is in no section: it is said to be in section 200; there are 14",
        ),
        (
            {"symbols": {"count": {"section": 0xFFF2}}},
            "symbol count is a common symbol: it has no section yet",
        ),
        (
            {"more_symbols": [Sym("\udcff", ".text", 0, 0)]},
            "the name of symbol 9 is damaged: it is no UTF-8 text",
        ),
        (
            {"more_symbols": [Sym("x" * 1024, ".text", 0, 0)]},
            "the name of symbol 9 is damaged: offset 65 begins no string of less than 1024 bytes",
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
            "the relocation at byte 16 of struct_ops/init has no symbol: it is against symbol 9; there are 9",
        ),
    ],
)
def test_damaged_symbols_and_relocations(changes: dict[str, Any], message: str) -> None:
    assert refusal(small_object(**changes))[0] == message


def test_a_common_symbol_can_be_helped() -> None:
    assert refusal(small_object(symbols={"count": {"section": 0xFFF2}}))[1] == "compile it with -fno-common"


def test_a_stripped_object_can_be_helped() -> None:
    assert refusal(small_object(symbol_tables=0))[1] == "strip it with llvm-strip -g, which keeps the symbols"


def test_every_truncation_is_refused() -> None:
    data = small_object()
    for length in range(len(data)):
        message, _ = refusal(data[:length])
        assert message.startswith(("the file is truncated: ", "this is no ELF file: "))


def test_a_section_that_ends_behind_the_file() -> None:
    data = small_object()
    at = section_headers(data) + 4 * 64
    longer = data[: at + 32] + pack("<Q", 1 << 62) + data[at + 40 :]
    start = int.from_bytes(data[at + 24 : at + 32], "little")
    assert refusal(longer)[0] == (
        f"the file is truncated: section 4 ends at byte {start + (1 << 62)}; the file has {len(data)}"
    )


def test_sections_that_share_bytes() -> None:
    data = bytearray(small_object())
    for section in (3, 4):
        at = section_headers(bytes(data)) + section * 64
        data[at + 24 : at + 40] = pack("<QQ", 0, len(data))
    assert refusal(bytes(data))[0] == "sections overlap: together they are larger than the file"


def test_a_section_without_bytes_may_be_of_any_size() -> None:
    elf = read_elf(small_object(sections={".bss": {"size": 1 << 60, "type": NOBITS}}), "x.o")
    assert elf.sections[5].size_bytes == 1 << 60


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
        ".relstruct_ops/init is no usable relocation section: "
        "its symbols are in section 1; the symbol table is section 10"
    )


def test_memory_is_shared_with_the_file() -> None:
    data = small_object()
    assert read_elf(data, "x.o").sections[1].data.obj is data


def mapped(data: bytes) -> mmap:
    memory = mmap(-1, len(data))
    memory[:] = data
    return memory


@pytest.mark.parametrize("machine", [62, 183, 247])
@pytest.mark.parametrize("hold", [bytes, mapped])
def test_types_of_any_machine(machine: int, hold: Callable[[bytes], bytes | mmap]) -> None:
    data = small_object(machine=machine, elf_type=2, sections={".BTF": {"data": b"types"}})
    assert btf_section(hold(data), "vmlinux") == b"types"


@pytest.mark.parametrize(
    ("data", "message", "hint"),
    [
        (
            small_object(sections={".BTF": None}),
            "vmlinux: this file has no types: there is no section .BTF",
            "give a vmlinux of a kernel built with CONFIG_DEBUG_INFO_BTF=y, or raw BTF",
        ),
        (
            small_object(elf_class=1),
            "vmlinux: this file is of another machine: it is a 32-bit little-endian file",
            "give a 64-bit little-endian one",
        ),
        (
            small_object(byte_order=2),
            "vmlinux: this file is of another machine: it is a 64-bit big-endian file",
            "give a 64-bit little-endian one",
        ),
        (small_object(truncate=63), "vmlinux: the file is truncated: its 63 bytes hold no ELF header", AGAIN),
    ],
)
def test_files_without_types(data: bytes, message: str, hint: str) -> None:
    with pytest.raises(ElfError) as caught:
        btf_section(data, "vmlinux")
    assert (str(caught.value), caught.value.hint) == (message, hint)
    assert caught.value.fields == {"object": "vmlinux"}
