"""Check single steps of the walk: the effect of one instruction on registers, stack and paths."""

from __future__ import annotations

from structops_cli.asm.insn import (
    CALL,
    EXIT,
    AluOp,
    Insn,
    InsnClass,
    InsnMode,
    InsnSize,
    JumpOp,
    encode_insn,
)
from structops_cli.struct_ops.flow_steps import (
    Act,
    Code,
    Effect,
    Path,
    State,
    Steps,
    entered,
    jump_targets,
    merge,
)
from structops_cli.struct_ops.flow_values import MAYBE, UNSET, Content, Value, number_of

LOAD = InsnClass.LDX | InsnSize.DW | InsnMode.MEM
STORE = InsnClass.STX | InsnSize.DW | InsnMode.MEM
START = entered((Value(Content.CTX),))


def walked(*insns: Insn, state: State = START, **code: frozenset[int]) -> tuple[list[Path], list[Effect]]:
    """Step through the first instruction only."""
    effects: list[Effect] = []
    program = Code(b"".join(map(encode_insn, insns)), **code)  # type: ignore[arg-type]
    steps = Steps(program, effects.append, lambda *_: MAYBE, lambda _: None, lambda *_: None)
    return steps.step(0, state), effects


def test_entry() -> None:
    assert START.regs[0] == UNSET
    assert START.regs[1] == Value(Content.CTX)
    assert START.regs[10] == Value(Content.FP)


def test_a_load_of_an_argument_is_a_read() -> None:
    [path], effects = walked(Insn(LOAD, 2, 1, 8), Insn(EXIT), pointers=frozenset({1}))
    assert effects == [Effect(Act.READ, 1, 0, True, 8, 8)]
    assert path.state.regs[2] == Value(Content.ARG, 1)


def test_the_stack_keeps_whole_words() -> None:
    [path], effects = walked(Insn(STORE, 10, 1, -8), Insn(EXIT))
    assert dict(path.state.stack) == {-8: Value(Content.CTX)}
    assert effects == []


def test_a_helper_call_clears_the_argument_registers() -> None:
    [path], effects = walked(Insn(CALL, imm=5), Insn(EXIT))
    assert effects == [Effect(Act.HELPER, 5, 0, True)]
    assert path.state.regs[1:6] == (UNSET,) * 5


def test_no_path_leads_out_of_the_program() -> None:
    assert walked(Insn(InsnClass.JMP | JumpOp.JA, offset=7)) == ([], [])
    assert walked(Insn(EXIT)) == ([], [])
    assert walked(Insn(InsnClass.ALU64 | AluOp.MOV, 11), Insn(EXIT)) == ([], []), "no such register"


def test_states_merge_to_what_they_share() -> None:
    one = START.with_reg(2, number_of(1))._replace(stack=((-8, number_of(1)), (-16, number_of(2))))
    other = START.with_reg(2, number_of(3))._replace(stack=((-8, number_of(1)),))
    both = merge(one, other)
    assert both.regs[2] == MAYBE
    assert both.stack == ((-8, number_of(1)),)
    assert merge(one, one) is one


def test_jump_targets() -> None:
    insns = Insn(InsnClass.JMP | JumpOp.JEQ, 1, 0, 1), Insn(CALL, imm=1), Insn(EXIT)
    assert jump_targets(b"".join(map(encode_insn, insns))) == {2}
