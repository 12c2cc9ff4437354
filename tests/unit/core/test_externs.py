"""The facts that externs need, and the instructions that come out of them."""

from __future__ import annotations

import pytest

from structops_cli.core.apply import POISON_BASE
from structops_cli.core.externs import (
    EXTERN_POISON_BASE,
    Externs,
    Resolved,
    apply_externs,
    facts_needed,
    poisoned_extern,
)
from structops_cli.obj.spec import Extern, LinkedProgram, Relocation, RelocationTarget
from tests.elf_writers import EXIT, insn, load
from tests.unit.core.extern_objects import (
    ADDRESS,
    BOOL,
    DATA,
    EXTERN,
    FUNCTION,
    KCONFIG,
    MODULE,
    T_FUNCTION,
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


def test_only_what_is_used_is_asked_for() -> None:
    externs = (
        extern("a_symbol", ADDRESS, VOID),
        extern("not_used", ADDRESS, VOID),
        extern("CONFIG_ON", KCONFIG, BOOL),
        extern("CONFIG_WIDE", KCONFIG, U64),
        extern("LINUX_KERNEL_VERSION", KCONFIG, U32),
        extern("t_function", FUNCTION, T_FUNCTION),
    )
    used = [loading("a_symbol"), loading("CONFIG_ON"), calling("t_function")]
    assert facts_needed(spec(*externs), used) == (frozenset({"a_symbol"}), frozenset({"CONFIG_ON"}), False)
    used = [loading("LINUX_KERNEL_VERSION"), loading("LINUX_KERNEL_VERSION")]
    assert facts_needed(spec(*externs), used) == (frozenset(), frozenset(), True)
    assert facts_needed(spec(*externs), []) == (frozenset(), frozenset(), False)


def applied(used: LinkedProgram, *found: Resolved, modules: tuple[str, ...] = ()) -> LinkedProgram:
    one = spec(*(item.extern for item in found))
    return apply_externs(one, used, Externs({item.extern.name: item for item in found}, None, modules))


KFUNC = extern("t_function", FUNCTION, T_FUNCTION)


COUNTER = extern("counter", VARIABLE, U32)


SYMBOL = extern("a_symbol", ADDRESS, VOID)


def test_calls() -> None:
    calls = program(insn(0x85, 3, 2, 9, -1), Relocation(0, EXTERN, "t_function", 0))
    assert applied(calls, Resolved(KFUNC, 5)) == calls._replace(
        insns=insn(0x85, 0, 2, 0, 5) + EXIT, relocations=()
    )
    in_module = applied(calls, Resolved(KFUNC, 11, "m_second"), modules=("m_first", "m_second"))
    assert (in_module.insns, in_module.relocations) == (insn(0x85, 0, 2, 2, 11) + EXIT, ())


def test_loads() -> None:
    assert applied(loading("t_function"), Resolved(KFUNC, 5)).insns == load(1, 5, 3) + EXIT
    assert applied(loading("counter"), Resolved(COUNTER, 8)).insns == load(1, 8, 3) + EXIT
    address = applied(loading("a_symbol"), Resolved(SYMBOL, 0xFFFFFFFF81000020)).insns
    assert address == insn(0x18, 1, 0, imm=0x81000020 - (1 << 32)) + insn(0, imm=-1) + EXIT


def test_a_function_is_tested_where_its_address_is_not_to_be_had() -> None:
    """Before 6.4: what is there is a number that is not zero, what is missing and every variable as ever."""
    old = Externs({"t_function": Resolved(KFUNC, 5)}, None, (), loads_functions=False)
    assert apply_externs(spec(KFUNC), loading("t_function"), old).insns == load(1, 1) + EXIT
    of_module = old._replace(resolved={"t_function": Resolved(KFUNC, 11, "m_first")})
    assert apply_externs(spec(KFUNC), loading("t_function"), of_module) == loading("t_function")._replace(
        insns=load(1, 1) + EXIT, relocations=()
    )
    gone = old._replace(resolved={"t_function": Resolved(KFUNC, 0, missing="gone")})
    assert apply_externs(spec(KFUNC), loading("t_function"), gone).insns == load(1) + EXIT
    variable = old._replace(resolved={"counter": Resolved(COUNTER, 8)})
    assert apply_externs(spec(COUNTER), loading("counter"), variable).insns == load(1, 8, 3) + EXIT


def test_a_load_of_something_of_a_module_waits_for_its_fd() -> None:
    waiting = applied(loading("counter"), Resolved(COUNTER, 12, "m_first"))
    assert waiting.insns == load(1, 12, 3) + EXIT
    assert waiting.relocations == (Relocation(0, MODULE, "m_first", 12),)


@pytest.mark.parametrize("one", [KFUNC, COUNTER, SYMBOL])
def test_loads_of_what_is_missing_are_zero(one: Extern) -> None:
    zero = applied(
        program(load(1, 7, 3), Relocation(0, EXTERN, one.name, 0)), Resolved(one, 0, missing="gone")
    )
    assert (zero.insns, zero.relocations) == (load(1) + EXIT, ())


def test_calls_of_what_is_missing_say_which_it_was() -> None:
    externs = [
        extern("z_function", FUNCTION, T_FUNCTION, weak=True),
        extern("a_function", FUNCTION, T_FUNCTION, weak=True),
        extern("CONFIG_ON", KCONFIG, BOOL),
    ]
    found = Externs({one.name: Resolved(one, 0, missing="gone") for one in externs}, None, ())
    for number, name in ((1, "a_function"), (2, "z_function")):  # configuration comes first
        poisoned = apply_externs(spec(*externs), calling(name), found)
        assert poisoned.insns == insn(0x85, imm=EXTERN_POISON_BASE + number) + EXIT
        assert poisoned_extern(spec(*externs), EXTERN_POISON_BASE + number) == name
    assert poisoned_extern(spec(*externs), EXTERN_POISON_BASE + 3) == ""
    assert poisoned_extern(spec(*externs), POISON_BASE) == ""
    assert poisoned_extern(spec(*externs), -1) == ""


def test_other_relocations_stay() -> None:
    kept = (Relocation(0, RelocationTarget.MAP, "t_map", 0), Relocation(2, DATA, ".bss", 4))
    used = program(load(1) + load(2), *kept)
    assert applied(used) == used
