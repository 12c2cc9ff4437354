"""Data sections: their bytes, and refused sections."""

from __future__ import annotations

import pytest

from structops_cli.errors import InputError
from structops_cli.obj.data import LARGEST_SECTION
from structops_cli.obj.reader import read_object
from structops_cli.obj.sparse_bytes import SparseBytes
from structops_cli.obj.spec import DataAddress, DataSection
from tests.elf_writers import ALLOC, NOBITS, WRITE, Rel, Sec, small_object


def refusal(data: bytes) -> InputError:
    with pytest.raises(InputError) as caught:
        read_object(data, "x.o")
    return caught.value


def test_a_section_without_types() -> None:
    spec = read_object(small_object(more_sections=[Sec(".rodata.str1.1", b"text\0", ALLOC | 0x30)]), "x.o")
    assert spec.data[2] == DataSection(".rodata.str1.1", True, SparseBytes(5, [(0, b"text\0")]), 0, ())


def test_empty_sections_are_left_out() -> None:
    sections = [Sec(".data", b"", ALLOC | WRITE), Sec(".bss.none", b"", ALLOC | WRITE, NOBITS, 0)]
    assert [one.name for one in read_object(small_object(more_sections=sections), "x.o").data] == [
        ".rodata",
        ".bss",
    ]


def test_other_loaded_sections_are_nothing() -> None:
    spec = read_object(
        small_object(more_sections=[Sec("version", b"\0\0\0\0"), Sec(".llvm", b"x", 0)]), "x.o"
    )
    assert [one.name for one in spec.data] == [".rodata", ".bss"]


def test_zeroed_data_of_any_size_takes_no_memory() -> None:
    more = [Sec(".bss.large", b"", ALLOC | WRITE, NOBITS, LARGEST_SECTION)]
    contents = read_object(small_object(more_sections=more), "x.o").data[2].contents
    assert len(contents) == LARGEST_SECTION
    assert contents.pieces == ()
    assert contents[LARGEST_SECTION - 3 :] == bytes(3)


def test_more_than_a_map_holds() -> None:
    more = [Sec(".bss.large", b"", ALLOC | WRITE, NOBITS, LARGEST_SECTION + 1)]
    error = refusal(small_object(more_sections=more))
    assert str(error) == (
        "x.o: section .bss.large is too large: it has 2147483648 bytes; "
        "the kernel takes a map's value of up to 2147483647"
    )
    assert error.hint == "keep it in a map of many elements"


def test_data_shares_memory_with_the_file() -> None:
    data = small_object()
    [(start, piece)] = read_object(data, "x.o").data[0].contents.pieces
    assert start == 0
    assert isinstance(piece, memoryview)
    assert piece.obj is data


def test_data_that_holds_addresses_keeps_its_bytes() -> None:
    data = small_object(more_relocations=[Rel(".rodata", 0, "t_init", 2)])
    [changed, *_], [plain, *_] = (read_object(one, "x.o").data for one in (data, small_object()))
    assert changed.addresses == (DataAddress(0, "t_init"),)
    assert changed._replace(addresses=()) == plain
