"""Sparse bytes are sliced, compared and changed as plain ones are."""

from __future__ import annotations

import random
from itertools import pairwise

import pytest

from structops_cli.obj.sparse_bytes import SparseBytes

SIZE = 40


def drawn(source: random.Random) -> tuple[SparseBytes, bytes]:
    """Return the same contents twice, made by the same random changes."""
    first = bytes(source.randrange(256) for _ in range(source.choice((0, SIZE))))
    sparse, plain = SparseBytes(SIZE, [(0, memoryview(first))] if first else []), first or bytes(SIZE)
    for _ in range(source.randrange(6)):
        start = source.randrange(SIZE)
        end = source.randrange(start, SIZE + 1)
        value = bytes(source.randrange(1, 256) for _ in range(source.randrange(end - start + 1)))
        sparse = sparse.replaced(start, end, value)
        plain = plain[:start] + value.ljust(end - start, b"\0") + plain[end:]
    return sparse, plain


@pytest.mark.parametrize("seed", range(200))
def test_as_plain_bytes(seed: int) -> None:
    source = random.Random(seed)
    sparse, plain = drawn(source)
    assert len(sparse) == len(plain)
    assert sparse[:] == plain
    assert sparse == plain
    assert sparse == SparseBytes(SIZE, [(0, plain)])
    for _ in range(20):
        start, end = source.randrange(-SIZE, 2 * SIZE), source.randrange(-SIZE, 2 * SIZE)
        assert sparse[start:end] == plain[start:end], (start, end)
    pieces = [(at, at + len(piece)) for at, piece in sparse.pieces]
    assert pieces == sorted(pieces)
    assert all(start < end for start, end in pieces)
    assert all(before[1] <= after[0] for before, after in pairwise(pieces))


def test_other_contents_are_not_equal() -> None:
    zeros = SparseBytes(4)
    assert zeros == bytes(4)
    assert zeros != bytes(5)
    assert zeros != SparseBytes(4, [(3, b"\1")])
    assert zeros != 4
    assert hash(zeros) == hash(SparseBytes(4, [(0, bytes(4))]))


def test_what_is_not_changed_is_not_copied() -> None:
    data = bytes(range(1, 41))
    changed = SparseBytes(40, [(0, memoryview(data))]).replaced(10, 12, b"xy")
    assert [at for at, _ in changed.pieces] == [0, 10, 12]
    first, _, last = (piece for _, piece in changed.pieces)
    assert isinstance(first, memoryview)
    assert isinstance(last, memoryview)
    assert first.obj is last.obj is data
    assert repr(changed.replaced(0, 40, b"")) == "<40 bytes, 0 of them stored>"
