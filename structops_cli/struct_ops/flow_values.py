"""Values of registers, as far as they decide which way a program goes and which argument it uses. Pure.

``flow`` walks a program with them. They say as much as is needed to be *sure* that the
verifier comes to an instruction; where the verifier may know better, the value is ``MAYBE``.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import NamedTuple

from structops_cli.asm.insn import AluOp, JumpOp

__all__ = [
    "ARG",
    "BOUNDED",
    "CONST",
    "CTX",
    "DATA",
    "FP",
    "FUNCTION",
    "LOADED",
    "MAYBE",
    "NOT_ZERO",
    "RETURNED",
    "SOME",
    "UNSET",
    "Value",
    "arithmetic",
    "compare",
    "join",
    "narrowed",
    "number_of",
    "unknown",
]

SOME, BOUNDED = "some", "bounded"
"""Any number from 0 to a largest one, for all that the verifier knows, and one that may or may not be zero."""
RETURNED, LOADED = "returned", "loaded"
"""A call's result, and eight bytes of memory: a pointer or a number, and the verifier tries it as not zero at least."""
CONST, CTX, ARG, DATA, FP, FUNCTION = "const", "ctx", "arg", "data", "fp", "function"
"""A number; the array of arguments; what is in one of its words; read-only data; the stack; a function of the program."""

_NONE: frozenset[int] = frozenset()
_U64 = (1 << 64) - 1
_U32 = (1 << 32) - 1


class Value(NamedTuple):
    """The value of a register.

    ``number`` is the constant, the bytes into CTX, DATA or FP, the word of an ARG, the place of
    a FUNCTION, or the largest that SOME may be, with ones in all its bits. ``offset`` is how many bytes an ARG was moved on, None when nobody knows.
    ``place`` is the instruction that loads a DATA. ``roots`` are the instructions that
    a value was computed from: the verifier learns about all of them at a branch on one.
    """

    kind: str
    number: int = 0
    offset: int | None = 0
    place: int = 0
    roots: frozenset[int] = _NONE


def number_of(number: int) -> Value:
    """Return a known number."""
    return Value(CONST, number, 0, 0, _NONE)


def unknown(kind: str, insn: int, largest: int = 0) -> Value:
    """Return an unknown value that an instruction made."""
    return Value(kind, largest, 0, 0, frozenset({insn}))


UNSET = Value("unset")
"""A register that was never written."""
MAYBE = Value("maybe")
"""Something of which the verifier may know more than is known here."""
NOT_ZERO = Value("not zero")
"""The address of something that the kernel has: the verifier knows that it is not zero."""


def join(one: Value, other: Value) -> Value:
    """Return what a register holds where two ways meet: the verifier walks on with each of them."""
    if one == other:
        return one
    if one.kind == other.kind == ARG and one.number == other.number:
        return Value(ARG, one.number, one.offset if one.offset == other.offset else None)
    return MAYBE


def narrowed(value: Value, roots: frozenset[int]) -> Value:
    """Return what is known of a value after a branch on one that has these roots."""
    if not value.roots & roots:
        return value
    return value._replace(roots=_NONE) if value.kind == ARG else MAYBE


# Arithmetic

_SHIFTS = (AluOp.LSH, AluOp.RSH)
_FOLD: dict[int, Callable[[int, int], int]] = {
    AluOp.ADD: operator.add,
    AluOp.SUB: operator.sub,
    AluOp.MUL: operator.mul,
    AluOp.OR: operator.or_,
    AluOp.AND: operator.and_,
    AluOp.XOR: operator.xor,
    AluOp.LSH: operator.lshift,
    AluOp.RSH: operator.rshift,
}


def arithmetic(operation: int, bits: int, left: Value, right: Value) -> Value:
    """Return what an ALU instruction makes of two values; ``operation`` is an ``AluOp``."""
    mask = _U64 if bits == 64 else _U32
    if operation == AluOp.MOV:
        return _moved(bits, right)
    if left.kind == CONST and right.kind == CONST and operation in _FOLD:
        by = right.number & (bits - 1 if operation in _SHIFTS else mask)
        return number_of(_FOLD[operation](left.number & mask, by) & mask)
    if bits == 64 and operation in {AluOp.ADD, AluOp.SUB} and right.kind == CONST:
        distance = _signed(right.number, 64)
        if left.kind in {CTX, DATA, FP, ARG, LOADED}:
            return _on(left, distance if operation == AluOp.ADD else -distance)
    if bits == 64 and operation == AluOp.ADD and DATA in {left.kind, right.kind}:
        return Value(RETURNED)  # somewhere in the data: what is there is not looked up by the verifier either
    return _computed(operation, bits, left, right)


def _moved(bits: int, value: Value) -> Value:
    if value.kind == CONST:
        return number_of(value.number & (_U64 if bits == 64 else _U32))
    return value if bits == 64 or value == UNSET else _low_half(value)


def _low_half(value: Value) -> Value:
    largest = _largest(value)
    return MAYBE if largest is None else value._replace(kind=SOME, number=largest & _U32)


def _largest(value: Value) -> int | None:
    """Return the largest number that a value may be, None where the verifier may know of gaps below it."""
    if not value.roots or value.kind not in {SOME, LOADED, ARG}:
        return None
    return value.number if value.kind == SOME else _U64


def _on(value: Value, distance: int) -> Value:
    """Return a pointer so far on. A word of the context stays what it is: a pointer a pointer, and a number a number."""
    if value.kind == ARG:
        return value._replace(offset=None if value.offset is None else value.offset + distance)
    return value if value.kind == LOADED else value._replace(number=value.number + distance)


def _computed(operation: int, bits: int, left: Value, right: Value) -> Value:
    mask = _U64 if bits == 64 else _U32
    largest = _largest(left)
    if largest is None or right.kind != CONST:
        return MAYBE
    by, largest = right.number & mask, largest & mask
    shift = by & (bits - 1)
    if operation in {AluOp.ADD, AluOp.SUB} and largest == mask:
        return _some(left, mask)  # it wraps
    if operation == AluOp.RSH and largest >> shift:
        return _some(left, largest >> shift)
    if operation == AluOp.AND and by & (by + 1) == 0 and by:
        return _some(left, min(largest, by))
    nonzero: dict[int, int] = {
        AluOp.AND: largest & by,
        AluOp.LSH: largest << shift & mask,
        AluOp.MUL: by if by <= _U32 else 0,
    }
    return Value(BOUNDED, roots=left.roots) if nonzero.get(operation) else MAYBE


def _some(value: Value, largest: int) -> Value:
    return Value(SOME, largest, 0, 0, value.roots)


def _signed(number: int, bits: int) -> int:
    number &= (1 << bits) - 1
    return number - (1 << bits) if number >> bits - 1 else number


# Comparison

_UNSIGNED: dict[int, Callable[[int, int], int]] = {
    JumpOp.JEQ: operator.eq,
    JumpOp.JGT: operator.gt,
    JumpOp.JGE: operator.ge,
    JumpOp.JSET: operator.and_,
    JumpOp.JNE: operator.ne,
    JumpOp.JLT: operator.lt,
    JumpOp.JLE: operator.le,
}
_SIGNED: dict[int, Callable[[int, int], int]] = {
    JumpOp.JSGT: operator.gt,
    JumpOp.JSGE: operator.ge,
    JumpOp.JSLT: operator.lt,
    JumpOp.JSLE: operator.le,
}
_POINTERS = frozenset({RETURNED, LOADED, ARG, DATA, CTX, FP})


def compare(
    operation: int, bits: int, left: Value, right: Value, pointers: frozenset[int]
) -> tuple[str, str]:
    """Return how surely the verifier goes on (when not taken, when taken): "never", "maybe" or "sure".

    ``pointers`` are the words of the context that hold a pointer.
    """
    if right.kind != CONST:
        return "maybe", "maybe"
    if left.kind == CONST and operation in {*_UNSIGNED, *_SIGNED}:
        return ("never", "sure") if _taken(operation, bits, left.number, right.number) else ("sure", "never")
    is_pointer = left.kind == ARG and left.number in pointers
    if left.kind == SOME or (left.kind == ARG and left.roots and not is_pointer):
        return _of_range(operation, bits, _largest(left) or 0, right.number)
    if right.number == 0 and operation in {JumpOp.JEQ, JumpOp.JNE}:
        return _with_zero(operation, bits, left)
    if (left.kind in {DATA, CTX, FP} or is_pointer) and right.number & (1 << bits) - 1:
        return "sure", "sure"  # is_branch_taken: of a pointer and another number than zero it knows nothing
    return "maybe", "maybe"


def _of_range(operation: int, bits: int, largest: int, number: int) -> tuple[str, str]:
    """Return how a comparison goes when any number up to ``largest`` is possible."""
    mask = (1 << bits) - 1
    if operation == JumpOp.JSET:
        return "sure", "sure" if largest & number & mask else "maybe"
    if operation not in {*_UNSIGNED, *_SIGNED}:
        return "maybe", "maybe"
    low, high, number = 0, largest & mask, number & mask
    if operation in _SIGNED:
        number = _signed(number, bits)
        low, high = (0, high) if high >> bits - 1 == 0 else (-1 << bits - 1, (1 << bits - 1) - 1)
    told = (_SIGNED | _UNSIGNED)[operation]
    near = {low, high, *(one for one in (number - 1, number, number + 1) if low <= one <= high)}
    answers = {bool(told(one, number)) for one in near}
    return "sure" if False in answers else "maybe", "sure" if True in answers else "maybe"


def _with_zero(operation: int, bits: int, left: Value) -> tuple[str, str]:
    """Return how a comparison with zero goes, when the number is unknown or a pointer."""
    zero = "maybe"
    if left.kind == BOUNDED:
        zero = "sure"
    elif left == NOT_ZERO and bits == 64:
        zero = "never"
    elif left.kind not in _POINTERS:
        return "maybe", "maybe"
    return ("sure", zero) if operation == JumpOp.JEQ else (zero, "sure")


def _taken(operation: int, bits: int, left: int, right: int) -> bool:
    if operation in _SIGNED:
        return bool(_SIGNED[operation](_signed(left, bits), _signed(right, bits)))
    mask = (1 << bits) - 1
    return bool(_UNSIGNED[operation](left & mask, right & mask))
