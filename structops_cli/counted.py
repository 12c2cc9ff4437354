"""Write numbers with their nouns."""

from __future__ import annotations


def counted(number: int, one: str, several: str = "") -> str:
    """Return a number with its noun; the plural ends in an s by default."""
    return f"{number} {one if number == 1 else several or one + 's'}"
