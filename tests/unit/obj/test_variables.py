"""struct_ops variables, and pointers in them that lead to no program."""

from __future__ import annotations

from struct import pack
from typing import Any

import pytest

from structops_cli.btf.types import Datasec, DatasecEntry, Member, Struct, Var
from structops_cli.errors import InputError
from structops_cli.obj.data import LARGEST_SECTION
from structops_cli.obj.reader import read_object
from structops_cli.obj.spec import MemberFunction
from tests.elf_writers import (
    ABS32,
    ABS64,
    INIT_PTR,
    LOCAL,
    NOBITS,
    NOTYPE,
    OPS_STRUCT,
    R64_64,
    SECTION,
    U32,
    UNDEFINED,
    Rel,
    Sym,
    small_object,
)

OPS = ".struct_ops.link"
POINTER = (OPS, 8)


def refusal(**changes: Any) -> InputError:
    with pytest.raises(InputError) as caught:
        read_object(small_object(**changes), "x.o")
    return caught.value


@pytest.mark.parametrize(
    ("section", "link", "optional"),
    [
        (".struct_ops", False, False),
        (".struct_ops.link", True, False),
        ("?.struct_ops", False, True),
        ("?.struct_ops.link", True, True),
    ],
)
def test_sections(section: str, link: bool, optional: bool) -> None:
    data = small_object(
        sections={OPS: {"name": section}},
        symbols={"t_ops": {"section": section}},
        relocations={POINTER: {"section": section}},
        types={24: Datasec(24, section, 0, (DatasecEntry(20, 0, 16),))},
    )
    (found,) = read_object(data, "x.o").struct_ops
    assert (found.section, found.link, found.optional) == (section, link, optional)
    assert found.functions == (MemberFunction(8, "t_init"),)


@pytest.mark.parametrize("kind", [ABS64, R64_64])
def test_the_pointer_of_old_and_new_compilers(kind: int) -> None:
    (found,) = read_object(small_object(relocations={POINTER: {"type": kind}}), "x.o").struct_ops
    assert found.functions == (MemberFunction(8, "t_init"),)


def test_a_pointer_may_be_told_from_the_start_of_the_section() -> None:
    # the addend is where the pointer will be
    data = small_object(
        sections={OPS: {"data": pack("<IIq", 5, 0, -8)}},
        relocations={POINTER: {"symbol": "inside"}},
        more_symbols=[Sym("inside", "struct_ops/init", 8, 0, NOTYPE, LOCAL)],
    )
    (found,) = read_object(data, "x.o").struct_ops
    assert found.functions == (MemberFunction(8, "t_init"),)
    assert found.data == pack("<IIQ", 5, 0, 0)


@pytest.mark.parametrize(
    ("pointer", "why", "hint"),
    [
        (
            {"symbol": "half"},
            "half is not a global function of a section struct_ops",
            'define it as SEC("struct_ops") and not static: half',
        ),
        ({"symbol": "t_map"}, "it points at map t_map", ""),
        ({"symbol": "second_limit"}, "it points at data .rodata", ""),
    ],
)
def test_pointers_at_something_else(pointer: dict[str, Any], why: str, hint: str) -> None:
    error = refusal(relocations={POINTER: pointer})
    assert (error.what, error.why, error.hint) == (
        "x.o: member init of t_ops does not point at a program",
        why,
        hint,
    )
    assert error.fields == {"variable": "t_ops", "member": "init", "object": "x.o"}


@pytest.mark.parametrize(
    ("pointer", "symbols", "why"),
    [
        (
            {"symbol": "t_absent"},
            [Sym("t_absent", UNDEFINED, 0, 0, NOTYPE)],
            "symbol t_absent is undefined: it is in neither .kconfig nor .ksyms of its BTF",
        ),
        (
            {"symbol": ".text"},
            [Sym(".text", ".text", 8, 0, SECTION, LOCAL)],
            "member init of t_ops is lost: it refers to .text: no function begins at byte 8 of section .text",
        ),
        (
            {"symbol": "_license"},
            [],
            (
                "member init of t_ops is lost: "
                "it refers to _license: section license holds neither functions, maps nor data"
            ),
        ),
    ],
)
def test_pointers_at_nothing(pointer: dict[str, Any], symbols: list[Sym], why: str) -> None:
    assert str(refusal(relocations={POINTER: pointer}, more_symbols=symbols)) == f"x.o: {why}"


@pytest.mark.parametrize(
    ("change", "member", "why"),
    [
        ({"type": ABS32}, "init", "a relocation of type 3 at byte 8 does not fill a pointer"),
        ({"offset": 4}, "at byte 4", "a relocation of type 2 at byte 4 does not fill a pointer"),
    ],
)
def test_relocations_that_are_no_pointer(change: dict[str, Any], member: str, why: str) -> None:
    error = refusal(relocations={POINTER: change})
    assert (error.what, error.why) == (f"x.o: member {member} of t_ops is not a pointer", why)


def test_a_pointer_outside_of_every_variable() -> None:
    error = refusal(
        sections={OPS: {"data": pack("<IIQQ", 5, 0, 0, 0)}}, more_relocations=[Rel(OPS, 16, "t_init", ABS64)]
    )
    assert str(error) == (
        f"x.o: the pointer at byte 16 of section {OPS} is in no variable: no variable of the section covers it"
    )


def test_a_variable_that_is_no_struct() -> None:
    error = refusal(types={20: Var(20, "t_ops", INIT_PTR, 1)})
    assert str(error) == f"x.o: variable t_ops of section {OPS} is not a struct_ops variable: its type is Ptr"
    assert error.hint == "give it the type of a kernel's struct, such as struct tcp_congestion_ops"


def test_a_struct_without_a_name() -> None:
    members = (Member("flags", U32, 0, 0), Member("init", INIT_PTR, 64, 0))
    error = refusal(types={OPS_STRUCT: Struct(OPS_STRUCT, "", 16, members, False)})
    assert error.why == "its struct has no name"


def test_a_variable_of_another_size() -> None:
    error = refusal(symbols={"t_ops": {"size": 8}})
    assert str(error) == (
        f"x.o: variable t_ops of section {OPS} is not a struct_ops variable: it has 8 bytes, struct t_kernel_ops has 16"
    )


def test_a_section_that_btf_does_not_describe() -> None:
    error = refusal(types={24: Datasec(24, ".other", 0, ())})
    assert str(error) == f"x.o: section {OPS} is not described by BTF: it has 16 bytes and no Datasec"


def test_a_section_that_has_only_a_size() -> None:
    change = {"type": NOBITS, "data": b"", "size": 16}
    (found,) = read_object(small_object(sections={OPS: change}), "x.o").struct_ops
    assert found.data == bytes(16)
    error = refusal(sections={OPS: {**change, "size": LARGEST_SECTION + 1}})
    assert error.what == f"x.o: section {OPS} is too large"


def test_a_struct_that_no_kernel_could_have() -> None:
    large = 1 << 30
    members = (Member("flags", U32, 0, 0), Member("init", INIT_PTR, 64, 0))
    error = refusal(
        types={OPS_STRUCT: Struct(OPS_STRUCT, "t_kernel_ops", large, members, False)},
        sections={OPS: {"type": NOBITS, "data": b"", "size": large}},
        symbols={"t_ops": {"size": large}},
    )
    assert error.why == "struct t_kernel_ops has 1073741824 bytes, more than any struct_ops (1048576)"
