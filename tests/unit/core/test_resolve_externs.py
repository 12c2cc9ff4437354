"""Find externs in written BTF, facts and configuration."""

from __future__ import annotations

import pytest

from structops_cli.btf.btf import Btf
from structops_cli.btf.encode import encode
from structops_cli.btf.kernel_types import KernelTypes, ModuleBtf, SkippedModule
from structops_cli.btf.types import (
    BtfType,
    Enum,
    Enumerator,
    Func,
    FuncProto,
    Int,
    Member,
    Param,
    Ptr,
    Struct,
    Var,
)
from structops_cli.core.externs import (
    Externs,
    KernelFacts,
    Resolved,
    apply_externs,
)
from structops_cli.core.resolve_externs import lacks_implementation, resolve_externs
from structops_cli.errors import BtfError, FitError
from structops_cli.obj.datasec import lay_out_kconfig
from structops_cli.obj.spec import Extern, LinkedProgram, Relocation
from structops_cli.struct_ops.findings import Finding, Severity
from structops_cli.syscall.uapi import BtfKind
from tests.btf_writers import M, Record, const, func, int_, proto, ptr, struct_, write_btf
from tests.unit.core.extern_objects import (
    ADDRESS,
    BOOL,
    DATA,
    FUNCTION,
    KCONFIG,
    LOCAL_TYPES,
    OTHER_FUNCTION,
    RQ,
    T_FUNCTION,
    TEXT,
    U32,
    U64,
    VARIABLE,
    VOID,
    calling,
    extern,
    loading,
    program,
    spec,
)

# The object: ids 1 to 12 are types, 20 and on are declarations.
"""Type ids of the object."""

# A kernel and its modules: the module's types follow those of the kernel.
KERNEL_TYPES: tuple[BtfType, ...] = (
    Int(1, "unsigned int", 4, 0, 0, 32),
    Struct(2, "sock", 4, (Member("x", 1, 0, 0),), False),
    Ptr(3, 2),
    FuncProto(4, 1, (Param("sk", 3),)),
    Func(5, "t_function", 4, 1),
    Struct(6, "rq", 8, (Member("clock", 1, 0, 0), Member("nr_running", 1, 32, 0)), False),
    Var(7, "runqueues", 6, 1),
    Var(8, "counter", 1, 1),
    Enum(9, "bpf_func_id", 4, False, (Enumerator("BPF_FUNC_get_attach_cookie", 174),)),
    Func(10, "__x64_sys_bpf", 4, 1),
)
MODULE_TYPES: tuple[BtfType, ...] = (Func(11, "m_function", 4, 1), Var(12, "m_counter", 1, 1))
VMLINUX = Btf(encode(KERNEL_TYPES), origin="a written kernel")


def module(name: str) -> ModuleBtf:
    data = encode(MODULE_TYPES, base=VMLINUX)
    return ModuleBtf(name, Btf(data, base=VMLINUX, origin=f"module {name}"), 7)


KERNEL = KernelTypes(VMLINUX, lambda: (module("m_first"), module("m_second")))
ALONE = KernelTypes(VMLINUX)
NOTHING = KernelFacts()


def resolved(
    one: Extern, used: LinkedProgram, facts: KernelFacts = NOTHING, kernel: KernelTypes = KERNEL
) -> Resolved:
    found = resolve_externs(spec(one), [used], kernel, facts)
    return found.resolved[one.name]


def refused(
    one: Extern, used: LinkedProgram, facts: KernelFacts = NOTHING, kernel: KernelTypes = KERNEL
) -> FitError:
    with pytest.raises(FitError) as caught:
        resolved(one, used, facts, kernel)
    unread = {"unread_modules": [item.name for item in kernel.skipped]} if kernel.skipped else {}
    assert caught.value.fields == {
        **unread,
        "object": "t.bpf.o",
        "program": "t_init",
        "symbol": one.name,
        "section": one.section,
        "insn": used.relocations[0].insn_index,
    }
    return caught.value


def test_an_extern_that_no_program_uses_may_be_missing() -> None:
    externs = spec(extern("nowhere", FUNCTION, T_FUNCTION), extern("CONFIG_ON", KCONFIG, BOOL))
    assert resolve_externs(externs, [program(b"")], KERNEL, KernelFacts()) == Externs({}, None, ())


# Functions


@pytest.mark.parametrize("name", ["t_function", "t_function___mine"])
def test_a_function_of_the_kernel(name: str) -> None:
    """With its flavour or without; the struct that the object only declares is as good as the kernel's."""
    one = extern(name, FUNCTION, T_FUNCTION)
    assert resolved(one, calling(name)) == Resolved(one, 5)


def test_a_function_of_a_module_is_of_the_first_that_has_it() -> None:
    one = extern("m_function", FUNCTION, T_FUNCTION)
    assert resolved(one, calling("m_function")) == Resolved(one, 11, "m_first")


def test_a_function_with_another_prototype() -> None:
    why = (
        "the object declares 'unsigned int t_function(struct sock *, unsigned int)', "
        "and a written kernel has 'unsigned int t_function(struct sock *sk)'"
    )
    error = refused(extern("t_function", FUNCTION, OTHER_FUNCTION), calling("t_function"))
    assert (
        error.what == "the kernel function t_function, which t_init of t.bpf.o uses, does not fit this kernel"
    )
    assert error.why == why
    weak = extern("t_function", FUNCTION, OTHER_FUNCTION, weak=True)
    found = resolved(weak, calling("t_function"))
    assert found == Resolved(weak, 0, None, why, differs=True)
    assert found.absence() == f"which this kernel has with another prototype ({why})"


@pytest.mark.parametrize(
    ("kernel", "why"),
    [
        (ALONE, "no function of that name is in the BTF of a written kernel"),
        (KERNEL, "no function of that name is in the BTF of a written kernel, nor in that of 2 modules"),
    ],
)
def test_a_function_that_is_missing(kernel: KernelTypes, why: str) -> None:
    error = refused(extern("nowhere", FUNCTION, T_FUNCTION), calling("nowhere"), kernel=kernel)
    assert error.what == "this kernel has no kernel function nowhere, which t_init of t.bpf.o uses"
    assert error.why == why
    assert error.hint == "load the module that has it, or declare it __weak, and test it before it is used"
    weak = extern("nowhere", FUNCTION, T_FUNCTION, weak=True)
    assert resolved(weak, calling("nowhere"), kernel=kernel) == Resolved(weak, 0, None, why)


def test_a_function_that_may_be_in_a_module_that_cannot_be_read() -> None:
    unread = KernelTypes(ALONE.vmlinux, lambda: [SkippedModule("m_cut", BtfError("m_cut is damaged"))])
    error = refused(extern("nowhere", FUNCTION, T_FUNCTION), calling("nowhere"), kernel=unread)
    assert error.why == (
        "no function of that name is in the BTF of a written kernel; "
        "the BTF of these modules cannot be read: m_cut"
    )
    assert error.fields["unread_modules"] == ["m_cut"]
    assert Finding.of_error(error).severity is Severity.UNKNOWN


def test_a_kernel_whose_programs_call_no_functions() -> None:
    """Linux before 5.13 has functions in its BTF like any other."""
    types = (*KERNEL_TYPES, Struct(11, "bpf_prog_aux", 0, (), False))
    old = KernelTypes(Btf(encode(types), origin="an old kernel"))
    new = KernelTypes(Btf(encode((*types, Struct(12, "bpf_kfunc_desc_tab", 0, (), False)))))
    why = "its programs call no kernel functions: that came with Linux 5.13"
    error = refused(extern("t_function", FUNCTION, T_FUNCTION), calling("t_function"), kernel=old)
    assert error.what == "this kernel has no kernel function t_function, which t_init of t.bpf.o uses"
    assert error.why == why
    weak = extern("t_function", FUNCTION, T_FUNCTION, weak=True)
    assert resolved(weak, calling("t_function"), kernel=old) == Resolved(weak, 0, None, why)
    assert resolved(weak, calling("t_function"), kernel=new) == Resolved(weak, 5)
    assert not resolve_externs(spec(weak), [calling("t_function")], new, NOTHING).loads_functions


def test_a_variable_is_no_function() -> None:
    assert refused(extern("counter", FUNCTION, T_FUNCTION), calling("counter")).why.startswith("no function")
    error = refused(extern("counter", VARIABLE, U32), calling("counter"))
    assert error.why == "the object calls it, and declares it as a variable"


# Variables


def test_a_variable_of_the_kernel() -> None:
    """The struct has another name behind a flavour, and other members: what is in it is for CO-RE."""
    one = extern("runqueues", VARIABLE, RQ)
    assert resolved(one, loading("runqueues")) == Resolved(one, 7)
    one = extern("m_counter", VARIABLE, U32)
    assert resolved(one, loading("m_counter")) == Resolved(one, 12, "m_first")


@pytest.mark.parametrize("weak", [False, True])
def test_a_variable_of_another_type(*, weak: bool) -> None:
    error = refused(extern("counter", VARIABLE, RQ, weak=weak), loading("counter"))
    assert error.what == "the kernel variable counter, which t_init of t.bpf.o uses, does not fit this kernel"
    assert error.why == (
        "the object declares 'struct rq___mine counter', and a written kernel has 'unsigned int counter'"
    )


def test_a_variable_that_is_missing() -> None:
    error = refused(extern("nowhere", VARIABLE, U32), loading("nowhere"), kernel=ALONE)
    assert error.what == "this kernel has no kernel variable nowhere, which t_init of t.bpf.o uses"
    assert error.why == "no variable of that name is in the BTF of a written kernel"
    assert "declare it as 'extern const void nowhere __ksym'" in error.hint


# Addresses


def test_an_address() -> None:
    one = extern("a_symbol", ADDRESS, VOID)
    facts = KernelFacts(symbols={"a_symbol": (0xFFFFFFFF81000020,)})
    assert resolved(one, loading("a_symbol"), facts) == Resolved(one, 0xFFFFFFFF81000020)


def test_addresses_that_are_missing_or_several() -> None:
    one = extern("a_symbol", ADDRESS, VOID)
    assert refused(one, loading("a_symbol")).why == "/proc/kallsyms has no such symbol"
    facts = KernelFacts(symbols={"a_symbol": (0x10, 0x20)})
    assert (
        refused(one, loading("a_symbol"), facts).why == "the kernel has several of that name, at 0x10, 0x20"
    )
    weak = extern("a_symbol", ADDRESS, VOID, weak=True)
    assert resolved(weak, loading("a_symbol")).missing == "/proc/kallsyms has no such symbol"


# Configuration

CONFIGURED = KernelFacts(
    options={"CONFIG_TEXT": '"abc"', "CONFIG_ON": "y", "CONFIG_WIDE": "0x1122334455667788"},
    sought=("/a/config", "/b/config"),
    found="/b/config",
    version=0x061233,
)


def test_configuration_is_laid_out_by_alignment_size_and_name() -> None:
    externs = [
        extern("CONFIG_TEXT", KCONFIG, TEXT),
        extern("CONFIG_ON", KCONFIG, BOOL),
        extern("CONFIG_WIDE", KCONFIG, U64),
        extern("LINUX_KERNEL_VERSION", KCONFIG, U32),
        extern("CONFIG_BEFORE", KCONFIG, BOOL, weak=True),
    ]
    used = [loading(one.name) for one in externs]
    found = resolve_externs(spec(*externs), used, KERNEL, CONFIGURED)
    assert found.kconfig is not None
    assert [(one.name, one.offset_bytes, one.size_bytes) for one in found.kconfig.variables] == [
        ("CONFIG_WIDE", 0, 8),
        ("LINUX_KERNEL_VERSION", 8, 4),
        ("CONFIG_BEFORE", 12, 1),
        ("CONFIG_ON", 13, 1),
        ("CONFIG_TEXT", 14, 5),
    ]
    assert found.kconfig.contents == bytes.fromhex("8877665544332211 33120600 00 01 6162630000")
    assert (found.kconfig.name, found.kconfig.read_only, found.kconfig.type_id) == (".kconfig", True, 19)
    assert [(one.extern.name, one.missing) for one in found.missing()] == [
        ("CONFIG_BEFORE", "/b/config does not set it: the kernel lacks it")
    ]
    loads = [apply_externs(spec(*externs), one, found) for one in used]
    assert [one.relocations for one in loads] == [
        (Relocation(0, DATA, ".kconfig", offset),) for offset in (14, 13, 0, 8, 12)
    ]
    assert [one.insns for one in loads] == [one.insns for one in used]


@pytest.mark.parametrize(("name", "type_id"), [("CONFIG_ON", BOOL), ("CONFIG_WIDE", U64)])
def test_an_option_that_is_not_set(name: str, type_id: int) -> None:
    facts = CONFIGURED._replace(options={})
    error = refused(extern(name, KCONFIG, type_id), loading(name), facts)
    assert error.why == "/b/config does not set it: the kernel lacks it"
    error = refused(extern(name, KCONFIG, type_id), loading(name), facts._replace(found=""))
    assert error.why == "the kernel's configuration is in none of /a/config, /b/config"
    assert error.hint.startswith("put the kernel's config file at one of these places, or declare it __weak")


@pytest.mark.parametrize("weak", [False, True])
def test_an_option_of_another_type(*, weak: bool) -> None:
    facts = CONFIGURED._replace(options={"CONFIG_ON": "m"})
    error = refused(extern("CONFIG_ON", KCONFIG, BOOL, weak=weak), loading("CONFIG_ON"), facts)
    assert error.what.endswith("CONFIG_ON, which t_init of t.bpf.o uses, does not fit this kernel")
    assert error.why.startswith("its value is m (module)")


def virtual(name: str, kernel: KernelTypes, *, weak: bool = False) -> Externs:
    """Resolve a variable of libbpf's own in place of LINUX_KERNEL_VERSION, which has its type and place."""
    types = [one._replace(name=name) if isinstance(one, Var) and one.id == 17 else one for one in LOCAL_TYPES]
    btf = Btf(encode(types))
    layout = lay_out_kconfig(btf)
    assert layout is not None
    one = extern(name, KCONFIG, U32, weak=weak)
    return resolve_externs(
        spec(one)._replace(btf=btf.with_datasecs([layout])), [loading(name)], kernel, CONFIGURED
    )


@pytest.mark.parametrize("name", ["LINUX_HAS_BPF_COOKIE", "LINUX_HAS_SYSCALL_WRAPPER"])
def test_what_libbpf_tells_of_a_kernel(name: str) -> None:
    lesser = KernelTypes(Btf(encode(KERNEL_TYPES[:8])))
    for kernel, expected in ((KERNEL, 1), (lesser, 0)):
        kconfig = virtual(name, kernel).kconfig
        assert kconfig is not None
        assert kconfig.contents[8:12] == bytes([expected, 0, 0, 0])


def test_variables_that_nobody_knows() -> None:
    assert [one.extern.name for one in virtual("LINUX_NEW", KERNEL, weak=True).missing()] == ["LINUX_NEW"]
    for name in ("LINUX_NEW", "HERTZ"):
        with pytest.raises(FitError, match="there are variables CONFIG_"):
            virtual(name, KERNEL)
    with pytest.raises(FitError, match="there are variables CONFIG_"):
        virtual("HERTZ", KERNEL, weak=True)


INT, AUX, POINTER = 1, 4, 3
TYPES = [
    int_("int"),
    const(AUX),
    ptr(2),
    struct_("bpf_prog_aux", 4, M("id", INT)),
    struct_("other", 4, M("id", INT)),
    ptr(5),
]


def found(name: str, *records: Record) -> bool:
    btf = Btf(write_btf([*TYPES, *records]))
    type_id = btf.find(name, BtfKind.FUNC)
    assert type_id
    function = btf.type(type_id)
    assert isinstance(function, Func)
    return lacks_implementation(btf, function)


OWN = proto(INT, ("node", INT), ("aux", POINTER))


def test_a_function_whose_other_half_is_lost() -> None:
    assert found("create", OWN, func("create", 7))


def test_a_function_that_is_there_twice() -> None:
    plain = proto(INT, ("node", INT))
    records = (OWN, func("create_impl", 7), plain, func("create", 9))
    assert not found("create", *records)
    assert not found("create_impl", *records)


@pytest.mark.parametrize(
    "prototype",
    [
        proto(INT),
        proto(INT, ("aux", INT)),
        proto(INT, ("other", POINTER)),
        proto(INT, ("aux", 6)),
        proto(INT, ("aux", POINTER), ("node", INT)),
    ],
)
def test_other_functions(prototype: Record) -> None:
    assert not found("create", prototype, func("create", 7))
