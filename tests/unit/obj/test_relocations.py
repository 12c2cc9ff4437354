"""References from instructions: each sort resolved, and each refusal."""

from __future__ import annotations

from typing import Any

import pytest

from structops_cli.btf.types import Datasec, DatasecEntry, Func, Var
from structops_cli.errors import ObjectError
from structops_cli.obj.reader import read_object
from structops_cli.obj.spec import Relocation, RelocationTarget
from tests.elf_writers import (
    ABS32,
    ABS64,
    EXIT,
    FUNC,
    GLOBAL,
    HALF_PROTO,
    LOCAL,
    NOTYPE,
    R64_32,
    R64_64,
    SECTION,
    TEXT,
    U32,
    UNDEFINED,
    WEAK,
    Rel,
    Sym,
    call,
    insn,
    load,
    small_object,
)

PROGRAM_SECTION = "struct_ops/init"
LINES = {".text": ((0, 1, 1, 1024),)}
HERE = "x.o: the relocation at instruction"
BARE = {("struct_ops/init", offset): None for offset in (0, 16, 32)}


def program(code: bytes, *relocations: Rel, symbols: tuple[Sym, ...] = (), **changes: Any) -> bytes:
    """Return the small object with another program, only these references from it, and more symbols."""
    return small_object(
        sections={PROGRAM_SECTION: {"data": code}, **changes.pop("sections", {})},
        symbols={"t_init": {"size": len(code)}},
        relocations=BARE,
        more_relocations=relocations,
        more_symbols=symbols,
        line_info=LINES,
        **changes,
    )


def references(data: bytes) -> tuple[Relocation, ...]:
    return read_object(data, "x.o").function("t_init").relocations


def refusal(data: bytes) -> str:
    with pytest.raises(ObjectError) as caught:
        read_object(data, "x.o")
    return str(caught.value)


SECTION_SYMBOLS = tuple(
    Sym(name, name, 0, 0, SECTION, LOCAL) for name in (".text", ".rodata", ".bss", ".maps", "license")
)


@pytest.mark.parametrize(
    ("code", "relocation", "expected"),
    [
        (load(1), Rel(PROGRAM_SECTION, 0, "t_map"), Relocation(0, RelocationTarget.MAP, "t_map", 0)),
        (load(1), Rel(PROGRAM_SECTION, 0, ".maps"), Relocation(0, RelocationTarget.MAP, "t_map", 0)),
        (
            load(1),
            Rel(PROGRAM_SECTION, 0, "second_limit"),
            Relocation(0, RelocationTarget.DATA, ".rodata", 4),
        ),
        (
            load(1, 2),
            Rel(PROGRAM_SECTION, 0, "second_limit"),
            Relocation(0, RelocationTarget.DATA, ".rodata", 6),
        ),
        (load(1, 4), Rel(PROGRAM_SECTION, 0, ".rodata"), Relocation(0, RelocationTarget.DATA, ".rodata", 4)),
        (
            load(1, -4),
            Rel(PROGRAM_SECTION, 0, "second_limit"),
            Relocation(0, RelocationTarget.DATA, ".rodata", 0),
        ),
        (load(1, 15), Rel(PROGRAM_SECTION, 0, ".bss"), Relocation(0, RelocationTarget.DATA, ".bss", 15)),
        (call(-1), Rel(PROGRAM_SECTION, 0, "half", R64_32), Relocation(0, RelocationTarget.CALL, "half", 0)),
        (call(-1), Rel(PROGRAM_SECTION, 0, ".text", R64_32), Relocation(0, RelocationTarget.CALL, "half", 0)),
        (load(1), Rel(PROGRAM_SECTION, 0, "half"), Relocation(0, RelocationTarget.FUNCTION, "half", 0)),
        (load(1), Rel(PROGRAM_SECTION, 0, ".text"), Relocation(0, RelocationTarget.FUNCTION, "half", 0)),
        (load(1), Rel(PROGRAM_SECTION, 0, "t_init"), Relocation(0, RelocationTarget.FUNCTION, "t_init", 0)),
    ],
)
def test_references(code: bytes, relocation: Rel, expected: Relocation) -> None:
    assert references(program(code + EXIT, relocation, symbols=SECTION_SYMBOLS)) == (expected,)


def test_the_distance_counts_instructions_and_the_address_bytes() -> None:
    sections = {".text": {"data": TEXT + EXIT}}
    third = Sym("third", ".text", 16, 8, FUNC, LOCAL)
    code = call(1) + load(2, 16) + EXIT
    relocations = Rel(PROGRAM_SECTION, 0, ".text", R64_32), Rel(PROGRAM_SECTION, 8, ".text")
    data = program(code, *relocations, symbols=(*SECTION_SYMBOLS, third), sections=sections)
    assert references(data) == (
        Relocation(0, RelocationTarget.CALL, "third", 0),
        Relocation(1, RelocationTarget.FUNCTION, "third", 0),
    )


def test_calls_within_a_section_have_no_relocation() -> None:
    # half calls itself and the function behind it
    code = call(-1) + call(1) + EXIT
    data = small_object(
        sections={".text": {"data": code + EXIT}},
        symbols={"half": {"size": 24}},
        more_symbols=[Sym("third", ".text", 24, 8, FUNC, LOCAL)],
        line_info=LINES,
    )
    assert read_object(data, "x.o").function("half").relocations == (
        Relocation(0, RelocationTarget.CALL, "half", 0),
        Relocation(1, RelocationTarget.CALL, "third", 0),
    )


def test_helpers_are_no_references() -> None:
    assert references(program(call(7, src=0) + load(1, 7) + EXIT)) == ()


def externs(linkage: int = 2) -> dict[str, Any]:
    return {
        "more_types": [
            Func(25, "t_kfunc", HALF_PROTO, linkage),
            Var(26, "t_variable", U32, 2),
            Datasec(27, ".ksyms", 0, (import_entry(25), import_entry(26))),
        ]
    }


def import_entry(type_id: int) -> DatasecEntry:
    return DatasecEntry(type_id, 0, 4)


def test_externs() -> None:
    symbols = Sym("t_kfunc", UNDEFINED, 0, 0, NOTYPE), Sym("t_variable", UNDEFINED, 0, 0, NOTYPE, WEAK)
    relocations = Rel(PROGRAM_SECTION, 0, "t_kfunc", R64_32), Rel(PROGRAM_SECTION, 8, "t_variable")
    data = program(call(-1) + load(1) + EXIT, *relocations, symbols=symbols, **externs())
    assert references(data) == (
        Relocation(0, RelocationTarget.EXTERN, "t_kfunc", 0),
        Relocation(1, RelocationTarget.EXTERN, "t_variable", 0),
    )


@pytest.mark.parametrize(
    ("code", "relocation", "message"),
    [
        (
            load(1, 8),
            Rel(PROGRAM_SECTION, 0, "t_map"),
            "0 of t_init is lost: it refers to t_map: no map begins at byte 8 of section .maps",
        ),
        (
            load(1, 8),
            Rel(PROGRAM_SECTION, 0, ".rodata"),
            "0 of t_init is lost: it refers to .rodata: byte 8 is outside of section .rodata, which has 8",
        ),
        (
            load(1, -1),
            Rel(PROGRAM_SECTION, 0, ".rodata"),
            "0 of t_init is lost: it refers to .rodata: byte -1 is outside of section .rodata, which has 8",
        ),
        (
            load(1, 8),
            Rel(PROGRAM_SECTION, 0, ".text"),
            "0 of t_init is lost: it refers to .text: no function begins at byte 8 of section .text",
        ),
        (
            call(0),
            Rel(PROGRAM_SECTION, 0, ".text", R64_32),
            "0 of t_init is lost: it refers to .text: no function begins at byte 8 of section .text",
        ),
        (
            load(1),
            Rel(PROGRAM_SECTION, 0, "license"),
            "0 of t_init is lost: it refers to license: section license holds neither functions, maps nor data",
        ),
        (
            load(1),
            Rel(PROGRAM_SECTION, 0, "t_ops"),
            (
                "0 of t_init is lost: it refers to t_ops: "
                "section .struct_ops.link holds neither functions, maps nor data"
            ),
        ),
        (
            load(1),
            Rel(PROGRAM_SECTION, 0, "fixed"),
            "0 of t_init is lost: it refers to fixed: it has a fixed address",
        ),
        (
            load(1),
            Rel(PROGRAM_SECTION, 0, 0),
            "0 of t_init is lost: it refers to nothing: the object neither defines it nor declares it as an extern",
        ),
        (
            call(-1),
            Rel(PROGRAM_SECTION, 0, "t_map", R64_32),
            "0 of t_init is lost: it calls t_map, which is not a function",
        ),
        (
            call(-1),
            Rel(PROGRAM_SECTION, 0, "first_limit", R64_32),
            "0 of t_init is lost: it calls .rodata, which is not a function",
        ),
    ],
)
def test_references_to_nothing(code: bytes, relocation: Rel, message: str) -> None:
    symbols = (*SECTION_SYMBOLS, Sym("fixed", 0xFFF1, 0, 0, NOTYPE, GLOBAL))
    assert refusal(program(code + EXIT, relocation, symbols=symbols)) == f"{HERE} {message}"


REFERENCE = "x.o: the reference at instruction"


@pytest.mark.parametrize(
    ("code", "relocations", "message"),
    [
        (
            EXIT,
            [Rel(PROGRAM_SECTION, 0, "t_map")],
            "0 of t_init is wrong: relocation type 1 cannot change",
        ),
        (
            load(1),
            [Rel(PROGRAM_SECTION, 0, "t_map", R64_32)],
            "0 of t_init is wrong: relocation type 10 cannot",
        ),
        (
            call(-1),
            [Rel(PROGRAM_SECTION, 0, "half", R64_64)],
            "0 of t_init is wrong: relocation type 1 cannot",
        ),
        (
            load(1),
            [Rel(PROGRAM_SECTION, 0, "t_map", ABS64)],
            "0 of t_init is wrong: relocation type 2 cannot",
        ),
        (
            load(1),
            [Rel(PROGRAM_SECTION, 0, "t_map", ABS32)],
            "0 of t_init is wrong: relocation type 3 cannot",
        ),
        (
            load(1),
            [Rel(PROGRAM_SECTION, 4, "t_map")],
            "0 of t_init is wrong: the relocation is at byte 4 of the instruction",
        ),
        (
            load(1),
            [Rel(PROGRAM_SECTION, 0, "t_map"), Rel(PROGRAM_SECTION, 0, "first_limit")],
            "0 of t_init is wrong: it has two relocations",
        ),
        (
            load(1, src=1),
            [],
            "0 of t_init is wrong: the load is marked as an address but has no relocation",
        ),
        (
            call(1, src=2),
            [],
            "0 of t_init is wrong: the call is marked as one of a kernel function but has no relocation",
        ),
    ],
)
def test_references_that_do_not_fit(code: bytes, relocations: list[Rel], message: str) -> None:
    assert refusal(program(code + EXIT, *relocations)).startswith(f"{REFERENCE} {message}")


def test_the_message_has_the_opcode() -> None:
    assert refusal(program(EXIT, Rel(PROGRAM_SECTION, 0, "t_map"))) == (
        f"{REFERENCE} 0 of t_init is wrong: relocation type 1 cannot change an instruction with opcode 0x95"
    )


def test_a_load_that_is_cut_in_two() -> None:
    code = EXIT + insn(0x18, 1)
    assert refusal(program(code, Rel(PROGRAM_SECTION, 8, "t_map"))) == (
        f"{REFERENCE} 1 of t_init is wrong: the function ends in the middle of the load"
    )


def test_a_near_call_of_nothing() -> None:
    assert refusal(program(call(0) + EXIT)) == (
        "x.o: the call at instruction 0 of t_init is lost: it refers to struct_ops/init: "
        "no function begins at byte 8 of section struct_ops/init"
    )


@pytest.mark.parametrize(("start", "size", "offset"), [(8, 8, 0), (0, 8, 8)])
def test_a_relocation_outside_of_functions(start: int, size: int, offset: int) -> None:
    data = small_object(
        sections={PROGRAM_SECTION: {"data": EXIT * 2}},
        symbols={"t_init": {"value": start, "size": size}},
        relocations={**BARE, (".struct_ops.link", 8): None},
        more_relocations=[Rel(PROGRAM_SECTION, offset, "t_map")],
        func_info={},
        line_info={},
    )
    assert refusal(data) == (
        f"x.o: the relocation at byte {offset} of struct_ops/init is in no function: "
        "no symbol of the section covers it"
    )
