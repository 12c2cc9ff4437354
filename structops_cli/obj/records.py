"""Records that belong to instructions: moved along when the instructions move."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, TypeVar

__all__ = ["Record", "moved"]

Record = TypeVar("Record", bound=tuple[Any, ...])
"""FuncInfo, LineInfo, CoreRelo or Relocation: the index of the instruction is the first field of each."""


def moved(records: Sequence[Record], distance: int) -> Iterator[Record]:
    """Return the records with ``distance`` added to their instruction index.

    There is one for every source line, and ``_replace`` takes three times as long.
    """
    if distance == 0:
        return iter(records)
    return (tuple.__new__(type(record), (record[0] + distance, *record[1:])) for record in records)
