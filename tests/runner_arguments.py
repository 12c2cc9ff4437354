"""Split the arguments of a test runner from those of pytest, which follow ``--``."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["split_at_dashes"]


def split_at_dashes(arguments: Sequence[str]) -> tuple[list[str], tuple[str, ...]]:
    """Return the words before the first ``--`` and the words after it."""
    words = list(arguments)
    place = words.index("--") if "--" in words else len(words)
    return words[:place], tuple(words[place + 1 :])
