"""Define the findings of ``doctor``, and run its checks."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from errno import EMFILE, ENFILE
from typing import NamedTuple, TypeAlias

from structops_cli.errors import KernelError, NotPermittedError, StructopsError
from structops_cli.struct_ops.rules.causes import EVERYWHERE
from structops_cli.syscall.mount_table import unmounted

OK, NOTE, PROBLEM = "ok", "note", "problem"
"""A problem needs a repair. A note informs, or names an object that was not inspected."""
LARGEST_FILE = 1 << 20
"""Maximum number of bytes that are read of a configuration file."""


class Finding(NamedTuple):
    """One fact that a check found, with its cause and the fix."""

    check: str
    state: str
    what: str
    why: str = ""
    fix: str = ""


Check: TypeAlias = Callable[[], Iterable[Finding]]


class Tree:
    """The files of a machine below a root directory, ``/`` for this machine."""

    def __init__(self, root: str = "/") -> None:
        self.root = root.rstrip("/")

    def path(self, path: str) -> str:
        """Return the path by which a file of the machine can be opened."""
        return f"{self.root}{path}"

    def read(self, path: str) -> str | None:
        """Return the text of a file; None if it is absent or unreadable.

        Raises ``OSError`` if no file at all can be opened.
        """
        try:
            with open(self.path(path), encoding="utf-8", errors="replace") as file:
                return file.read(LARGEST_FILE)
        except OSError as error:
            if error.errno in EVERYWHERE and error.errno not in NotPermittedError.ERRNOS:
                raise
            return None


def looked_at(name: str, check: Check) -> list[Finding]:
    """Return the findings of a check; an error becomes a note, so that the other checks run."""
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
    """Return the fix for an unmounted file system or an exhausted resource, else ""."""
    if missing := unmounted(text):
        return missing[1]
    return EVERYWHERE[number].hint if number in (EMFILE, ENFILE) else ""
