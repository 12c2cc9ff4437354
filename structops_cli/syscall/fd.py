"""File descriptors with one owner."""

from __future__ import annotations

import os
import warnings
from types import TracebackType
from typing import Self


class Fd:
    """Own one file descriptor. ``with`` or ``close()`` closes it; a forgotten one warns."""

    __slots__ = ("_number",)

    def __init__(self, number: int) -> None:
        self._number = number

    def fileno(self) -> int:
        """Return the number. Raises ``ValueError`` after ``close``."""
        if self._number < 0:
            message = "the file descriptor is closed"
            raise ValueError(message)
        return self._number

    @property
    def closed(self) -> bool:
        """Tell whether ``close`` was called."""
        return self._number < 0

    def close(self) -> None:
        """Close it; a second call does nothing."""
        number, self._number = self._number, -1
        if number >= 0:
            os.close(number)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __del__(self) -> None:
        if getattr(self, "_number", -1) >= 0:
            warnings.warn(f"unclosed {self!r}", ResourceWarning, source=self, stacklevel=2)
            self.close()

    def __repr__(self) -> str:
        return f"Fd({self._number})"
