"""Programs joined with their subprograms: order, distances, and records that move along."""

from __future__ import annotations

from typing import Any

import pytest

from structops_cli.asm.insn import decode_insn, imm_at, src_reg_at
from structops_cli.btf.ext import CoreRelo, FuncInfo
from structops_cli.btf.types import DeclTag
from structops_cli.errors import ObjectError
from structops_cli.obj.link import exception_tags, link_program, link_programs
from structops_cli.obj.reader import read_object
from structops_cli.obj.spec import LinkedProgram, ObjectSpec, Relocation, RelocationTarget
from tests.compile import FLAGS, OBJECTS, compile_object
from tests.elf_writers import (
    ALLOC,
    EXEC,
    EXIT,
    FUNC,
    HALF_FUNC,
    INIT_FUNC,
    LOCAL,
    R64_32,
    U32,
    Rel,
    Sec,
    Sym,
    call,
    load,
    small_object,
)

DATA, MAP = RelocationTarget.DATA, RelocationTarget.MAP


def test_a_program_alone_is_what_it_was() -> None:
    spec = read_object(
        small_object(
            sections={"struct_ops/init": {"data": load(1) + EXIT}},
            symbols={"t_init": {"size": 24}},
            relocations={("struct_ops/init", 16): None, ("struct_ops/init", 32): None},
            line_info={"struct_ops/init": ((0, 1, 1, 1024),)},
        ),
        "x.o",
    )
    function = spec.function("t_init")
    assert link_program(spec, "t_init") == LinkedProgram(
        name="t_init",
        sleepable=False,
        insns=load(1) + EXIT,
        relocations=(Relocation(0, MAP, "t_map", 0),),
        core_relos=(),
        func_info=function.func_info,
        line_info=function.line_info,
        functions=((0, "t_init"),),
    )


def test_subprograms_follow_in_the_order_of_first_use(everything: ObjectSpec) -> None:
    linked = link_program(everything, "first_ssthresh")
    assert linked.functions == ((0, "first_ssthresh"), (17, "at_least_two"), (21, "halve"))
    assert len(linked.insns) == 27 * 8
    parts = [everything.function(name) for _, name in linked.functions]
    assert [info.type_id for info in linked.func_info] == [part.type_id for part in parts]
    assert [info.insn_index for info in linked.func_info] == [0, 17, 21]


def test_distances_of_calls(everything: ObjectSpec) -> None:
    insns = link_program(everything, "first_ssthresh").insns
    # at_least_two from 11, halve from 14, halve from 17
    assert [
        (index, src_reg_at(insns, index), index + 1 + imm_at(insns, index)) for index in (11, 14, 17)
    ] == [
        (11, 1, 17),
        (14, 1, 21),
        (17, 1, 21),
    ]


def test_the_address_of_a_callback(everything: ObjectSpec) -> None:
    linked = link_program(everything, "on_init")
    assert linked.sleepable
    assert linked.functions == ((0, "on_init"), (20, "count_one"))
    low, high = decode_insn(linked.insns, 3), decode_insn(linked.insns, 4)
    assert (low.src_reg, 3 + low.imm + 1, high.imm) == (4, 20, 0)


def test_only_calls_and_callbacks_are_changed(everything: ObjectSpec) -> None:
    linked = link_program(everything, "first_ssthresh")
    plain = b"".join(everything.function(name).insns for _, name in linked.functions)
    changed = [
        at // 8 for at, (one, other) in enumerate(zip(linked.insns, plain, strict=True)) if one != other
    ]
    # the distance at 17 stays: both functions are of one section
    assert set(changed) == {11, 14}


def test_references_move_along(everything: ObjectSpec) -> None:
    assert link_program(everything, "cong_avoid").relocations == (
        Relocation(4, MAP, "events", 0),
        Relocation(18, DATA, ".rodata", 4),
        Relocation(21, DATA, ".data.own", 0),
        Relocation(30, DATA, ".bss", 8),
        Relocation(38, DATA, ".bss", 16),
        Relocation(42, DATA, ".rodata", 20),
        Relocation(52, DATA, ".rodata", 32),
        Relocation(56, DATA, ".bss", 0),
    )


def test_lines_move_along(everything: ObjectSpec) -> None:
    linked = link_program(everything, "undo_cwnd")
    starts = {name: start for start, name in linked.functions}
    expected = [
        (line.insn_index + starts[name], line.line)
        for name in ("undo_cwnd", "at_least_two", "halve")
        for line in everything.function(name).line_info
    ]
    assert [(line.insn_index, line.line) for line in linked.line_info] == expected
    assert [index for index, _ in expected] == sorted({index for index, _ in expected})


def test_core_relocations_move_along() -> None:
    spec = read_object(small_object(relos={".text": ((8, U32, "0:0", 0),)}), "x.o")
    assert link_program(spec, "t_init").core_relos == (CoreRelo(7, U32, "0:0", 0),)


def chain(
    *bodies: bytes, relocations: tuple[Rel, ...] = (), symbols: tuple[Sym, ...] = (), **changes: Any
) -> ObjectSpec:
    """Return an object whose .text has functions f0, f1, ... of these bodies, and a program that calls f0."""
    functions, code = [], b""
    for number, body in enumerate(bodies):
        functions.append(Sym(f"f{number}", ".text", len(code), len(body), FUNC, LOCAL))
        code += body
    described = {".text": [(one.value, HALF_FUNC) for one in functions], "struct_ops/init": [(0, INIT_FUNC)]}
    data = small_object(
        sections={".text": {"data": code}, "struct_ops/init": {"data": call(-1) + EXIT}},
        symbols={"half": None, "t_init": {"size": 16}},
        relocations={("struct_ops/init", at): None for at in (0, 16, 32)},
        more_symbols=[*functions, *symbols],
        more_relocations=[Rel("struct_ops/init", 0, "f0", R64_32), *relocations],
        **{"line_info": {}, "func_info": described, **changes},
    )
    return read_object(data, "x.o")


def test_depth_comes_before_breadth() -> None:
    # f0 calls f2 and f1; f2 calls f3
    spec = chain(call(3) + call(1) + EXIT, EXIT, call(1) + EXIT, EXIT)
    linked = link_program(spec, "t_init")
    assert linked.functions == ((0, "t_init"), (2, "f0"), (5, "f2"), (7, "f3"), (8, "f1"))
    assert [index + 1 + imm_at(linked.insns, index) for index in (0, 2, 3, 5)] == [2, 5, 8, 7]


def test_recursion_ends() -> None:
    # f0 calls f1 and itself, f1 calls f0
    spec = chain(call(2) + call(-2) + EXIT, call(-4) + EXIT)
    linked = link_program(spec, "t_init")
    assert linked.functions == ((0, "t_init"), (2, "f0"), (5, "f1"))
    assert [index + 1 + imm_at(linked.insns, index) for index in (0, 2, 3, 5)] == [2, 5, 2, 2]


def test_a_deep_chain_of_calls() -> None:
    count = 3000
    spec = chain(*[call(1) + EXIT] * (count - 1), EXIT)
    assert len(link_program(spec, "t_init").functions) == count + 1


def test_what_is_not_reached_is_left_out() -> None:
    spec = chain(EXIT, EXIT)
    assert [name for _, name in link_program(spec, "t_init").functions] == ["t_init", "f0"]


def test_a_program_that_calls_another() -> None:
    spec = chain(
        call(-1) + EXIT,
        relocations=(Rel(".text", 0, "t_other", R64_32),),
        symbols=(Sym("t_other", "struct_ops/other", 0, 8, FUNC),),
        more_sections=[Sec("struct_ops/other", EXIT, ALLOC | EXEC)],
        func_info={name: [(0, INIT_FUNC)] for name in (".text", "struct_ops/init", "struct_ops/other")},
    )
    assert link_program(spec, "t_init").functions == ((0, "t_init"), (2, "f0"), (4, "t_other"))
    assert link_program(spec, "t_other").functions == ((0, "t_other"),)


def test_many_programs_at_once(everything: ObjectSpec) -> None:
    names = [function.name for function in everything.functions if function.is_program]
    assert list(link_programs(everything, names)) == [link_program(everything, name) for name in names]


def test_an_unknown_program(everything: ObjectSpec) -> None:
    with pytest.raises(KeyError, match="absent"):
        link_program(everything, "absent")


def test_a_subprogram_without_function_info() -> None:
    with pytest.raises(ObjectError) as caught:
        link_program(chain(EXIT, func_info={"struct_ops/init": [(0, INIT_FUNC)]}), "t_init")
    assert str(caught.value) == (
        "program t_init cannot be linked with f0: "
        ".BTF.ext has no function record for f0; the kernel wants one for every function"
    )
    assert caught.value.hint == "compile every source of the object with -g"
    assert caught.value.fields == {"program": "t_init", "symbol": "f0"}


def test_a_program_alone_needs_no_function_info() -> None:
    spec = chain(EXIT)
    (f0,) = [function for function in spec.functions if function.name == "f0"]
    bare = spec._replace(functions=(f0._replace(func_info=()),))
    assert link_program(bare, "f0").func_info == ()


def test_lines_are_all_or_none() -> None:
    lines = {"struct_ops/init": [(0, 1, 1, 1024)]}
    assert link_program(chain(EXIT, line_info=lines), "t_init").line_info == ()
    lines[".text"] = [(0, 1, 1, 2048)]
    assert [line.line for line in link_program(chain(EXIT, line_info=lines), "t_init").line_info] == [1, 2]
    late = {"struct_ops/init": [(8, 1, 1, 1024)], ".text": [(0, 1, 1, 2048)]}
    assert link_program(chain(EXIT, line_info=late), "t_init").line_info == ()


def test_the_values_are_the_records_own(everything: ObjectSpec) -> None:
    linked = link_program(everything, "cong_avoid")
    assert isinstance(linked.func_info[1], FuncInfo)
    assert isinstance(linked.relocations[-1], Relocation)


SOURCE = OBJECTS / "exceptions.bpf.c"


def compiled(*macros: str) -> ObjectSpec:
    data = compile_object(SOURCE, flags=(*FLAGS, *(f"-D{macro}" for macro in macros)))
    return read_object(data, "exceptions.bpf.o")


def test_the_callback_comes_last_with_what_only_it_reaches() -> None:
    linked = link_program(compiled(), "ex_ssthresh")
    assert [name for _, name in linked.functions] == ["ex_ssthresh", "check", "catcher", "noted"]
    assert [info.insn_index for info in linked.func_info] == [start for start, _ in linked.functions]


def test_a_program_without_the_tag_is_left_alone() -> None:
    [linked] = link_programs(compiled(), ["ex_undo_cwnd"])
    assert linked.functions == ((0, "ex_undo_cwnd"),)


@pytest.mark.parametrize(
    ("macros", "what", "why"),
    [
        (
            ("CATCHER=nobody",),
            "ex_ssthresh has no exception callback nobody",
            "the object has no function nobody",
        ),
        (
            ("CATCHER=",),
            "ex_ssthresh has no exception callback ",
            "the object has no function without a name",
        ),
        (
            ("CATCHER=static_catcher", "STATIC_CATCHER"),
            "ex_ssthresh has no exception callback static_catcher",
            "static_catcher is a static function",
        ),
        (
            ("CATCHER=ex_undo_cwnd",),
            "ex_ssthresh has no exception callback ex_undo_cwnd",
            "ex_undo_cwnd is a program",
        ),
        (
            ("SECOND_CATCHER",),
            "ex_ssthresh has several exception callbacks",
            "its tags name catcher, noted",
        ),
    ],
)
def test_what_can_be_no_callback(macros: tuple[str, ...], what: str, why: str) -> None:
    spec = compiled(*macros)
    with pytest.raises(ObjectError) as caught:
        link_program(spec, "ex_ssthresh")
    assert caught.value.what == what
    assert sorted(caught.value.why.split()) == sorted(why.split()), "the order of tags is the compiler's"
    assert caught.value.fields == {"program": "ex_ssthresh", "section": "struct_ops/ssthresh"}
    assert link_program(spec, "ex_undo_cwnd").name == "ex_undo_cwnd"


def test_tags_that_are_something_else() -> None:
    """Only those on a whole function count: not those on a parameter, nor others."""
    tags = [
        DeclTag(25, "exception_callback:half", INIT_FUNC, 0, False),
        DeclTag(26, "exception_callback", INIT_FUNC, -1, False),
        DeclTag(27, "my_exception_callback:half", INIT_FUNC, -1, False),
    ]
    spec = read_object(small_object(more_types=tags), "x.o")
    assert exception_tags(spec.btf) == {}


def test_a_callback_that_is_called_as_well_is_there_once() -> None:
    """The verifier has a word to say about it."""
    tag = DeclTag(25, "exception_callback:half", INIT_FUNC, -1, False)
    spec = read_object(small_object(more_types=[tag], symbols={"half": {"binding": 1}}), "x.o")
    assert [name for _, name in link_program(spec, "t_init").functions] == ["t_init", "half"]
