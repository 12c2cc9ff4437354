"""Step through a program: the effect of each instruction on registers and stack. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import NamedTuple

from structops_cli.asm.insn import (
    ATOMIC_CMPXCHG,
    ATOMIC_FETCH,
    FRAME_POINTER,
    INSN_BYTES,
    LD_IMM64,
    AluOp,
    Insn,
    InsnClass,
    InsnMode,
    JumpOp,
    PseudoCall,
    PseudoSrc,
    decode_insn,
    imm64_at,
    instructions,
)
from structops_cli.core.apply import poisoned_relocation
from structops_cli.obj.sparse_bytes import SparseBytes
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

WORD_BYTES = 8
_ARITHMETIC = (InsnClass.ALU, InsnClass.ALU64)
_JUMPS = (InsnClass.JMP, InsnClass.JMP32)
_STORES = (InsnClass.ST, InsnClass.STX)
_UNARY = (AluOp.NEG, AluOp.END)


class Act(StrEnum):
    """The sort of an effect."""

    READ = "read"
    """Load a word of the array of arguments."""
    WRITE = "write"
    """Store to that array."""
    THROUGH = "through"
    """Access memory at the address in a word."""
    HELPER = "helper"
    """Call a helper by its number."""
    POISON = "poison"
    """Reach a CO-RE relocation without an answer."""
    NO_RESULT = "no-result"
    """End with nothing to return."""


class Effect(NamedTuple):
    """One effect of a program; ``sure``: the verifier comes to it.

    ``number`` is the word, the helper, or the place of the relocation. ``insn`` counts from the start of
    the program. ``at`` is the distance in bytes from the array or the address, None if unknown.
    """

    act: Act
    number: int
    insn: int
    sure: bool
    at: int | None = 0
    size_bytes: int = WORD_BYTES


class Code(NamedTuple):
    """A linked program as the kernel gets it; most sets hold indexes of instructions."""

    insns: bytes
    """With all fixups applied."""
    data: Mapping[int, tuple[bytes | SparseBytes | None, int]] = {}
    """Loads of read-only data: contents (None: unknown) and byte."""
    pointers: frozenset[int] = frozenset()
    """The words of the array of arguments that hold a pointer."""
    addresses: frozenset[int] = frozenset()
    """Loads of an address that exists after loading only: of a map or of other data."""
    existing: frozenset[int] = frozenset()
    """Loads of the address of an existing kernel object."""
    unknown: frozenset[int] = frozenset()
    """Loads with an unknown result."""
    global_functions: frozenset[int] = frozenset()
    callbacks: frozenset[int] = frozenset()
    """The functions that the kernel calls."""
    lazy: bool | None = True
    """Whether the verifier checks a global function only at a call of it (since 6.8); None: unknown."""
    ends: bool = False
    """Whether a call may end the program (``bpf_throw``)."""


class State(NamedTuple):
    """All registers, and the values on the stack by offset."""

    regs: tuple[Value, ...]
    stack: tuple[tuple[int, Value], ...] = ()

    def with_reg(self, register: int, value: Value) -> State:
        """Return the state with another value in one register."""
        regs = self.regs
        return State((*regs[:register], value, *regs[register + 1 :]), self.stack)


class Path(NamedTuple):
    """The next instruction and its state; ``sure``: the verifier takes this path."""

    to: int
    state: State
    sure: bool


def entered(arguments: tuple[Value, ...]) -> State:
    """Return the state at the entry of a function."""
    rest = (UNSET,) * (9 - len(arguments))
    return State((UNSET, *arguments, *rest, Value(Content.FP)))


def merge(one: State, other: State) -> State:
    """Return the common state where two paths meet."""
    if one == other:
        return one
    stack = one.stack
    if stack != other.stack:
        theirs = dict(other.stack)
        stack = tuple((at, value) for at, value in stack if theirs.get(at) == value)
    return State(tuple(map(join, one.regs, other.regs)), stack)


class Steps:
    """Walk one function step by step, and call back for each effect.

    ``report`` gets each effect. ``call`` gets each called function of the program and its arguments, and
    returns the result. ``hand_out`` gets each function whose address the program passes to the kernel.
    ``leave`` gets each result of the function.
    """

    def __init__(
        self,
        code: Code,
        report: Callable[[Effect], None],
        call: Callable[[int, tuple[Value, ...]], Value],
        hand_out: Callable[[int], None],
        leave: Callable[[int, Value], None],
    ) -> None:
        self.code, self.report, self.call, self.hand_out, self.leave = code, report, call, hand_out, leave
        self.count = len(code.insns) // INSN_BYTES

    def step(self, index: int, state: State) -> list[Path]:
        """Return the paths from an instruction that stay within the program."""
        insn = decode_insn(self.code.insns, index)
        if max(insn.dst_reg, insn.src_reg) > FRAME_POINTER:
            return []  # no such register: the verifier refuses it
        return [path for path in self._paths(index, insn, state) if 0 <= path.to < self.count]

    def _paths(self, index: int, insn: Insn, state: State) -> list[Path]:
        family = insn.insn_class
        if family in _ARITHMETIC:
            return [Path(index + 1, _alu(insn, state), True)]
        if insn.opcode == LD_IMM64:
            return [Path(index + 2, state.with_reg(insn.dst_reg, self._immediate(index, insn)), True)]
        if family in _JUMPS:
            return self._jump(index, insn, state)
        if family == InsnClass.LDX:
            return [Path(index + 1, state.with_reg(insn.dst_reg, self._load(index, insn, state)), True)]
        if family in _STORES:
            return [Path(index + 1, self._store(index, insn, state), True)]
        return [Path(index + 1, state.with_reg(0, MAYBE), True)]  # the old loads of packets

    def _immediate(self, index: int, insn: Insn) -> Value:
        code = self.code
        if index in code.data:
            return Value(Content.DATA, code.data[index][1], place=index)
        if index in code.existing:
            return NOT_ZERO
        if index in code.addresses:
            return Value(Content.RETURNED)
        if insn.src_reg == PseudoSrc.FUNC:
            return Value(Content.FUNCTION, index + 1 + insn.imm)
        if index in code.unknown or insn.src_reg or index + 1 >= self.count:
            return MAYBE
        return number_of(imm64_at(code.insns, index))

    # Memory

    def _load(self, index: int, insn: Insn, state: State) -> Value:
        base, size = state.regs[insn.src_reg], insn.size_bytes
        at = base.number + insn.offset
        if base.content == Content.CTX:
            return self._argument(index, at, size)
        if base.content in {Content.DATA, Content.FP} or base in {MAYBE, UNSET}:
            return MAYBE if insn.mode != InsnMode.MEM else self._kept(base, at, size, state)
        if base.content == Content.ARG:
            self._through(index, insn, base, size)
        return unknown(Content.LOADED if size == WORD_BYTES else Content.SOME, index, _largest_of(size))

    def _argument(self, index: int, at: int, size: int) -> Value:
        word = at // WORD_BYTES
        self.report(Effect(Act.READ, word, index, True, at, size))
        if word in self.code.pointers:
            return Value(Content.ARG, word)
        whole = Value(Content.ARG, word, 0, 0, frozenset({index}))
        return whole if size == WORD_BYTES else unknown(Content.SOME, index, _largest_of(size))

    def _kept(self, base: Value, at: int, size: int, state: State) -> Value:
        """Return a value of read-only data or of the stack, as far as the verifier keeps it too."""
        if base.content == Content.DATA:
            return self._constant(base, at, size)
        return (
            dict(state.stack).get(at, MAYBE) if base.content == Content.FP and size == WORD_BYTES else MAYBE
        )

    def _constant(self, base: Value, at: int, size: int) -> Value:
        contents = self.code.data[base.place][0]
        raw = contents[at : at + size] if contents is not None and at >= 0 else b""
        return number_of(int.from_bytes(raw, "little")) if len(raw) == size else MAYBE

    def _through(self, index: int, insn: Insn, base: Value, size: int) -> None:
        at = None if base.offset is None else base.offset + insn.offset
        self.report(Effect(Act.THROUGH, base.number, index, True, at, size))

    def _store(self, index: int, insn: Insn, state: State) -> State:
        base, size = state.regs[insn.dst_reg], insn.size_bytes
        at = base.number + insn.offset
        if base.content == Content.CTX:
            self.report(Effect(Act.WRITE, at // WORD_BYTES, index, True, at, size))
        elif base.content == Content.ARG:
            self._through(index, insn, base, size)
        elif base.content == Content.FP:
            kept = {place: value for place, value in state.stack if not at - WORD_BYTES < place < at + size}
            if insn.insn_class == InsnClass.STX and insn.mode == InsnMode.MEM and size == WORD_BYTES:
                kept[at] = state.regs[insn.src_reg]
            state = State(state.regs, tuple(sorted(kept.items())))
        elif base == MAYBE:
            state = State(state.regs)  # it may be an address of the stack
        if insn.insn_class == InsnClass.STX and insn.mode == InsnMode.ATOMIC and insn.imm & ATOMIC_FETCH:
            state = state.with_reg(0 if insn.imm & ATOMIC_CMPXCHG == ATOMIC_CMPXCHG else insn.src_reg, MAYBE)
        return state

    # Jumps and calls

    def _jump(self, index: int, insn: Insn, state: State) -> list[Path]:
        operation, target = insn.operation, index + 1 + insn.offset
        if operation == JumpOp.JA and insn.uses_register:
            return []  # through a jump table, to an unknown place
        if operation == JumpOp.JA:
            return [Path(index + 1 + insn.imm if insn.insn_class == InsnClass.JMP32 else target, state, True)]
        if operation == JumpOp.EXIT:
            self.leave(index, state.regs[0])
            return []
        if operation == JumpOp.CALL:
            return self._call(index, insn, state)
        left = state.regs[insn.dst_reg]
        right = state.regs[insn.src_reg] if insn.uses_register else number_of(insn.imm & (1 << 64) - 1)
        bits = 64 if insn.insn_class == InsnClass.JMP else 32
        reaches = compare(operation, bits, left, right, self.code.pointers)
        if operation == JumpOp.JCOND:
            reaches = Reach.MAYBE, Reach.MAYBE
        after = _learnt(state, left.roots | right.roots)
        return [
            Path(to, after, reach is Reach.SURE)
            for to, reach in zip((index + 1, target), reaches, strict=True)
            if reach is not Reach.NEVER
        ]

    def _call(self, index: int, insn: Insn, state: State) -> list[Path]:
        poisoned = poisoned_relocation(insn.imm) if insn.src_reg == PseudoCall.HELPER else None
        if poisoned is not None:
            self.report(Effect(Act.POISON, poisoned, index, True))
            return []
        arguments = state.regs[1:6]
        result = unknown(Content.RETURNED, index)
        if insn.src_reg == PseudoCall.CALL:
            callee = index + 1 + insn.imm
            given = tuple(MAYBE if value.content == Content.FP else value for value in arguments)
            result = self.call(callee, given)
            if callee in self.code.global_functions:
                result = unknown(
                    Content.SOME, index, _largest_of(WORD_BYTES)
                )  # the verifier takes it for any number
        elif insn.src_reg == PseudoCall.HELPER:
            self.report(Effect(Act.HELPER, insn.imm, index, True))
        if insn.src_reg != PseudoCall.CALL:
            for value in arguments:
                if value.content == Content.FUNCTION:
                    self.hand_out(value.number)
        shared = any(value.content == Content.FP or value == MAYBE for value in arguments)
        after = (result, *(UNSET,) * 5, *state.regs[6:])
        return [Path(index + 1, State(after, () if shared else state.stack), True)]


def _largest_of(size_bytes: int) -> int:
    return (1 << 8 * size_bytes) - 1


def _learnt(state: State, roots: frozenset[int]) -> State:
    """Return the state behind a branch: the verifier knows more of the values of its roots."""
    held = (*state.regs, *(value for _, value in state.stack)) if roots else ()
    if not any(value.roots and value.roots & roots for value in held):
        return state
    return State(
        tuple(narrowed(value, roots) for value in state.regs),
        tuple((at, narrowed(value, roots)) for at, value in state.stack),
    )


def _alu(insn: Insn, state: State) -> State:
    bits = 64 if insn.insn_class == InsnClass.ALU64 else 32
    left = state.regs[insn.dst_reg]
    if insn.operation in _UNARY:
        return state.with_reg(insn.dst_reg, MAYBE)
    right = state.regs[insn.src_reg] if insn.uses_register else number_of(insn.imm & (1 << 64) - 1)
    if insn.offset:  # signed division, or a move that extends the sign
        return state.with_reg(insn.dst_reg, MAYBE)
    return state.with_reg(insn.dst_reg, arithmetic(insn.operation, bits, left, right))


def jump_targets(insns: bytes) -> frozenset[int]:
    """Return the targets of all jumps."""
    found = set()
    for index, insn in instructions(insns):
        if insn.insn_class in _JUMPS and insn.operation not in {JumpOp.CALL, JumpOp.EXIT}:
            found.add(index + 1 + (insn.imm if insn.opcode == InsnClass.JMP32 | JumpOp.JA else insn.offset))
    return frozenset(found)
