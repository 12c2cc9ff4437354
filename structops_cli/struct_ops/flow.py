"""Walk a program as the verifier does, and find the effects that it surely meets. Pure.

The verifier skips code that it proves dead: a branch on a constant, such as the questions of CO-RE and
read-only configuration. This walk follows the same constants. It reaches an instruction *surely*,
*perhaps* (behind a branch of which the verifier may know more) or *never*. The verifier refuses a program
with a forbidden effect that is sure.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from heapq import heappop, heappush
from typing import NamedTuple

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
from structops_cli.struct_ops.flow_values import MAYBE, UNSET, Content, Value, join

_MAX_STEPS = 50_000
_MAX_CALLS = 8
_UNKNOWN_ARGUMENTS = (MAYBE,) * 5


class _Summary(NamedTuple):
    """The effects and the result of one function; ``sure`` holds from its entry."""

    effects: frozenset[Effect]
    result: Value


_NOTHING = _Summary(frozenset(), MAYBE)


def effects_of(code: Code) -> tuple[Effect, ...]:
    """Return the effects of a program, each once, in the order of its instructions."""
    walk = _Walk(code)
    found = set(walk.function(0, (Value(Content.CTX),), 0).effects)
    for start in code.callbacks:
        found |= walk.function(start, _UNKNOWN_ARGUMENTS, 1).effects
    for start in code.global_functions if not code.lazy else ():
        effects = walk.function(start, _UNKNOWN_ARGUMENTS, 1).effects
        found |= effects if code.lazy is False else _unsure(effects)
    return _each_once(_unsure(found) if code.ends or walk.steps >= _MAX_STEPS else found)


def _unsure(effects: frozenset[Effect] | set[Effect]) -> frozenset[Effect]:
    return frozenset(effect._replace(sure=False) for effect in effects)


def _each_once(found: frozenset[Effect] | set[Effect]) -> tuple[Effect, ...]:
    sure = {effect._replace(sure=False) for effect in found if effect.sure}
    kept = [effect for effect in found if effect.sure or effect not in sure]
    return tuple(
        sorted(
            kept,
            key=lambda effect: (effect.insn, effect.act, effect.number, effect.at or 0, effect.size_bytes),
        )
    )


class _Walk:
    """One walk through a program and the functions that it calls."""

    def __init__(self, code: Code) -> None:
        self.code = code
        self.steps = 0
        self.meetings = jump_targets(code.insns)
        self.known: dict[tuple[int, tuple[Value, ...]], _Summary] = {}

    def function(self, start: int, arguments: tuple[Value, ...], depth: int) -> _Summary:
        """Return the effects of one function; none for a recursive call, which is refused."""
        key = start, arguments
        if key not in self.known:
            self.known[key] = _NOTHING
            if 0 <= start < len(self.code.insns) // 8 and depth <= _MAX_CALLS:
                self.known[key] = _Function(self, start, arguments, depth).summary()
        return self.known[key]


class _Function:
    """One function with one set of arguments, walked until no state changes."""

    def __init__(self, walk: _Walk, start: int, arguments: tuple[Value, ...], depth: int) -> None:
        self.walk, self.start, self.depth = walk, start, depth
        self.states = {start: entered(arguments)}
        self.block: set[Effect] = set()
        self.results: list[Value] = []
        self.steps = Steps(walk.code, self.block.add, self._call, self._hand_out, self._leave)

    def summary(self) -> _Summary:
        """Walk the function and return its effects and its result."""
        settled = self._settle()
        paths, effects = {}, {}
        self.results.clear()
        for start, state in self.states.items():
            self.block.clear()
            paths[start] = [(path.to, path.sure) for path in self._run(start, state)]
            effects[start] = frozenset(self.block)
        sure = _sure_blocks(self.start, paths) if settled else frozenset()
        found = {
            effect._replace(sure=start in sure and effect.sure)
            for start, block in effects.items()
            for effect in block
        }
        result = self.results[0] if self.results else MAYBE
        for other in self.results[1:]:
            result = join(result, other)
        return _Summary(frozenset(found), result)

    def _settle(self) -> bool:
        """Find the common state at the start of every block; False if it takes too long.

        The walk takes the first block of the program first: most paths to the others lead through it.
        """
        pending = [self.start]
        while pending:
            if self.walk.steps >= _MAX_STEPS:
                return False
            index = heappop(pending)
            for path in self._run(index, self.states[index]):
                known = self.states.get(path.to)
                merged = path.state if known is None else merge(known, path.state)
                if merged != known:
                    self.states[path.to] = merged
                    if path.to not in pending:
                        heappush(pending, path.to)
        return True

    def _run(self, index: int, state: State) -> list[Path]:
        """Walk on until paths part or meet, and return the paths from there."""
        while True:
            self.walk.steps += 1
            paths = self.steps.step(index, state)
            if len(paths) != 1 or paths[0].to in self.walk.meetings:
                return paths
            index, state = paths[0].to, paths[0].state

    # The callbacks of a step

    def _call(self, callee: int, arguments: tuple[Value, ...]) -> Value:
        code = self.walk.code
        if callee in code.global_functions:
            if code.lazy is not False:
                self.block |= self.walk.function(callee, _UNKNOWN_ARGUMENTS, self.depth + 1).effects
            return MAYBE
        summary = self.walk.function(callee, arguments, self.depth + 1)
        self.block |= summary.effects
        return summary.result

    def _hand_out(self, callback: int) -> None:
        self.block |= _unsure(self.walk.function(callback, _UNKNOWN_ARGUMENTS, self.depth + 1).effects)

    def _leave(self, index: int, result: Value) -> None:
        self.results.append(result)
        if self.depth == 0 and result == UNSET:
            self.block.add(Effect(Act.NO_RESULT, 0, index, True))


# The order of blocks

_END = -1
"""The block behind every last block of a function."""


def _sure_blocks(start: int, paths: Mapping[int, Sequence[tuple[int, bool]]]) -> frozenset[int]:
    """Return the sure blocks; ``paths`` has the next blocks, and whether each is certain.

    A block is sure if a sure block goes on to it for certain, or if it post-dominates a sure block: every
    path from that block to the end of the function leads through it.
    """
    after = _post_dominators(paths)
    sure, pending = {start}, [start]
    while pending:
        block = pending.pop()
        following = [to for to, certain in paths[block] if certain]
        inevitable = after.get(block, _END)
        for to in (*following, inevitable):
            if to != _END and to not in sure:
                sure.add(to)
                pending.append(to)
    return frozenset(sure)


def _post_dominators(paths: Mapping[int, Sequence[tuple[int, bool]]]) -> dict[int, int]:
    """Return the immediate post-dominator of each block that reaches the end.

    K. D. Cooper, T. J. Harvey, K. Kennedy: A Simple, Fast Dominance Algorithm, on the reversed paths.
    """
    before: dict[int, list[int]] = {_END: []}
    for block, following in paths.items():
        for to in {to for to, _ in following} or {_END}:
            before.setdefault(to, []).append(block)
    order = _backwards(before)
    place = {block: number for number, block in enumerate(order)}
    found = {_END: _END}
    changed = True
    while changed:
        changed = False
        for block in order[1:]:
            known = [to for to in ({to for to, _ in paths[block]} or {_END}) if to in found]
            next_one = known[0]
            for to in known[1:]:
                next_one = _common(next_one, to, found, place)
            if found.get(block) != next_one:
                found[block] = next_one
                changed = True
    return found


def _backwards(before: Mapping[int, Sequence[int]]) -> list[int]:
    """Return the blocks in reverse postorder of a walk from the end."""
    seen, order = {_END}, []
    stack = [(_END, iter(before[_END]))]
    while stack:
        block, rest = stack[-1]
        following = next((one for one in rest if one not in seen), None)
        if following is None:
            order.append(block)
            stack.pop()
        else:
            seen.add(following)
            stack.append((following, iter(before.get(following, ()))))
    return order[::-1]


def _common(one: int, other: int, found: Mapping[int, int], place: Mapping[int, int]) -> int:
    while one != other:
        while place[one] > place[other]:
            one = found[one]
        while place[other] > place[one]:
            other = found[other]
    return one
