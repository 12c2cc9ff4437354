"""Which blocks of a function the verifier is sure to come to, from the ways between them. Pure.

A block is sure when a sure block goes on to it for certain, or when every way from a sure
block to the function's end leads through it (it post-dominates that block).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

__all__ = ["sure_blocks"]

_END = -1
"""Behind every block that the function ends with."""


def sure_blocks(start: int, ways: Mapping[int, Sequence[tuple[int, bool]]]) -> frozenset[int]:
    """Return the blocks that are sure; ``ways`` has for each block the next ones, and whether each is certain."""
    after = _post_dominators(ways)
    sure, pending = {start}, [start]
    while pending:
        block = pending.pop()
        following = [to for to, certain in ways[block] if certain]
        inevitable = after.get(block, _END)
        for to in (*following, inevitable):
            if to != _END and to not in sure:
                sure.add(to)
                pending.append(to)
    return frozenset(sure)


def _post_dominators(ways: Mapping[int, Sequence[tuple[int, bool]]]) -> dict[int, int]:
    """Return the next block through which every way to the end leads, for each block that reaches the end.

    K. D. Cooper, T. J. Harvey, K. Kennedy: A Simple, Fast Dominance Algorithm, on the ways backwards.
    """
    before: dict[int, list[int]] = {_END: []}
    for block, following in ways.items():
        for to in {to for to, _ in following} or {_END}:
            before.setdefault(to, []).append(block)
    order = _backwards(before)
    place = {block: number for number, block in enumerate(order)}
    found = {_END: _END}
    changed = True
    while changed:
        changed = False
        for block in order[1:]:
            known = [to for to in ({to for to, _ in ways[block]} or {_END}) if to in found]
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
