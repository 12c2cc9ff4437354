"""What an object leaves to the kernel."""

from __future__ import annotations

import pytest

from structops_cli.btf.types import Datasec, DatasecEntry
from structops_cli.errors import ObjectError
from structops_cli.obj.reader import read_object
from structops_cli.obj.spec import Extern, ExternKind, Relocation, RelocationTarget
from structops_cli.syscall.uapi import BtfKind
from tests.compile import OBJECTS, compile_object
from tests.elf_writers import NOTYPE, UNDEFINED, Sym, small_object


def test_externs_that_a_compiler_made() -> None:
    spec = read_object(compile_object(OBJECTS / "externs.bpf.c"), "externs.bpf.o")
    (kfunc,) = spec.btf.ids("t_kfunc", BtfKind.FUNC)
    (weak,) = spec.btf.ids("t_weak_kfunc", BtfKind.FUNC)
    found = {extern.name: extern for extern in spec.externs}
    assert found["t_kfunc"] == Extern("t_kfunc", ".ksyms", kfunc, weak=False, kind=ExternKind.FUNCTION)
    assert found["t_weak_kfunc"] == Extern(
        "t_weak_kfunc", ".ksyms", weak, weak=True, kind=ExternKind.FUNCTION
    )
    ksym = found["t_ksym"]
    assert (ksym.section, ksym.weak, ksym.kind) == (".ksyms", False, ExternKind.VARIABLE)
    version = found["LINUX_KERNEL_VERSION"]
    assert (version.section, version.weak, version.kind) == (".kconfig", False, ExternKind.KCONFIG)
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
    assert caught.value.hint == 'define it, or declare it as extern with __attribute__((section(".ksyms")))'
    assert caught.value.fields == {"symbol": "t_gone", "object": "x.o"}
