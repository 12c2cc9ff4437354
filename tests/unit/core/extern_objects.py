"""Write an object that leaves functions, variables and configuration to the kernel."""

from __future__ import annotations

from structops_cli.btf.btf import Btf
from structops_cli.btf.encode import encode
from structops_cli.btf.types import (
    Array,
    BtfType,
    Const,
    Datasec,
    DatasecEntry,
    Func,
    FuncProto,
    Fwd,
    Int,
    Member,
    Param,
    Ptr,
    Struct,
    Var,
)
from structops_cli.obj.datasec import lay_out_kconfig
from structops_cli.obj.spec import (
    Extern,
    ExternCategory,
    LinkedProgram,
    ObjectSpec,
    Relocation,
    RelocationTarget,
)
from structops_cli.syscall.uapi import BtfIntEncoding
from tests.elf_writers import EXIT, call, load

FUNCTION, VARIABLE, ADDRESS, KCONFIG = ExternCategory


EXTERN, DATA, MODULE = RelocationTarget.EXTERN, RelocationTarget.DATA, RelocationTarget.MODULE


LOCAL_TYPES: tuple[BtfType, ...] = (
    Int(1, "unsigned int", 4, 0, 0, 32),
    Fwd(2, "sock", False),
    Ptr(3, 2),
    FuncProto(4, 1, (Param("", 3),)),
    Const(5, 0),
    Struct(6, "rq___mine", 4, (Member("nr_running", 1, 0, 0),), False),
    Int(7, "_Bool", 1, BtfIntEncoding.BOOL, 0, 8),
    Int(8, "unsigned long long", 8, 0, 0, 64),
    Int(9, "char", 1, BtfIntEncoding.SIGNED, 0, 8),
    Array(10, 9, 1, 5),
    Func(11, "t_function", 4, 2),
    FuncProto(12, 1, (Param("", 3), Param("", 1))),
    Func(13, "t_function", 12, 2),
    Var(14, "CONFIG_TEXT", 10, 2),
    Var(15, "CONFIG_ON", 7, 2),
    Var(16, "CONFIG_WIDE", 8, 2),
    Var(17, "LINUX_KERNEL_VERSION", 1, 2),
    Var(18, "CONFIG_BEFORE", 7, 2),
    Datasec(19, ".kconfig", 0, tuple(DatasecEntry(type_id, 0, 0) for type_id in range(14, 19))),
)


U32, VOID, RQ, BOOL, U64, TEXT, T_FUNCTION, OTHER_FUNCTION = 1, 5, 6, 7, 8, 10, 11, 13


def local() -> Btf:
    btf = Btf(encode(LOCAL_TYPES), origin="t.bpf.o .BTF")
    layout = lay_out_kconfig(btf)
    assert layout is not None
    return btf.with_datasecs([layout])


def extern(name: str, kind: ExternCategory, type_id: int, *, weak: bool = False) -> Extern:
    return Extern(name, ".kconfig" if kind is KCONFIG else ".ksyms", type_id, weak, kind)


def spec(*externs: Extern) -> ObjectSpec:
    return ObjectSpec("t.bpf.o", "GPL", local(), (), (), (), (), externs)


def program(insns: bytes, *relocations: Relocation) -> LinkedProgram:
    return LinkedProgram("t_init", False, insns + EXIT, relocations, (), (), (), ((0, "t_init"),))


def loading(name: str) -> LinkedProgram:
    return program(load(1), Relocation(0, EXTERN, name, 0))


def calling(name: str) -> LinkedProgram:
    return program(call(-1), Relocation(0, EXTERN, name, 0))
