"""Functions: their extents, and the records of .BTF.ext that belong to them."""

from __future__ import annotations

from typing import Any

import pytest

from structops_cli.btf.ext import CoreRelo
from structops_cli.errors import InputError, ObjectError
from structops_cli.obj.reader import read_object
from tests.elf_writers import (
    ALLOC,
    EXEC,
    EXIT,
    FUNC,
    FUNC_INFO,
    HALF_FUNC,
    INIT_FUNC,
    LINE_INFO,
    LOCAL,
    U32,
    WEAK,
    ZERO,
    Sec,
    Sym,
    small_object,
)

AGAIN = "the file is damaged: compile it or copy it again"


def refusal(**changes: Any) -> InputError:
    with pytest.raises(InputError) as caught:
        read_object(small_object(**changes), "x.o")
    return caught.value


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"size": 12}, "it has 12 bytes at byte 0; an instruction has 8"),
        ({"size": 0}, "it has 0 bytes at byte 0; an instruction has 8"),
        ({"value": 4, "size": 8}, "it has 8 bytes at byte 4; an instruction has 8"),
        ({"section": "license", "size": 0}, "its section license holds no instructions"),
        ({"section": 0xFFF1}, "its section 65521 holds no instructions"),
    ],
)
def test_what_is_no_function(change: dict[str, Any], why: str) -> None:
    error = refusal(symbols={"half": change})
    assert (error.what, error.why, error.hint) == ("x.o: function half is not a function", why, AGAIN)
    assert error.fields["symbol"] == "half"


def test_a_function_without_a_name() -> None:
    assert refusal(
        symbols={"half": {"name": ""}}, relocations={("struct_ops/init", 32): {"symbol": 1}}
    ).why == ("it has no name")


def test_functions_that_overlap() -> None:
    error = refusal(more_symbols=[Sym("third", ".text", 8, 8, FUNC)])
    assert str(error) == "x.o: functions half and third overlap: in section .text, at instruction 1"


def test_two_global_functions_of_one_name() -> None:
    section = Sec("struct_ops/b", EXIT, ALLOC | EXEC)
    error = refusal(more_sections=[section], more_symbols=[Sym("t_init", "struct_ops/b", 0, 8, FUNC)])
    assert str(error) == "x.o: there are two functions t_init: both are global"


def test_names_of_statics_give_way_to_globals() -> None:
    section = Sec("struct_ops/b", EXIT * 3, ALLOC | EXEC)
    symbols = [
        Sym("half", "struct_ops/b", 0, 8, FUNC),
        Sym("half", "struct_ops/b", 8, 8, FUNC, LOCAL),
        Sym("half#2", "struct_ops/b", 16, 8, FUNC),
    ]
    first_half = {("struct_ops/init", 32): {"symbol": 1}}
    data = small_object(more_sections=[section], more_symbols=symbols, relocations=first_half)
    spec = read_object(data, "x.o")
    assert [(one.name, one.is_global) for one in spec.functions] == [
        ("half#3", False),
        ("t_init", True),
        ("half", True),
        ("half#4", False),
        ("half#2", True),
    ]
    assert spec.function("t_init").relocations[2].symbol == "half#3"


def test_weak_functions_are_global() -> None:
    spec = read_object(small_object(symbols={"t_init": {"binding": WEAK}}), "x.o")
    assert spec.function("t_init").is_program


def test_a_static_function_of_a_program_section_is_no_program() -> None:
    symbols = {"t_init": {"size": 40}}
    more = [Sym("beside", "struct_ops/init", 40, 8, FUNC, LOCAL)]
    lines = {".text": LINE_INFO[".text"]}
    spec = read_object(small_object(symbols=symbols, more_symbols=more, line_info=lines), "x.o")
    beside = spec.function("beside")
    assert (beside.section, beside.is_program, beside.is_global, beside.insns) == (
        "struct_ops/init",
        False,
        False,
        EXIT,
    )
    assert beside.type_id == 0
    assert beside.func_info == ()


def test_records_are_divided_between_functions() -> None:
    section = {".text": {"data": ZERO + EXIT + ZERO + EXIT}}
    more = [Sym("third", ".text", 16, 16, FUNC)]
    spec = read_object(
        small_object(
            sections=section,
            more_symbols=more,
            func_info={".text": ((0, HALF_FUNC), (16, INIT_FUNC))},
            line_info={
                ".text": ((0, 1, 1, 1 << 10), (8, 1, 1, 2 << 10), (16, 1, 1, 3 << 10), (24, 1, 1, 4 << 10))
            },
            relos={".text": ((24, U32, "0:0", 0),)},
        ),
        "x.o",
    )
    half, third = spec.function("half"), spec.function("third")
    assert [(one.insn_index, one.type_id) for one in half.func_info] == [(0, HALF_FUNC)]
    assert [(one.insn_index, one.type_id) for one in third.func_info] == [(0, INIT_FUNC)]
    assert [(one.insn_index, one.line) for one in half.line_info] == [(0, 1), (1, 2)]
    assert [(one.insn_index, one.line) for one in third.line_info] == [(0, 3), (1, 4)]
    assert (half.core_relos, third.core_relos) == ((), (CoreRelo(1, U32, "0:0", 0),))


def test_the_code_that_remains_of_a_replaced_function_is_nobodys() -> None:
    """A static linker gives the symbol of a weak function to the one that is used, and keeps the code of both."""
    spec = read_object(
        small_object(
            sections={".text": {"data": EXIT + ZERO + EXIT + EXIT}},
            symbols={"half": {"value": 8, "binding": WEAK}},
            func_info={**FUNC_INFO, ".text": ((0, HALF_FUNC), (8, HALF_FUNC), (24, INIT_FUNC))},
            line_info={".text": ((0, 1, 1, 1 << 10), (8, 1, 1, 2 << 10), (24, 1, 1, 3 << 10))},
        ),
        "x.o",
    )
    assert [
        (one.name, one.is_global, len(one.insns)) for one in spec.functions if one.section == ".text"
    ] == [
        ("half#2", False, 8),
        ("half", True, 16),
        ("t_init#2", False, 8),
    ]
    assert spec.function("half#2").line_info[0].line == 1
    assert spec.function("t_init").relocations[2].symbol == "half"


@pytest.mark.parametrize(
    ("records", "label"),
    [
        (
            {"func_info": {".rodata": ((0, HALF_FUNC),)}},
            "1 function records of section .rodata lie in no function",
        ),
        (
            {"line_info": {**LINE_INFO, ".bss": ((0, 1, 1, 1024), (8, 1, 1, 1024))}},
            "2 line records of section .bss lie in no function",
        ),
        (
            {"relos": {".nothing": ((0, U32, "0:0", 0),)}},
            "1 CO-RE records of section .nothing lie in no function",
        ),
        ({"relos": {".text": ((16, U32, "0:0", 0),)}}, "1 CO-RE records of section .text lie in no function"),
    ],
)
def test_records_that_lie_in_no_function(records: dict[str, Any], label: str) -> None:
    error = refusal(**records)
    assert (error.what, error.why) == (f"x.o: {label}", ".BTF.ext and the symbols disagree")


def test_a_function_within_a_function() -> None:
    error = refusal(func_info={**FUNC_INFO, ".text": ((0, HALF_FUNC), (8, HALF_FUNC))})
    assert isinstance(error, ObjectError)
    assert str(error) == (
        "x.o: function half holds other functions: 2 records of .BTF.ext name functions inside of it"
    )


def test_function_info_that_does_not_begin_with_the_function() -> None:
    error = refusal(func_info={**FUNC_INFO, ".text": ((8, HALF_FUNC),)})
    assert error.what == "x.o: function half holds other functions"
