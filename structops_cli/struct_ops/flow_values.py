"""What a register may hold, as far as it decides which way a program goes and which argument it uses. Pure.

A value is a kind and a number. ``flow`` walks a program with them; the kinds say
as much as is needed to be *sure* that the verifier comes to an instruction, and
no more: where the verifier may know better, the value is ``MAYBE``.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import TypeAlias

__all__ = [
    "ARG",
    "BOUNDED",
    "COMPARED",
    "CONST",
    "CTX",
    "DATA",
    "FP",
    "MAYBE",
    "RETURNED",
    "SOME",
    "UNSET",
    "Value",
    "arithmetic",
    "compare",
    "join",
    "moved",
]

Value: TypeAlias = "tuple[str, int, str]"
"""A kind, its number, and what else tells two of them apart."""

UNSET: Value = ("unset", 0, "")
"""Nothing was ever written to it."""
MAYBE: Value = ("maybe", 0, "")
"""Something of which the verifier may know more than is known here."""
SOME: Value = ("some", 0, "")
"""A number of which the verifier knows nothing: it tries both ways of a branch."""
BOUNDED: Value = ("bounded", 0, "")
"""A number of which the verifier knows no more than that it is within bounds."""
RETURNED: Value = ("returned", 0, "")
"""Something that the verifier takes for not zero, perhaps among others: a pointer, what a helper returned."""
CONST, CTX, ARG, DATA, FP = "const", "ctx", "arg", "data", "fp"
"""A number; the array of arguments, so many bytes into it; what is in one of its words; read-only data; the stack."""

COMPARED = "compared"
"""Beside ARG: a branch was taken by it, so the verifier knows more of it from there on."""

_U64 = (1 << 64) - 1
_U32 = (1 << 32) - 1


def join(one: Value, other: Value) -> Value:
    """Return what a register holds where two ways meet."""
    if one == other:
        return one
    if one[0] == other[0] == ARG and one[1] == other[1]:
        return ARG, one[1], COMPARED
    return SOME if SOME in {one, other} else MAYBE


def moved(value: Value, distance: int) -> Value:
    """Return a pointer, or a constant, so far on."""
    kind, number, section = value
    return (kind, number + distance, section) if kind in {CTX, DATA, FP} else value


# Arithmetic: the upper four bits of an opcode (enum of include/uapi/linux/bpf.h: BPF_ADD ...)

_ADD, _SUB, _MUL, _OR, _AND, _LSH, _RSH, _XOR, _MOV = 0x0, 0x1, 0x2, 0x4, 0x5, 0x6, 0x7, 0xA, 0xB
_SHIFTS = (_LSH, _RSH)
_FOLD: dict[int, Callable[[int, int], int]] = {
    _ADD: operator.add,
    _SUB: operator.sub,
    _MUL: operator.mul,
    _OR: operator.or_,
    _AND: operator.and_,
    _XOR: operator.xor,
    _LSH: operator.lshift,
    _RSH: operator.rshift,
}


def arithmetic(operation: int, bits: int, left: Value, right: Value) -> Value:
    """Return what an ALU instruction makes of two values; ``operation`` is the upper half of its opcode."""
    mask = _U64 if bits == 64 else _U32
    if operation == _MOV:
        if right[0] == CONST:
            return CONST, right[1] & mask, ""
        return right if bits == 64 or right in {SOME, MAYBE, UNSET} else SOME
    if left[0] == CONST and right[0] == CONST and operation in _FOLD:
        by = right[1] & (bits - 1 if operation in _SHIFTS else mask)
        return CONST, _FOLD[operation](left[1] & mask, by) & mask, ""
    if operation in {_ADD, _SUB} and right[0] == CONST and bits == 64 and left[0] in {CTX, DATA, FP, ARG}:
        distance = _signed(right[1], 64)
        # a word of the context stays what it is: a pointer a pointer, and a number a number
        return moved(left, distance if operation == _ADD else -distance)
    if not {left[0], right[0]} & {"some", ARG}:
        return MAYBE
    return SOME if operation in {_ADD, _SUB, _MUL, _XOR} else BOUNDED


def _signed(number: int, bits: int) -> int:
    number &= (1 << bits) - 1
    return number - (1 << bits) if number >> bits - 1 else number


# Comparison: the upper half of a jump's opcode (BPF_JEQ ...)

_UNSIGNED: dict[int, Callable[[int, int], int]] = {
    0x1: operator.eq, 0x2: operator.gt, 0x3: operator.ge, 0x4: operator.and_, 0x5: operator.ne, 0xA: operator.lt, 0xB: operator.le,
}  # fmt: skip
_SIGNED: dict[int, Callable[[int, int], int]] = {
    0x6: operator.gt, 0x7: operator.ge, 0xC: operator.lt, 0xD: operator.le,
}  # fmt: skip
_JEQ, _JNE = 0x1, 0x5


def compare(
    operation: int, bits: int, left: Value, right: Value, pointers: frozenset[int]
) -> tuple[str, str]:
    """Return how surely the verifier goes on (when not taken, when taken): "never", "maybe" or "sure".

    ``pointers`` are the words of the context that hold a pointer.
    """
    if left[0] == CONST and right[0] == CONST and operation in {*_UNSIGNED, *_SIGNED}:
        return ("never", "sure") if _taken(operation, bits, left[1], right[1]) else ("sure", "never")
    if left == SOME or (left[0] == ARG and left[1] not in pointers and left[2] != COMPARED):
        return ("sure", "sure") if right[0] == CONST else ("maybe", "maybe")
    if left == BOUNDED and right == (CONST, 0, "") and operation in {_JEQ, _JNE}:
        return "sure", "sure"
    is_pointer = left == RETURNED or left[0] in {ARG, DATA, CTX, FP}
    if is_pointer and right == (CONST, 0, "") and operation in {_JEQ, _JNE}:
        return ("sure", "maybe") if operation == _JEQ else ("maybe", "sure")
    if (left[0] in {DATA, CTX, FP} or (left[0] == ARG and left[1] in pointers)) and right[0] == CONST:
        # is_branch_taken: of a pointer and another number than zero it knows nothing
        return ("sure", "sure") if right[1] & (1 << bits) - 1 else ("maybe", "maybe")
    return "maybe", "maybe"


def _taken(operation: int, bits: int, left: int, right: int) -> bool:
    if operation in _SIGNED:
        return bool(_SIGNED[operation](_signed(left, bits), _signed(right, bits)))
    mask = (1 << bits) - 1
    return bool(_UNSIGNED[operation](left & mask, right & mask))
