"""Check the arithmetic and the branches of values, where the verifier must be sure."""

from __future__ import annotations

import pytest

from structops_cli.asm.insn import AluOp, JumpOp
from structops_cli.struct_ops.flow_values import (
    MAYBE,
    NOT_ZERO,
    UNSET,
    Content,
    Reach,
    Value,
    arithmetic,
    compare,
    join,
    narrowed,
    number_of,
    unknown,
)

BYTE = unknown(Content.SOME, 3, 255)
WORD = Value(Content.ARG, 1, 0, 0, frozenset({3}))
NONE: frozenset[int] = frozenset()


def test_values_join_to_their_common_part() -> None:
    assert join(number_of(1), number_of(1)) == number_of(1)
    assert join(number_of(1), number_of(2)) == MAYBE
    moved = join(WORD, WORD._replace(offset=8))
    assert (moved.content, moved.number, moved.offset) == (Content.ARG, 1, None)


def test_a_branch_narrows_the_values_of_its_roots() -> None:
    assert narrowed(BYTE, frozenset({3})) == MAYBE
    assert narrowed(BYTE, frozenset({4})) == BYTE
    assert narrowed(WORD, frozenset({3})).roots == NONE


@pytest.mark.parametrize(
    ("operation", "bits", "left", "right", "result"),
    [
        (AluOp.ADD, 64, 2, 3, 5),
        (AluOp.SUB, 64, 2, 3, (1 << 64) - 1),
        (AluOp.SUB, 32, 2, 3, (1 << 32) - 1),
        (AluOp.LSH, 64, 1, 65, 2),
        (AluOp.RSH, 32, 1 << 32, 1, 0),
        (AluOp.XOR, 64, 5, 1, 4),
    ],
)
def test_constants_fold(operation: AluOp, bits: int, left: int, right: int, result: int) -> None:
    assert arithmetic(operation, bits, number_of(left), number_of(right)) == number_of(result)


def test_pointers_move_and_numbers_lose_precision() -> None:
    assert arithmetic(AluOp.ADD, 64, WORD, number_of(8)).offset == 8
    assert arithmetic(AluOp.SUB, 64, Value(Content.CTX), number_of(8)).number == -8
    assert arithmetic(AluOp.AND, 64, BYTE, number_of(7)).number == 7
    assert arithmetic(AluOp.ADD, 64, BYTE, number_of(1)) == MAYBE, "the verifier knows the range"
    assert arithmetic(AluOp.MOV, 32, UNSET, UNSET) == UNSET


@pytest.mark.parametrize(
    ("left", "operation", "number", "reaches"),
    [
        (number_of(1), JumpOp.JEQ, 1, (Reach.NEVER, Reach.SURE)),
        (number_of(1), JumpOp.JNE, 1, (Reach.SURE, Reach.NEVER)),
        (BYTE, JumpOp.JGT, 255, (Reach.SURE, Reach.MAYBE)),
        (BYTE, JumpOp.JGT, 254, (Reach.SURE, Reach.SURE)),
        (NOT_ZERO, JumpOp.JEQ, 0, (Reach.SURE, Reach.NEVER)),
        (NOT_ZERO, JumpOp.JNE, 0, (Reach.NEVER, Reach.SURE)),
        (Value(Content.BOUNDED), JumpOp.JEQ, 0, (Reach.SURE, Reach.SURE)),
        (Value(Content.RETURNED), JumpOp.JEQ, 0, (Reach.SURE, Reach.MAYBE)),
        (MAYBE, JumpOp.JEQ, 0, (Reach.MAYBE, Reach.MAYBE)),
    ],
)
def test_branches(left: Value, operation: JumpOp, number: int, reaches: tuple[Reach, Reach]) -> None:
    assert compare(operation, 64, left, number_of(number), NONE) == reaches


def test_an_unknown_operand_decides_nothing() -> None:
    assert compare(JumpOp.JEQ, 64, number_of(1), BYTE, NONE) == (Reach.MAYBE, Reach.MAYBE)
