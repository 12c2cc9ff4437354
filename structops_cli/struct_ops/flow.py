"""Walk a program as the verifier would, to see which arguments it uses, and what it is sure to come to. Pure.

The verifier leaves out what it proves dead: a branch on a constant, which is
what CO-RE's questions and read-only configuration become. This walk follows the
same constants; where the verifier may know more, nothing behind a branch counts
as sure. So what is *sure* and not allowed will be refused; the rest may be.
"""

from __future__ import annotations

from collections.abc import Mapping

from structops_cli.core.apply import poisoned_relocation
from structops_cli.obj.insn import INSN_BYTES, LD_IMM64, Insn, decode, instructions
from structops_cli.records import NamedTuple
from structops_cli.struct_ops.flow_values import (
    ARG,
    BOUNDED,
    COMPARED,
    CONST,
    CTX,
    DATA,
    FP,
    MAYBE,
    RETURNED,
    SOME,
    UNSET,
    Value,
    arithmetic,
    compare,
    join,
)
from structops_cli.syscall.uapi import PseudoCall

__all__ = ["Code", "Use", "uses_of"]

WORD_BYTES = 8
_LD, _LDX, _ST, _STX, _ALU, _JMP, _JMP32, _ALU64 = range(8)
_JA, _CALL, _EXIT, _MAY_GOTO = 0x0, 0x8, 0x9, 0xE
_MEM, _MEMSX, _ATOMIC = 0x60, 0x80, 0xC0
_SIZES = {0x00: 4, 0x08: 2, 0x10: 1, 0x18: 8}
_UNARY = (0x8, 0xD)
_LAST_REGISTER = 10
_MAX_STEPS = 100_000
_MAX_CALLS = 8


class Use(NamedTuple):
    """Something that a program does. ``sure`` says that the verifier comes to it.

    ``kind`` is ``read`` (a word of the context), ``through`` (memory at the
    address in a word), ``helper`` (a call, by number), ``poison`` (a CO-RE
    relocation without an answer, by its place), or ``no-result`` (the end,
    with nothing to return). ``insn`` counts from the start of the program.
    """

    kind: str
    number: int
    insn: int
    sure: bool


class Code(NamedTuple):
    """A linked program as the kernel will get it.

    ``insns`` have their fixups applied. ``data`` says which loads are of
    read-only data: instruction to (contents, byte). ``starts_sure`` are the
    functions that the verifier looks at on their own: the global ones.
    ``pointers`` are the words of the context that hold a pointer, ``addresses``
    the loads of what has an address at load time only: maps, other data.
    """

    insns: bytes
    data: Mapping[int, tuple[bytes, int]] = {}
    starts_sure: tuple[int, ...] = ()
    pointers: frozenset[int] = frozenset()
    addresses: frozenset[int] = frozenset()


class _State(NamedTuple):
    """All registers, what is kept on the stack by its offset, and whether the verifier is sure to see it."""

    regs: tuple[Value, ...]
    stack: tuple[tuple[int, Value], ...]
    sure: bool

    def with_reg(self, register: int, value: Value) -> _State:
        regs = self.regs
        return _State((*regs[:register], value, *regs[register + 1 :]), self.stack, self.sure)


def uses_of(code: Code) -> tuple[Use, ...]:
    """Return what a program does, each once, in the order of its instructions."""
    walk = _Walk(code)
    walk.function(0, ((CTX, 0, ""),), sure=True, depth=0)
    for start in code.starts_sure:
        walk.function(start, (MAYBE,) * 5, sure=True, depth=1)
    sure = {(use.kind, use.number, use.insn) for use in walk.found if use.sure}
    return tuple(
        sorted(
            {use for use in walk.found if use.sure or (use.kind, use.number, use.insn) not in sure},
            key=lambda use: (use.insn, use.kind, use.number),
        )
    )


class _Walk:
    """One walk through a program and the functions that it calls."""

    def __init__(self, code: Code) -> None:
        self.code = code
        self.count = len(code.insns) // INSN_BYTES
        self.found: set[Use] = set()
        self.steps = 0
        self.meetings = _targets(code.insns)
        self.seen: set[tuple[int, tuple[Value, ...], bool]] = set()

    def function(self, start: int, arguments: tuple[Value, ...], *, sure: bool, depth: int) -> None:
        """Walk one function from its entry until nothing new is learnt."""
        if not 0 <= start < self.count or depth > _MAX_CALLS or (start, arguments, sure) in self.seen:
            return
        self.seen.add((start, arguments, sure))
        rest = (UNSET,) * (9 - len(arguments))
        states = {start: _State((UNSET, *arguments, *rest, (FP, 0, "")), (), sure)}
        pending = [start]
        while pending and self.steps < _MAX_STEPS:
            index = pending.pop()
            for to, state in self._run(index, states[index], depth):
                known = states.get(to)
                merged = state if known is None else _merge(known, state)
                if merged != known:
                    states[to] = merged
                    pending.append(to)

    def _run(self, index: int, state: _State, depth: int) -> list[tuple[int, _State]]:
        """Walk on until ways part or meet, and return where it goes from there."""
        while True:
            self.steps += 1
            ways = [(to, after) for to, after in self._step(index, state, depth) if 0 <= to < self.count]
            if len(ways) != 1 or ways[0][0] in self.meetings or self.steps >= _MAX_STEPS:
                return ways
            index, state = ways[0]

    def _use(self, kind: str, number: int, insn: int, state: _State) -> None:
        self.found.add(Use(kind, number, insn, state.sure))

    def _step(self, index: int, state: _State, depth: int) -> list[tuple[int, _State]]:
        insn = decode(self.code.insns, index)
        if max(insn.dst_reg, insn.src_reg) > _LAST_REGISTER:
            return []  # no such register: the verifier refuses it
        return self._understood(index, insn, state, depth)

    def _understood(self, index: int, insn: Insn, state: _State, depth: int) -> list[tuple[int, _State]]:
        family = insn.opcode & 7
        if family in {_ALU, _ALU64}:
            return [(index + 1, _alu(insn, state))]
        if insn.opcode == LD_IMM64:
            return [(index + 2, state.with_reg(insn.dst_reg, self._immediate(index, insn)))]
        if family in {_JMP, _JMP32}:
            return self._jump(index, insn, state, depth)
        if family == _LDX:
            return self._load(index, insn, state)
        if family in {_ST, _STX}:
            return self._store(index, insn, state)
        return [(index + 1, state.with_reg(0, MAYBE))]  # the old loads of packets

    def _immediate(self, index: int, insn: Insn) -> Value:
        if index in self.code.data:
            return DATA, self.code.data[index][1], str(index)
        if index in self.code.addresses:
            return RETURNED
        if insn.src_reg or index + 1 >= self.count:
            return MAYBE
        high = decode(self.code.insns, index + 1).imm
        return CONST, (insn.imm & 0xFFFFFFFF) | (high & 0xFFFFFFFF) << 32, ""

    # Memory

    def _load(self, index: int, insn: Insn, state: _State) -> list[tuple[int, _State]]:
        base, size = state.regs[insn.src_reg], _SIZES[insn.opcode & 0x18]
        at = base[1] + insn.offset
        value = RETURNED if size == WORD_BYTES else SOME
        if base[0] == CTX:
            word = at // WORD_BYTES
            self._use("read", word, index, state)
            value = (ARG, word, "")
        elif base[0] == ARG:
            self._use("through", base[1], index, state)
        elif base[0] == DATA:
            contents = self.code.data[int(base[2])][0]
            raw = contents[at : at + size] if at >= 0 else b""
            value = (CONST, int.from_bytes(raw, "little"), "") if len(raw) == size else MAYBE
        elif base[0] == FP:
            value = dict(state.stack).get(at, MAYBE) if size == WORD_BYTES else MAYBE
        if insn.opcode & 0xE0 != _MEM and value[0] == CONST:
            value = MAYBE  # a load that extends the sign
        return [(index + 1, state.with_reg(insn.dst_reg, value))]

    def _store(self, index: int, insn: Insn, state: _State) -> list[tuple[int, _State]]:
        base, size = state.regs[insn.dst_reg], _SIZES[insn.opcode & 0x18]
        if base[0] == ARG:
            self._use("through", base[1], index, state)
        elif base[0] == FP:
            at = base[1] + insn.offset
            kept = {place: value for place, value in state.stack if not at - WORD_BYTES < place < at + size}
            if insn.opcode & 7 == _STX and insn.opcode & 0xE0 == _MEM and size == WORD_BYTES:
                kept[at] = state.regs[insn.src_reg]
            state = _State(state.regs, tuple(sorted(kept.items())), state.sure)
        elif base == MAYBE:
            state = _State(state.regs, (), state.sure)  # it may be of the stack
        if insn.opcode & 7 == _STX and insn.opcode & 0xE0 == _ATOMIC and insn.imm & 1:
            state = state.with_reg(0 if insn.imm & 0xF0 == 0xF0 else insn.src_reg, SOME)
        return [(index + 1, state)]

    # Jumps and calls

    def _jump(self, index: int, insn: Insn, state: _State, depth: int) -> list[tuple[int, _State]]:
        operation, target = insn.opcode >> 4, index + 1 + insn.offset
        if operation == _JA:
            return [(index + 1 + insn.imm if insn.opcode & 7 == _JMP32 else target, state)]
        if operation == _EXIT:
            if depth == 0 and state.regs[0] == UNSET:
                self._use("no-result", 0, index, state)
            return []
        if operation == _CALL:
            return self._call(index, insn, state, depth)
        bits = 64 if insn.opcode & 7 == _JMP else 32
        left = state.regs[insn.dst_reg]
        right = state.regs[insn.src_reg] if insn.opcode & 8 else (CONST, insn.imm & (1 << 64) - 1, "")
        ways = compare(operation, bits, left, right, self.code.pointers)
        if operation == _MAY_GOTO:
            ways = "maybe", "maybe"
        narrowed = state
        if left in {SOME, BOUNDED} or left[0] == ARG:
            seen = (ARG, left[1], COMPARED) if left[0] == ARG else MAYBE
            narrowed = state.with_reg(insn.dst_reg, seen)
        return [
            (to, _State(narrowed.regs, narrowed.stack, state.sure and way == "sure"))
            for to, way in zip((index + 1, target), ways, strict=True)
            if way != "never"
        ]

    def _call(self, index: int, insn: Insn, state: _State, depth: int) -> list[tuple[int, _State]]:
        poisoned = poisoned_relocation(insn.imm) if insn.src_reg == 0 else None
        if poisoned is not None:
            self._use("poison", poisoned, index, state)
            return []
        if insn.src_reg == PseudoCall.CALL:
            callee = index + 1 + insn.imm
            arguments = tuple(MAYBE if value[0] == FP else value for value in state.regs[1:6])
            if callee not in self.code.starts_sure:
                self.function(callee, arguments, sure=state.sure, depth=depth + 1)
        elif insn.src_reg == 0:
            self._use("helper", insn.imm, index, state)
        shared = any(value[0] == FP or value == MAYBE for value in state.regs[1:6])
        after = (RETURNED, *(UNSET,) * 5, *state.regs[6:])
        return [(index + 1, _State(after, () if shared else state.stack, state.sure))]


def _targets(insns: bytes) -> frozenset[int]:
    """Return where jumps go to."""
    found = set()
    for index, insn in instructions(insns):
        if insn.opcode & 7 in {_JMP, _JMP32} and insn.opcode >> 4 not in {_CALL, _EXIT}:
            found.add(index + 1 + (insn.imm if insn.opcode == _JMP32 else insn.offset))
    return frozenset(found)


def _alu(insn: Insn, state: _State) -> _State:
    bits = 64 if insn.opcode & 7 == _ALU64 else 32
    left = state.regs[insn.dst_reg]
    if insn.opcode >> 4 in _UNARY:
        return state.with_reg(insn.dst_reg, SOME if left == SOME or left[0] == ARG else MAYBE)
    right = state.regs[insn.src_reg] if insn.opcode & 8 else (CONST, insn.imm & (1 << 64) - 1, "")
    if insn.offset:  # signed division, or a move that extends the sign
        return state.with_reg(insn.dst_reg, SOME if right == SOME or right[0] == ARG else MAYBE)
    return state.with_reg(insn.dst_reg, arithmetic(insn.opcode >> 4, bits, left, right))


def _merge(one: _State, other: _State) -> _State:
    theirs = dict(other.stack)
    return _State(
        tuple(join(a, b) for a, b in zip(one.regs, other.regs, strict=True)),
        tuple((at, value) for at, value in one.stack if theirs.get(at) == value),
        one.sure or other.sure,
    )
