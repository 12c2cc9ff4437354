"""What ``doctor`` says: one finding for each thing that it looked at."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from errno import EMFILE, ENFILE
from typing import NamedTuple, TypeAlias

from structops_cli.errors import KernelError, NotPermittedError, StructopsError
from structops_cli.struct_ops.rules.causes import EVERYWHERE
from structops_cli.syscall.mount_table import unmounted

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
        """Return a file's text; None when it is not there or may not be read. ``OSError`` where no file can be opened."""
        try:
            with open(self.path(path), encoding="utf-8", errors="replace") as file:
                return file.read(LARGEST_FILE)
        except OSError as error:
            if error.errno in EVERYWHERE and error.errno not in NotPermittedError.ERRNOS:
                raise
            return None


def looked_at(name: str, check: Check) -> list[Finding]:
    """Return what a check finds; what keeps it from looking is a note, and no end of the others."""
    try:
        return list(check())
    except StructopsError as error:
        number = error.errno if isinstance(error, KernelError) else 0
        return [
            Finding(name, NOTE, "could not be looked at", str(error), error.hint or _fix(str(error), number))
        ]
    except OSError as error:
        fix = _fix(str(error), error.errno)
        return [Finding(name, NOTE, "could not be looked at", error.strerror or str(error), fix)]


def _fix(text: str, number: int | None) -> str:
    """Return what helps against a folder that is not mounted, or a resource that has run out."""
    if missing := unmounted(text):
        return missing[1]
    return EVERYWHERE[number].hint if number in (EMFILE, ENFILE) else ""
