"""Meanings of section names, and refused sections."""

from __future__ import annotations

import pytest

from structops_cli.errors import ObjectError
from structops_cli.obj.elf import read_elf
from structops_cli.obj.sections import (
    StructOpsSection,
    check_sections,
    holds_functions,
    is_data,
    is_other,
    is_program,
    is_read_only,
    is_sleepable,
    struct_ops_section,
)
from tests.elf_writers import ALLOC, EXEC, EXIT, NOBITS, Sec, small_object


@pytest.mark.parametrize(
    ("name", "program", "sleepable"),
    [
        ("struct_ops", True, False),
        ("struct_ops/init", True, False),
        ("struct_ops/a/b", True, False),
        ("?struct_ops/init", True, False),
        ("struct_ops.s", True, True),
        ("struct_ops.s/init", True, True),
        ("?struct_ops.s", True, True),
        (".struct_ops", False, False),
        ("struct_opsx", False, False),
        ("struct_ops.sx", False, False),
        ("??struct_ops", False, False),
        (".text", False, False),
        ("xdp", False, False),
    ],
)
def test_program_sections(name: str, program: bool, sleepable: bool) -> None:
    assert (is_program(name), is_sleepable(name)) == (program, sleepable)


@pytest.mark.parametrize(
    ("name", "wish"),
    [
        (".struct_ops", StructOpsSection(link=False, optional=False)),
        (".struct_ops.link", StructOpsSection(link=True, optional=False)),
        ("?.struct_ops", StructOpsSection(link=False, optional=True)),
        ("?.struct_ops.link", StructOpsSection(link=True, optional=True)),
        (".struct_ops.other", None),
        ("struct_ops", None),
        (".maps", None),
    ],
)
def test_struct_ops_sections(name: str, wish: StructOpsSection | None) -> None:
    assert struct_ops_section(name) == wish


@pytest.mark.parametrize(
    ("name", "data", "read_only"),
    [
        (".rodata", True, True),
        (".rodata.str1.1", True, True),
        (".rodata.mine", True, True),
        (".data", True, False),
        (".data.mine", True, False),
        (".bss", True, False),
        (".bss.mine", True, False),
        (".database", False, False),
        (".maps", False, False),
        ("license", False, False),
    ],
)
def test_data_sections(name: str, data: bool, read_only: bool) -> None:
    assert (is_data(name), is_read_only(name)) == (data, read_only)


def refusal(data: bytes) -> ObjectError:
    with pytest.raises(ObjectError) as caught:
        check_sections(read_elf(data, "x.o"))
    return caught.value


def test_a_sound_object() -> None:
    check_sections(read_elf(small_object(), "x.o"))


@pytest.mark.parametrize("name", ["xdp", "kprobe/tcp_ack", "tc", "iter/tcp", "struct_opsx", ".text.unlikely"])
def test_programs_of_other_types_are_left_alone(name: str) -> None:
    """Whatever they hold: half an instruction, two sections of one name, or nothing that has a name."""
    sections = [
        Sec(name, EXIT[:5], ALLOC | EXEC),
        Sec(name, b"", ALLOC | EXEC),
        Sec(name, EXIT, ALLOC | EXEC),
    ]
    elf = read_elf(small_object(more_sections=sections), "x.o")
    check_sections(elf)
    others = [section for section in elf.sections if is_other(section)]
    assert [section.name for section in others] == [name] * 3
    assert not any(holds_functions(section) for section in others)


def test_sections_that_hold_functions() -> None:
    elf = read_elf(small_object(), "x.o")
    assert [one.name for one in elf.sections if holds_functions(one)] == [".text", "struct_ops/init"]


def test_an_empty_section_of_another_type_is_nothing() -> None:
    check_sections(read_elf(small_object(more_sections=[Sec("xdp", b"", ALLOC | EXEC)]), "x.o"))


def test_legacy_maps() -> None:
    error = refusal(small_object(more_sections=[Sec("maps", bytes(20))]))
    assert (
        str(error)
        == "this object defines its maps the old way: its maps are in the legacy section maps, without types"
    )
    assert error.hint == "define them in section .maps with BTF (__uint, __type)"


def test_two_sections_of_one_name() -> None:
    error = refusal(small_object(more_sections=[Sec(".rodata", bytes(8))]))
    assert str(error) == "there are two sections .rodata: BTF describes sections by their names"


def test_half_an_instruction() -> None:
    error = refusal(
        small_object(sections={".text": {"data": EXIT + EXIT[:4]}}, symbols={"half": {"size": 8}})
    )
    assert str(error) == (
        "section .text does not hold whole instructions: 12 of its 12 bytes are in the file; an instruction has 8"
    )


def test_code_that_is_not_in_the_file() -> None:
    error = refusal(small_object(sections={".text": {"data": b"", "size": 16, "type": NOBITS}}))
    assert str(error) == (
        "section .text does not hold whole instructions: 0 of its 16 bytes are in the file; an instruction has 8"
    )
