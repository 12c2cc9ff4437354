"""The values of registers, as far as they decide branches and name arguments. Pure.

``flow`` walks a program with them. A value holds as much as proves that the verifier comes to an
instruction. Where the verifier may know more, the value is ``MAYBE``.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from enum import StrEnum
from typing import NamedTuple

from structops_cli.asm.insn import AluOp, JumpOp


class Content(StrEnum):
    """The content of a register, as far as it is known."""

    UNSET = "unset"
    MAYBE = "maybe"
    NOT_ZERO = "not zero"
    SOME = "some"
    """Any number from 0 to a largest one, for all that the verifier knows."""
    BOUNDED = "bounded"
    """A number that may or may not be zero."""
    RETURNED = "returned"
    """The result of a call: the verifier tries it at least as not zero."""
    LOADED = "loaded"
    """Eight bytes of memory, a pointer or a number: the verifier tries them at least as not zero."""
    CONST = "const"
    CTX = "ctx"
    """The array of arguments."""
    ARG = "arg"
    """One word of that array."""
    DATA = "data"
    """Read-only data."""
    FP = "fp"
    """The stack."""
    FUNCTION = "function"
    """A function of the program."""


class Reach(StrEnum):
    """The certainty with which the verifier goes on to an instruction."""

    NEVER = "never"
    MAYBE = "maybe"
    SURE = "sure"


_NONE: frozenset[int] = frozenset()
_U64 = (1 << 64) - 1
_U32 = (1 << 32) - 1


class Value(NamedTuple):
    """The value of a register.

    ``number`` is the constant; the bytes into CTX, DATA or FP; the word of an ARG; the first instruction of
    a FUNCTION; or the largest number of a SOME, with ones in all its bits. ``offset`` is the distance in
    bytes from the start of an ARG, None if unknown. ``place`` is the instruction that loads a DATA.
    ``roots`` are the instructions that the value was computed from: a branch on one value of a root tells
    the verifier about all of them.
    """

    content: Content
    number: int = 0
    offset: int | None = 0
    place: int = 0
    roots: frozenset[int] = _NONE


def number_of(number: int) -> Value:
    """Return a known number."""
    return Value(Content.CONST, number, 0, 0, _NONE)


def unknown(content: Content, insn: int, largest: int = 0) -> Value:
    """Return an unknown value that an instruction made."""
    return Value(content, largest, 0, 0, frozenset({insn}))


UNSET = Value(Content.UNSET)
"""A register that was never written."""
MAYBE = Value(Content.MAYBE)
"""A value of which the verifier may know more than this walk."""
NOT_ZERO = Value(Content.NOT_ZERO)
"""The address of an existing kernel object: the verifier knows that it is not zero."""


def join(one: Value, other: Value) -> Value:
    """Return the common part of two values where two paths meet."""
    if one == other:
        return one
    if one.content == other.content == Content.ARG and one.number == other.number:
        return Value(Content.ARG, one.number, one.offset if one.offset == other.offset else None)
    return MAYBE


def narrowed(value: Value, roots: frozenset[int]) -> Value:
    """Return the rest of a value after a branch on a value with these roots."""
    if not value.roots & roots:
        return value
    return value._replace(roots=_NONE) if value.content == Content.ARG else MAYBE


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
    """Return the result of an ALU instruction; ``operation`` is an ``AluOp``."""
    mask = _U64 if bits == 64 else _U32
    if operation == AluOp.MOV:
        return _moved(bits, right)
    if left.content == Content.CONST and right.content == Content.CONST and operation in _FOLD:
        by = right.number & (bits - 1 if operation in _SHIFTS else mask)
        return number_of(_FOLD[operation](left.number & mask, by) & mask)
    if bits == 64 and operation in {AluOp.ADD, AluOp.SUB} and right.content == Content.CONST:
        distance = _signed(right.number, 64)
        if left.content in {Content.CTX, Content.DATA, Content.FP, Content.ARG, Content.LOADED}:
            return _on(left, distance if operation == AluOp.ADD else -distance)
    if bits == 64 and operation == AluOp.ADD and Content.DATA in {left.content, right.content}:
        return Value(
            Content.RETURNED
        )  # an unknown place in the data: the verifier does not look up its content either
    return _computed(operation, bits, left, right)


def _moved(bits: int, value: Value) -> Value:
    if value.content == Content.CONST:
        return number_of(value.number & (_U64 if bits == 64 else _U32))
    return value if bits == 64 or value == UNSET else _low_half(value)


def _low_half(value: Value) -> Value:
    largest = _largest(value)
    return MAYBE if largest is None else value._replace(content=Content.SOME, number=largest & _U32)


def _largest(value: Value) -> int | None:
    """Return the largest possible number, None if the verifier may know of gaps below it."""
    if not value.roots or value.content not in {Content.SOME, Content.LOADED, Content.ARG}:
        return None
    return value.number if value.content == Content.SOME else _U64


def _on(value: Value, distance: int) -> Value:
    """Return a value moved by a distance in bytes; an ARG stays an ARG."""
    if value.content == Content.ARG:
        return value._replace(offset=None if value.offset is None else value.offset + distance)
    return value if value.content == Content.LOADED else value._replace(number=value.number + distance)


def _computed(operation: int, bits: int, left: Value, right: Value) -> Value:
    mask = _U64 if bits == 64 else _U32
    largest = _largest(left)
    if largest is None or right.content != Content.CONST:
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
    return Value(Content.BOUNDED, roots=left.roots) if nonzero.get(operation) else MAYBE


def _some(value: Value, largest: int) -> Value:
    return Value(Content.SOME, largest, 0, 0, value.roots)


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
_POINTERS = frozenset({Content.RETURNED, Content.LOADED, Content.ARG, Content.DATA, Content.CTX, Content.FP})


def compare(
    operation: int, bits: int, left: Value, right: Value, pointers: frozenset[int]
) -> tuple[Reach, Reach]:
    """Return the reach of both paths of a comparison: the path not taken, and the path taken.

    ``pointers`` are the words of the context that hold a pointer.
    """
    if right.content != Content.CONST:
        return Reach.MAYBE, Reach.MAYBE
    if left.content == Content.CONST and operation in {*_UNSIGNED, *_SIGNED}:
        return (
            (Reach.NEVER, Reach.SURE)
            if _taken(operation, bits, left.number, right.number)
            else (Reach.SURE, Reach.NEVER)
        )
    is_pointer = left.content == Content.ARG and left.number in pointers
    if left.content == Content.SOME or (left.content == Content.ARG and left.roots and not is_pointer):
        return _of_range(operation, bits, _largest(left) or 0, right.number)
    if right.number == 0 and operation in {JumpOp.JEQ, JumpOp.JNE}:
        return _with_zero(operation, bits, left)
    if (left.content in {Content.DATA, Content.CTX, Content.FP} or is_pointer) and right.number & (
        1 << bits
    ) - 1:
        return (
            Reach.SURE,
            Reach.SURE,
        )  # is_branch_taken() knows nothing of a pointer and a number besides zero
    return Reach.MAYBE, Reach.MAYBE


def _of_range(operation: int, bits: int, largest: int, number: int) -> tuple[Reach, Reach]:
    """Return the reach of both paths for any number up to ``largest``."""
    mask = (1 << bits) - 1
    if operation == JumpOp.JSET:
        return Reach.SURE, Reach.SURE if largest & number & mask else Reach.MAYBE
    if operation not in {*_UNSIGNED, *_SIGNED}:
        return Reach.MAYBE, Reach.MAYBE
    low, high, number = 0, largest & mask, number & mask
    if operation in _SIGNED:
        number = _signed(number, bits)
        low, high = (0, high) if high >> bits - 1 == 0 else (-1 << bits - 1, (1 << bits - 1) - 1)
    told = (_SIGNED | _UNSIGNED)[operation]
    near = {low, high, *(one for one in (number - 1, number, number + 1) if low <= one <= high)}
    answers = {bool(told(one, number)) for one in near}
    return Reach.SURE if False in answers else Reach.MAYBE, Reach.SURE if True in answers else Reach.MAYBE


def _with_zero(operation: int, bits: int, left: Value) -> tuple[Reach, Reach]:
    """Return the reach of both paths of a comparison with zero."""
    zero = Reach.MAYBE
    if left.content == Content.BOUNDED:
        zero = Reach.SURE
    elif left == NOT_ZERO and bits == 64:
        zero = Reach.NEVER
    elif left.content not in _POINTERS:
        return Reach.MAYBE, Reach.MAYBE
    return (Reach.SURE, zero) if operation == JumpOp.JEQ else (zero, Reach.SURE)


def _taken(operation: int, bits: int, left: int, right: int) -> bool:
    if operation in _SIGNED:
        return bool(_SIGNED[operation](_signed(left, bits), _signed(right, bits)))
    mask = (1 << bits) - 1
    return bool(_UNSIGNED[operation](left & mask, right & mask))
