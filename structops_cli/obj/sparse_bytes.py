"""Store mostly zero bytes: ``.bss`` may have hundreds of megabytes."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeAlias

Buffer: TypeAlias = "bytes | memoryview"

_COMPARED_BYTES = 1 << 20
"""The size of the parts in which two values are compared."""


class SparseBytes:
    """Immutable bytes: zeros and ``pieces``, each (start, bytes), in order and apart."""

    __slots__ = ("pieces", "size")

    def __init__(self, size: int, pieces: Iterable[tuple[int, Buffer]] = ()) -> None:
        self.size = size
        self.pieces = tuple(pieces)

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, part: slice) -> bytes:
        """Return a part as ``bytes`` does. The slice has no step."""
        start, end, _ = part.indices(self.size)
        end = max(start, end)
        for at, piece in self.pieces:
            if at <= start and end <= at + len(piece):
                return bytes(piece[start - at : end - at])
        whole = bytearray(end - start)
        for at, piece in self.pieces:
            low, high = max(start, at), min(end, at + len(piece))
            if low < high:
                whole[low - start : high - start] = piece[low - at : high - at]
        return bytes(whole)

    def replaced(self, start: int, end: int, value: bytes) -> SparseBytes:
        """Return the same with ``value`` at ``start``, and zeros behind it up to ``end``."""
        kept: list[tuple[int, Buffer]] = [(start, value)] * bool(value)
        for at, piece in self.pieces:
            view = memoryview(piece)
            before, after = view[: max(start - at, 0)], view[max(end - at, 0) :]
            kept += [(at, before)] * bool(before) + [(at + len(view) - len(after), after)] * bool(after)
        return SparseBytes(self.size, sorted(kept, key=lambda one: one[0]))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, SparseBytes | bytes):
            return NotImplemented
        if isinstance(other, SparseBytes) and (self.size, self.pieces) == (other.size, other.pieces):
            return True
        parts = (slice(at, at + _COMPARED_BYTES) for at in range(0, self.size, _COMPARED_BYTES))
        return len(self) == len(other) and all(self[part] == other[part] for part in parts)

    def __hash__(self) -> int:
        return hash(self.size)

    def __repr__(self) -> str:
        stored = sum(len(piece) for _, piece in self.pieces)
        return f"<{self.size} bytes, {stored} of them stored>"
