"""What ``doctor`` says: one finding for each thing that it looked at."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeAlias

from structops_cli.errors import StructopsError
from structops_cli.records import NamedTuple

__all__ = ["NOTE", "OK", "PROBLEM", "Check", "Finding", "Tree", "looked_at"]

OK, NOTE, PROBLEM = "ok", "note", "problem"
"""A problem is something to repair; a note, something to know, or that could not be looked at."""
LARGEST_FILE = 1 << 20
"""Bytes of a configuration file that are read."""


class Finding(NamedTuple):
    """One thing that was looked at: what is so, why that matters, and what to do about it."""

    check: str
    state: str
    what: str
    why: str = ""
    fix: str = ""


Check: TypeAlias = Callable[[], Iterable[Finding]]


class Tree:
    """The files of a machine below a root directory: ``/`` for this one."""

    def __init__(self, root: str = "/") -> None:
        self.root = root.rstrip("/")

    def path(self, path: str) -> str:
        """Return where a file of the machine is to be opened."""
        return f"{self.root}{path}"

    def read(self, path: str) -> str | None:
        """Return a file's text; None when it is not there or cannot be read."""
        try:
            with open(self.path(path), encoding="utf-8", errors="replace") as file:
                return file.read(LARGEST_FILE)
        except OSError:
            return None


def looked_at(name: str, check: Check) -> list[Finding]:
    """Return what a check finds; what keeps it from looking is a note, and no end of the others."""
    try:
        return list(check())
    except StructopsError as error:
        return [Finding(name, NOTE, "could not be looked at", str(error), error.hint)]
    except OSError as error:
        return [Finding(name, NOTE, "could not be looked at", error.strerror or str(error))]
