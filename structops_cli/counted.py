"""Numbers with their nouns, as people write them."""

from __future__ import annotations

__all__ = ["counted"]


def counted(number: int, one: str, several: str = "") -> str:
    """Return a number with its noun, which ends in an s for several when nothing else is given."""
    return f"{number} {one if number == 1 else several or one + 's'}"
