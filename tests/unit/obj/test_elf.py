"""The ELF container: the values of a sound file, each refusal, and compressed sections."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from mmap import mmap
from pathlib import Path
from struct import pack
from typing import Any

import pytest

from structops_cli.errors import ElfError
from structops_cli.obj.elf import MAX_BYTES, MAX_SECTIONS, btf_section, read_elf
from structops_cli.obj.reader import read_object
from tests.compile import FLAGS, OBJECTS, compile_object
from tests.elf_writers import ALLOC, NOBITS, RELA, small_object
from tests.unit.obj.damaged import refusal, section_headers

AGAIN = "the file is damaged: compile it or copy it again"
BITCODE_OPTIONS = "clang writes that with -emit-llvm and with -flto"
WITHOUT_BITCODE = (
    "compile it with clang -target bpf -O2 -g -c and without those options, "
    "or compile the bitcode: llc -march=bpf -filetype=obj -o OBJ.bpf.o FILE"
)
FOR_BPF = "compile it with clang -target bpf"


def patched(offset: int, fields: bytes, **changes: Any) -> bytes:
    data = small_object(**changes)
    return data[:offset] + fields + data[offset + len(fields) :]


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


@pytest.mark.parametrize(
    ("data", "message", "hint"),
    [
        (b"", "this is not an ELF file: it is empty", "give an object that clang -target bpf made"),
        (
            b"#!/bin/sh\n",
            "this is not an ELF file: it begins with 23 21 2f 62, not with 7f 45 4c 46",
            "give an object that clang -target bpf made",
        ),
        (
            b"BC\xc0\xde5\x14",
            f"this is LLVM bitcode, not an object: it begins with 42 43 c0 de: {BITCODE_OPTIONS}",
            WITHOUT_BITCODE,
        ),
        (
            b"\xde\xc0\x17\x0b\0",
            f"this is LLVM bitcode, not an object: it begins with de c0 17 0b: {BITCODE_OPTIONS}",
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
            "this is not a relocatable object: it is an executable",
            "compile it with -c, and do not link it",
        ),
        (
            small_object(elf_type=3),
            "this is not a relocatable object: it is a shared object",
            "compile it with -c, and do not link it",
        ),
        (
            small_object(elf_type=99),
            "this is not a relocatable object: it is of ELF type 99",
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
            "the section names are missing: section 14 should hold them; there are 14 sections",
        ),
        (
            {"names_section": 4},
            "the name of section 1 is damaged: offset 65 is not the start of a string of less than 1024 bytes",
        ),
        ({"symbol_tables": 0}, "there is no symbol table: it was stripped from the object"),
        ({"symbol_tables": 2}, "the symbol table is unusable: there are 2 of them"),
        (
            {"symbol_entry": 16},
            "the symbol table is unusable: its 216 bytes are entries of 16; 64-bit ELF has 24",
        ),
        (
            {"relocation_entry": 24},
            ".relstruct_ops/init is not a usable relocation section: its 48 bytes are entries of 24; BPF has 16",
        ),
        (
            {"relocation_type": RELA},
            (
                ".relstruct_ops/init is not a usable relocation section: "
                "it carries addends of its own (SHT_RELA); BPF objects have SHT_REL"
            ),
        ),
    ],
)
def test_damaged_headers(changes: dict[str, Any], message: str) -> None:
    assert refusal(small_object(**changes))[0] == message


def test_every_truncation_is_refused() -> None:
    data = small_object()
    for length in range(len(data)):
        message, _ = refusal(data[:length])
        assert message.startswith(("the file is truncated: ", "this is not an ELF file: "))


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


COMPRESSED = 0x800
BTF = btf_section(small_object(), "x.o")


def with_btf(
    data: bytes, *, algorithm: int = 1, size: int = len(BTF), section: str = ".BTF", flags: int = 0
) -> bytes:
    changes = {"data": pack("<IIQQ", algorithm, 0, size, 8) + data, "flags": COMPRESSED | flags}
    return small_object(sections={section: changes})


def refused_object(data: bytes) -> ElfError:
    with pytest.raises(ElfError) as caught:
        read_object(data, "x.o")
    return caught.value


def test_compressed_btf_is_read() -> None:
    plain, packed = small_object(), with_btf(zlib.compress(BTF))
    assert read_object(packed, "x.o")._replace(btf=None) == read_object(plain, "x.o")._replace(btf=None)  # type: ignore[arg-type]
    assert btf_section(packed, "x.o") == btf_section(plain, "x.o")


def test_debug_information_is_left_alone() -> None:
    source = OBJECTS / "refused.bpf.c"
    plain, packed = (compile_object(source, flags=(*FLAGS, *more)) for more in ((), ("-gz=zlib",)))
    assert len(packed) < len(plain)
    spec = read_object(packed, "x.o")
    assert spec.compiler is None
    assert [function.insns for function in spec.functions] == [
        function.insns for function in read_object(plain, "x.o").functions
    ]


def test_another_algorithm_says_how_it_is_undone() -> None:
    error = refused_object(with_btf(b"zz", algorithm=2))
    assert error.what == "x.o: section .BTF is compressed with zstd"
    assert error.hint.startswith("decompress it: llvm-objcopy --compress-sections=.BTF=none ")
    assert refused_object(with_btf(b"zz", algorithm=7)).what.endswith("with algorithm 7")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (with_btf(b"not zlib"), "section .BTF cannot be decompressed: Error -3"),
        (with_btf(zlib.compress(BTF)[:-1]), "it does not hold the "),
        (with_btf(zlib.compress(BTF + b"more")), "it does not hold the "),
        (with_btf(zlib.compress(bytes(1 << 20)), size=8), "it does not hold the 8 bytes"),
        (with_btf(b"", size=MAX_BYTES + 1), f"the limit is {MAX_BYTES}"),
        (
            small_object(sections={".BTF": {"data": b"1", "flags": COMPRESSED}}),
            "its 1 bytes are too few for a header",
        ),
        (with_btf(b"", section="license", flags=ALLOC), "sections of a program may not be"),
    ],
    ids=["no zlib", "cut off", "too long", "a bomb", "too large", "no header", "a program's"],
)
def test_damaged_compression_is_named(data: bytes, message: str) -> None:
    assert message in str(refused_object(data))


def test_what_the_hint_about_zstd_makes_is_read(tmp_path: Path) -> None:
    """Runs the command as printed, with the object in place of FILE."""
    import subprocess

    from tests.compile import compiler

    objcopy = compiler("llvm-objcopy-19")
    path = tmp_path / "x.o"
    path.write_bytes(compile_object(OBJECTS / "refused.bpf.c"))
    plain = read_object(path.read_bytes(), "x.o")
    subprocess.run(
        [objcopy, "--compress-sections=.BTF=zstd", "--compress-sections=.BTF.ext=zstd", path], check=True
    )
    command = refused_object(path.read_bytes()).hint.removeprefix("decompress it: ").partition(",")[0]
    words = [
        objcopy if word == "llvm-objcopy" else str(path) if word == "FILE" else word
        for word in command.split()
    ]
    subprocess.run(words, check=True)
    assert read_object(path.read_bytes(), "x.o")._replace(btf=plain.btf) == plain
