"""One step of the walk through a program: what an instruction does to the registers and the stack. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
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
    ARG,
    CTX,
    DATA,
    FP,
    FUNCTION,
    LOADED,
    MAYBE,
    NOT_ZERO,
    RETURNED,
    SOME,
    UNSET,
    Value,
    arithmetic,
    compare,
    join,
    narrowed,
    number_of,
    unknown,
)

__all__ = ["Code", "State", "Steps", "Use", "Way", "entered", "jump_targets", "merge"]

WORD_BYTES = 8
_ARITHMETIC = (InsnClass.ALU, InsnClass.ALU64)
_JUMPS = (InsnClass.JMP, InsnClass.JMP32)
_STORES = (InsnClass.ST, InsnClass.STX)
_UNARY = (AluOp.NEG, AluOp.END)


class Use(NamedTuple):
    """Something that a program does. ``sure`` says that the verifier comes to it.

    ``kind`` is ``read`` or ``write`` (of a word of the context), ``through`` (memory at the
    address in a word), ``helper`` (a call, by number), ``poison`` (a CO-RE
    relocation without an answer, by its place), or ``no-result`` (the end,
    with nothing to return). ``insn`` counts from the start of the program. ``at`` are the bytes from
    the context or the address on, None when nobody knows, and ``size_bytes`` how many are accessed.
    """

    kind: str
    number: int
    insn: int
    sure: bool
    at: int | None = 0
    size_bytes: int = WORD_BYTES


class Code(NamedTuple):
    """A linked program as the kernel will get it.

    ``insns`` have their fixups applied. ``data`` says which loads are of read-only data: instruction to
    (contents, byte), where the contents are None when their value is unknown. ``existing`` are the loads of
    the address of something that the kernel has, ``addresses`` those of what has an address at load time
    only: maps, other data. ``unknown`` are loads of which nobody knows the result.
    ``pointers`` are the words of the context that hold a pointer. ``global_functions`` begin where it says, and
    ``callbacks`` are those that the kernel calls itself. ``lazy`` says that the verifier looks at a global function
    only when it comes to a call of it (since 6.8), None when nobody knows. ``ends`` says
    that calls in the program may end it (``bpf_throw``).
    """

    insns: bytes
    data: Mapping[int, tuple[bytes | SparseBytes | None, int]] = {}
    pointers: frozenset[int] = frozenset()
    addresses: frozenset[int] = frozenset()
    existing: frozenset[int] = frozenset()
    unknown: frozenset[int] = frozenset()
    global_functions: frozenset[int] = frozenset()
    callbacks: frozenset[int] = frozenset()
    lazy: bool | None = True
    ends: bool = False


class State(NamedTuple):
    """All registers, and what is kept on the stack by its offset."""

    regs: tuple[Value, ...]
    stack: tuple[tuple[int, Value], ...] = ()

    def with_reg(self, register: int, value: Value) -> State:
        """Return the state with another value in one register."""
        regs = self.regs
        return State((*regs[:register], value, *regs[register + 1 :]), self.stack)


class Way(NamedTuple):
    """Where the verifier goes on, with which state; ``sure`` when it is sure to, once it is at the branch."""

    to: int
    state: State
    sure: bool


def entered(arguments: tuple[Value, ...]) -> State:
    """Return the state at the entry of a function."""
    rest = (UNSET,) * (9 - len(arguments))
    return State((UNSET, *arguments, *rest, Value(FP)))


def merge(one: State, other: State) -> State:
    """Return the state where two ways meet."""
    if one == other:
        return one
    stack = one.stack
    if stack != other.stack:
        theirs = dict(other.stack)
        stack = tuple((at, value) for at, value in stack if theirs.get(at) == value)
    return State(tuple(map(join, one.regs, other.regs)), stack)


class Steps:
    """The steps of one function's walk.

    ``report`` is told of each use, ``call`` of each call of a function of the program, with its place and its
    arguments, and returns the result; ``hand_out`` of each function whose address the kernel is given to call.
    ``leave`` is told of each result of the function.
    """

    def __init__(
        self,
        code: Code,
        report: Callable[[Use], None],
        call: Callable[[int, tuple[Value, ...]], Value],
        hand_out: Callable[[int], None],
        leave: Callable[[int, Value], None],
    ) -> None:
        self.code, self.report, self.call, self.hand_out, self.leave = code, report, call, hand_out, leave
        self.count = len(code.insns) // INSN_BYTES

    def step(self, index: int, state: State) -> list[Way]:
        """Return where the verifier goes from an instruction, within the program."""
        insn = decode_insn(self.code.insns, index)
        if max(insn.dst_reg, insn.src_reg) > FRAME_POINTER:
            return []  # no such register: the verifier refuses it
        return [way for way in self._understood(index, insn, state) if 0 <= way.to < self.count]

    def _understood(self, index: int, insn: Insn, state: State) -> list[Way]:
        family = insn.insn_class
        if family in _ARITHMETIC:
            return [Way(index + 1, _alu(insn, state), True)]
        if insn.opcode == LD_IMM64:
            return [Way(index + 2, state.with_reg(insn.dst_reg, self._immediate(index, insn)), True)]
        if family in _JUMPS:
            return self._jump(index, insn, state)
        if family == InsnClass.LDX:
            return [Way(index + 1, state.with_reg(insn.dst_reg, self._load(index, insn, state)), True)]
        if family in _STORES:
            return [Way(index + 1, self._store(index, insn, state), True)]
        return [Way(index + 1, state.with_reg(0, MAYBE), True)]  # the old loads of packets

    def _immediate(self, index: int, insn: Insn) -> Value:
        code = self.code
        if index in code.data:
            return Value(DATA, code.data[index][1], place=index)
        if index in code.existing:
            return NOT_ZERO
        if index in code.addresses:
            return Value(RETURNED)
        if insn.src_reg == PseudoSrc.FUNC:
            return Value(FUNCTION, index + 1 + insn.imm)
        if index in code.unknown or insn.src_reg or index + 1 >= self.count:
            return MAYBE
        return number_of(imm64_at(code.insns, index))

    # Memory

    def _load(self, index: int, insn: Insn, state: State) -> Value:
        base, size = state.regs[insn.src_reg], insn.size_bytes
        at = base.number + insn.offset
        if base.kind == CTX:
            return self._argument(index, at, size)
        if base.kind in {DATA, FP} or base in {MAYBE, UNSET}:
            return MAYBE if insn.mode != InsnMode.MEM else self._kept(base, at, size, state)
        if base.kind == ARG:
            self._through(index, insn, base, size)
        return unknown(LOADED if size == WORD_BYTES else SOME, index, _largest_of(size))

    def _argument(self, index: int, at: int, size: int) -> Value:
        word = at // WORD_BYTES
        self.report(Use("read", word, index, True, at, size))
        if word in self.code.pointers:
            return Value(ARG, word)
        whole = Value(ARG, word, 0, 0, frozenset({index}))
        return whole if size == WORD_BYTES else unknown(SOME, index, _largest_of(size))

    def _kept(self, base: Value, at: int, size: int, state: State) -> Value:
        """Return what is in read-only data or on the stack, as far as the verifier keeps it too."""
        if base.kind == DATA:
            return self._constant(base, at, size)
        return dict(state.stack).get(at, MAYBE) if base.kind == FP and size == WORD_BYTES else MAYBE

    def _constant(self, base: Value, at: int, size: int) -> Value:
        contents = self.code.data[base.place][0]
        raw = contents[at : at + size] if contents is not None and at >= 0 else b""
        return number_of(int.from_bytes(raw, "little")) if len(raw) == size else MAYBE

    def _through(self, index: int, insn: Insn, base: Value, size: int) -> None:
        at = None if base.offset is None else base.offset + insn.offset
        self.report(Use("through", base.number, index, True, at, size))

    def _store(self, index: int, insn: Insn, state: State) -> State:
        base, size = state.regs[insn.dst_reg], insn.size_bytes
        at = base.number + insn.offset
        if base.kind == CTX:
            self.report(Use("write", at // WORD_BYTES, index, True, at, size))
        elif base.kind == ARG:
            self._through(index, insn, base, size)
        elif base.kind == FP:
            kept = {place: value for place, value in state.stack if not at - WORD_BYTES < place < at + size}
            if insn.insn_class == InsnClass.STX and insn.mode == InsnMode.MEM and size == WORD_BYTES:
                kept[at] = state.regs[insn.src_reg]
            state = State(state.regs, tuple(sorted(kept.items())))
        elif base == MAYBE:
            state = State(state.regs)  # it may be of the stack
        if insn.insn_class == InsnClass.STX and insn.mode == InsnMode.ATOMIC and insn.imm & ATOMIC_FETCH:
            state = state.with_reg(0 if insn.imm & ATOMIC_CMPXCHG == ATOMIC_CMPXCHG else insn.src_reg, MAYBE)
        return state

    # Jumps and calls

    def _jump(self, index: int, insn: Insn, state: State) -> list[Way]:
        operation, target = insn.operation, index + 1 + insn.offset
        if operation == JumpOp.JA and insn.uses_register:
            return []  # by a jump table, to nobody knows where
        if operation == JumpOp.JA:
            return [Way(index + 1 + insn.imm if insn.insn_class == InsnClass.JMP32 else target, state, True)]
        if operation == JumpOp.EXIT:
            self.leave(index, state.regs[0])
            return []
        if operation == JumpOp.CALL:
            return self._call(index, insn, state)
        left = state.regs[insn.dst_reg]
        right = state.regs[insn.src_reg] if insn.uses_register else number_of(insn.imm & (1 << 64) - 1)
        bits = 64 if insn.insn_class == InsnClass.JMP else 32
        ways = compare(operation, bits, left, right, self.code.pointers)
        if operation == JumpOp.JCOND:
            ways = "maybe", "maybe"
        after = _learnt(state, left.roots | right.roots)
        return [
            Way(to, after, way == "sure")
            for to, way in zip((index + 1, target), ways, strict=True)
            if way != "never"
        ]

    def _call(self, index: int, insn: Insn, state: State) -> list[Way]:
        poisoned = poisoned_relocation(insn.imm) if insn.src_reg == PseudoCall.HELPER else None
        if poisoned is not None:
            self.report(Use("poison", poisoned, index, True))
            return []
        arguments = state.regs[1:6]
        result = unknown(RETURNED, index)
        if insn.src_reg == PseudoCall.CALL:
            callee = index + 1 + insn.imm
            given = tuple(MAYBE if value.kind == FP else value for value in arguments)
            result = self.call(callee, given)
            if callee in self.code.global_functions:
                result = unknown(SOME, index, _largest_of(WORD_BYTES))  # the verifier takes it for any number
        elif insn.src_reg == PseudoCall.HELPER:
            self.report(Use("helper", insn.imm, index, True))
        if insn.src_reg != PseudoCall.CALL:
            for value in arguments:
                if value.kind == FUNCTION:
                    self.hand_out(value.number)
        shared = any(value.kind == FP or value == MAYBE for value in arguments)
        after = (result, *(UNSET,) * 5, *state.regs[6:])
        return [Way(index + 1, State(after, () if shared else state.stack), True)]


def _largest_of(size_bytes: int) -> int:
    return (1 << 8 * size_bytes) - 1


def _learnt(state: State, roots: frozenset[int]) -> State:
    """Return a state behind a branch: the verifier knows more of all that was computed from the same."""
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
    """Return where jumps go to."""
    found = set()
    for index, insn in instructions(insns):
        if insn.insn_class in _JUMPS and insn.operation not in {JumpOp.CALL, JumpOp.EXIT}:
            found.add(index + 1 + (insn.imm if insn.opcode == InsnClass.JMP32 | JumpOp.JA else insn.offset))
    return frozenset(found)
