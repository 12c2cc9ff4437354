"""Externs of an object, and the BTF that the kernel gets for them."""

from __future__ import annotations

import pytest

from structops_cli.btf.btf import Btf
from structops_cli.btf.encode import encode
from structops_cli.btf.types import (
    BtfType,
    Datasec,
    DatasecEntry,
    Func,
    FuncProto,
    Fwd,
    Int,
    Struct,
    Var,
)
from structops_cli.errors import ObjectError
from structops_cli.obj.datasec import datasec_of, lay_out_kconfig
from structops_cli.obj.loadable import extern_types, loadable_btf
from structops_cli.obj.reader import read_object
from structops_cli.obj.spec import Extern, ExternCategory, Relocation, RelocationTarget
from structops_cli.syscall.uapi import BtfFuncLinkage, BtfKind, BtfVarLinkage
from tests.compile import OBJECTS, compile_object
from tests.elf_writers import NOTYPE, UNDEFINED, Sym, small_object


def test_externs_that_a_compiler_made() -> None:
    spec = read_object(compile_object(OBJECTS / "externs.bpf.c"), "externs.bpf.o")
    (kfunc,) = spec.btf.ids("t_kfunc", BtfKind.FUNC)
    (weak,) = spec.btf.ids("t_weak_kfunc", BtfKind.FUNC)
    found = {extern.name: extern for extern in spec.externs}
    assert found["t_kfunc"] == Extern(
        "t_kfunc", ".ksyms", kfunc, weak=False, category=ExternCategory.FUNCTION
    )
    assert found["t_weak_kfunc"] == Extern(
        "t_weak_kfunc", ".ksyms", weak, weak=True, category=ExternCategory.FUNCTION
    )
    ksym = found["t_ksym"]
    assert (ksym.section, ksym.weak, ksym.category) == (".ksyms", False, ExternCategory.VARIABLE)
    version = found["LINUX_KERNEL_VERSION"]
    assert (version.section, version.weak, version.category) == (".kconfig", False, ExternCategory.KCONFIG)
    assert spec.btf.name(version.type_id) == "int"
    assert found["CONFIG_T_WEAK"].weak
    assert set(found) == {"t_kfunc", "t_weak_kfunc", "t_ksym", "LINUX_KERNEL_VERSION", "CONFIG_T_WEAK"}


def test_references_to_externs() -> None:
    spec = read_object(compile_object(OBJECTS / "externs.bpf.c"), "externs.bpf.o")
    assert [(one.target, one.symbol) for one in spec.function("look").relocations] == [
        (RelocationTarget.EXTERN, name)
        for name in (
            "CONFIG_T_WEAK",
            "LINUX_KERNEL_VERSION",
            "t_ksym",
            "t_weak_kfunc",
            "t_weak_kfunc",
            "t_kfunc",
        )
    ]
    assert isinstance(spec.function("look").relocations[0], Relocation)


@pytest.mark.parametrize("section", [".ksyms", ".other"])
def test_an_undefined_symbol(section: str) -> None:
    types = [Datasec(25, section, 0, (DatasecEntry(8, 0, 0),))]
    with pytest.raises(ObjectError) as caught:
        read_object(
            small_object(more_types=types, more_symbols=[Sym("t_gone", UNDEFINED, 0, 0, NOTYPE)]), "x.o"
        )
    assert (
        str(caught.value)
        == "x.o: symbol t_gone is undefined: it is in neither .kconfig nor .ksyms of its BTF"
    )
    assert caught.value.hint == (
        "for a part of a program link all parts: bpftool gen object OUT.bpf.o x.o OTHER.bpf.o; "
        'for something of the kernel declare it with __attribute__((section(".ksyms")))'
    )
    assert caught.value.fields == {"symbol": "t_gone", "object": "x.o"}


# What the kernel is told of them


def test_the_types_that_the_kernel_takes() -> None:
    """Variables and functions are global, parameters named, .ksyms a struct, and every id is what it was."""
    spec = read_object(compile_object(OBJECTS / "externs.bpf.c"), "externs.bpf.o")
    before, after = spec.btf, Btf(loadable_btf(spec))
    assert after.end_id == before.end_id
    after.check()
    changed = {one.id for one in before.types() if after.type(one.id) != one}
    names = {"LINUX_KERNEL_VERSION", "CONFIG_T_WEAK", "t_ksym", "t_kfunc", "t_weak_kfunc"}
    assert {before.name(one) for one in changed} == names | {".ksyms", ""}
    for name in ("LINUX_KERNEL_VERSION", "CONFIG_T_WEAK", "t_ksym"):
        [var] = [after.type(one) for one in after.ids(name, BtfKind.VAR)]
        assert isinstance(var, Var)
        assert var.linkage == BtfVarLinkage.GLOBAL_ALLOCATED
    for name in ("t_kfunc", "t_weak_kfunc"):
        [function] = [after.type(one) for one in after.ids(name, BtfKind.FUNC)]
        assert isinstance(function, Func)
        assert function.linkage == BtfFuncLinkage.GLOBAL
        proto = after.type(function.type)
        assert isinstance(proto, FuncProto)
        assert [param.name for param in proto.params] == ["arg1"]
    [ksyms] = before.ids(".ksyms", BtfKind.DATASEC)
    struct = after.type(ksyms)
    assert isinstance(struct, Struct)
    assert (struct.name, struct.size_bytes, len(struct.members)) == ("", 12, 3)
    assert [member.bit_offset for member in struct.members] == [0, 32, 64]
    kconfig = datasec_of(after, ".kconfig")
    assert kconfig is not None
    assert kconfig == datasec_of(before, ".kconfig")
    assert [tuple(entry)[1:] for entry in kconfig.entries] == [(0, 4), (4, 1)]


def written(*types: BtfType) -> Btf:
    return Btf(encode(types), origin="a written object")


def test_without_externs_nothing_changes() -> None:
    number = Int(1, "int", 4, 1, 0, 32)
    assert extern_types(written(number, Datasec(2, ".data", 0, ()))) == ()


def test_no_integer_to_stand_for_a_symbol() -> None:
    btf = written(Var(1, "symbol", 0, 2), Datasec(2, ".ksyms", 0, (DatasecEntry(1, 0, 0),)))
    with pytest.raises(ObjectError, match="has no integer type for its entries"):
        extern_types(btf)


@pytest.mark.parametrize(
    ("types", "what", "why"),
    [
        (
            (FuncProto(1, 0, ()), Func(2, "CONFIG_T", 1, 2)),
            "CONFIG_T of section .kconfig is not a variable",
            "it is a Func",
        ),
        (
            (Fwd(1, "unknown", False), Var(2, "CONFIG_T", 1, 2)),
            "the configuration variable CONFIG_T has no size",
            "it is a Fwd",
        ),
        (
            (Struct(1, "empty", 0, (), False), Var(2, "CONFIG_T", 1, 2)),
            "the configuration variable CONFIG_T has no size",
            "it has no bytes",
        ),
    ],
)
def test_configuration_that_has_no_place(types: tuple[BtfType, ...], what: str, why: str) -> None:
    section = Datasec(3, ".kconfig", 0, (DatasecEntry(2, 0, 0),))
    with pytest.raises(ObjectError) as caught:
        lay_out_kconfig(written(*types, section))
    assert (caught.value.what, caught.value.why) == (what, why)
    assert caught.value.fields["section"] == ".kconfig"
