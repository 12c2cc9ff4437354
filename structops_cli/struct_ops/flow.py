"""Walk a program as the verifier would, to see which arguments it uses, and what it is sure to come to. Pure.

The verifier leaves out what it proves dead: a branch on a constant, which is
what CO-RE's questions and read-only configuration become. This walk follows the
same constants. What it comes to is reached *surely*, *perhaps* (behind a branch of which the
verifier may know more, or whose value nobody knows) or *never*. What is sure and not allowed will be refused.
"""

from __future__ import annotations

from heapq import heappop, heappush
from typing import NamedTuple

from structops_cli.struct_ops.flow_order import sure_blocks
from structops_cli.struct_ops.flow_steps import Code, State, Steps, Use, Way, entered, jump_targets, merge
from structops_cli.struct_ops.flow_values import CTX, MAYBE, UNSET, Value, join

__all__ = ["Code", "Use", "uses_of"]

_MAX_STEPS = 50_000
_MAX_CALLS = 8
_UNKNOWN_ARGUMENTS = (MAYBE,) * 5


class _Summary(NamedTuple):
    """The effects and the result of a call of a function; ``sure`` counts from its entry."""

    uses: frozenset[Use]
    result: Value


_NOTHING = _Summary(frozenset(), MAYBE)


def uses_of(code: Code) -> tuple[Use, ...]:
    """Return what a program does, each once, in the order of its instructions."""
    walk = _Walk(code)
    found = set(walk.function(0, (Value(CTX),), 0).uses)
    for start in code.callbacks:
        found |= walk.function(start, _UNKNOWN_ARGUMENTS, 1).uses
    for start in code.global_functions if not code.lazy else ():
        uses = walk.function(start, _UNKNOWN_ARGUMENTS, 1).uses
        found |= uses if code.lazy is False else _unsure(uses)
    return _each_once(_unsure(found) if code.ends or walk.steps >= _MAX_STEPS else found)


def _unsure(uses: frozenset[Use] | set[Use]) -> frozenset[Use]:
    return frozenset(use._replace(sure=False) for use in uses)


def _each_once(found: frozenset[Use] | set[Use]) -> tuple[Use, ...]:
    sure = {use._replace(sure=False) for use in found if use.sure}
    kept = [use for use in found if use.sure or use not in sure]
    return tuple(sorted(kept, key=lambda use: (use.insn, use.kind, use.number, use.at or 0, use.size_bytes)))


class _Walk:
    """One walk through a program and the functions that it calls."""

    def __init__(self, code: Code) -> None:
        self.code = code
        self.steps = 0
        self.meetings = jump_targets(code.insns)
        self.known: dict[tuple[int, tuple[Value, ...]], _Summary] = {}

    def function(self, start: int, arguments: tuple[Value, ...], depth: int) -> _Summary:
        """Return what one function does; nothing of one that calls itself, which the verifier refuses."""
        key = start, arguments
        if key not in self.known:
            self.known[key] = _NOTHING
            if 0 <= start < len(self.code.insns) // 8 and depth <= _MAX_CALLS:
                self.known[key] = _Function(self, start, arguments, depth).summary()
        return self.known[key]


class _Function:
    """One function with one set of arguments: walked until nothing new is learnt, then once more for what it does."""

    def __init__(self, walk: _Walk, start: int, arguments: tuple[Value, ...], depth: int) -> None:
        self.walk, self.start, self.depth = walk, start, depth
        self.states = {start: entered(arguments)}
        self.block: set[Use] = set()
        self.results: list[Value] = []
        self.steps = Steps(walk.code, self.block.add, self._call, self._hand_out, self._leave)

    def summary(self) -> _Summary:
        """Walk the function and return what it does."""
        settled = self._settle()
        ways, uses = {}, {}
        self.results.clear()
        for start, state in self.states.items():
            self.block.clear()
            ways[start] = [(way.to, way.sure) for way in self._run(start, state)]
            uses[start] = frozenset(self.block)
        sure = sure_blocks(self.start, ways) if settled else frozenset()
        found = {
            use._replace(sure=start in sure and use.sure) for start, block in uses.items() for use in block
        }
        result = self.results[0] if self.results else MAYBE
        for other in self.results[1:]:
            result = join(result, other)
        return _Summary(frozenset(found), result)

    def _settle(self) -> bool:
        """Find the state at the start of every block: what all ways to it have in common. False when it takes too long.

        The block that comes first in the program is walked first: most ways to the others lead through it.
        """
        pending = [self.start]
        while pending:
            if self.walk.steps >= _MAX_STEPS:
                return False
            index = heappop(pending)
            for way in self._run(index, self.states[index]):
                known = self.states.get(way.to)
                merged = way.state if known is None else merge(known, way.state)
                if merged != known:
                    self.states[way.to] = merged
                    if way.to not in pending:
                        heappush(pending, way.to)
        return True

    def _run(self, index: int, state: State) -> list[Way]:
        """Walk on until ways part or meet, and return where it goes from there."""
        while True:
            self.walk.steps += 1
            ways = self.steps.step(index, state)
            if len(ways) != 1 or ways[0].to in self.walk.meetings:
                return ways
            index, state = ways[0].to, ways[0].state

    # What a step tells

    def _call(self, callee: int, arguments: tuple[Value, ...]) -> Value:
        code = self.walk.code
        if callee in code.global_functions:
            if code.lazy is not False:
                self.block |= self.walk.function(callee, _UNKNOWN_ARGUMENTS, self.depth + 1).uses
            return MAYBE
        summary = self.walk.function(callee, arguments, self.depth + 1)
        self.block |= summary.uses
        return summary.result

    def _hand_out(self, callback: int) -> None:
        self.block |= _unsure(self.walk.function(callback, _UNKNOWN_ARGUMENTS, self.depth + 1).uses)

    def _leave(self, index: int, result: Value) -> None:
        self.results.append(result)
        if self.depth == 0 and result == UNSET:
            self.block.add(Use("no-result", 0, index, True))
