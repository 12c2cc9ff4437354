"""What a section's name means, and sections that cannot be honoured."""

from __future__ import annotations

import pytest

from structops_cli.errors import ObjectError
from structops_cli.obj.elf import read_elf
from structops_cli.obj.sections import (
    StructOpsSection,
    check_sections,
    is_data,
    is_program,
    is_read_only,
    is_sleepable,
    struct_ops_section,
)
from tests.elf_writers import ALLOC, EXEC, EXIT, FUNC, NOBITS, Sec, Sym, small_object


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


@pytest.mark.parametrize("name", ["xdp", "kprobe/tcp_ack", "tc", "iter/tcp", "struct_opsx"])
def test_programs_of_other_types(name: str) -> None:
    section, symbol = Sec(name, EXIT, ALLOC | EXEC), Sym("drop", name, 0, 8, FUNC)
    error = refusal(small_object(more_sections=[section], more_symbols=[symbol]))
    assert str(error) == (
        f"program drop in section {name} is no struct_ops program: "
        "a struct_ops program is in section struct_ops, struct_ops.s, or either with /NAME"
    )
    assert error.hint == "move it to another object"
    assert error.fields == {"section": name, "program": "drop"}


def test_code_without_a_name() -> None:
    error = refusal(small_object(more_sections=[Sec("socket", EXIT, ALLOC | EXEC)]))
    assert error.what == "the code in section socket is no struct_ops program"


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
