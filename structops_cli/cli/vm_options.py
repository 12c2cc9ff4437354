"""What the options of commands that boot a guest are made of."""

from __future__ import annotations

import os
import re

from structops_cli.errors import UsageError

__all__ = ["file_from", "variable_from", "wish_from"]

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
"""Of a variable that a shell can set."""


def wish_from(text: str) -> tuple[str, str]:
    """Return what is to be brought back, and to where."""
    there, _, here = text.partition(":")
    if not (there and here):
        raise UsageError(
            f"--fetch {text} has no : between two paths", hint="write it as in structops vm run --help"
        )
    return there, here


def variable_from(text: str) -> tuple[str, str]:
    """Return a variable and its value, which may be empty and have any letter."""
    name, equals, value = text.partition("=")
    if not equals or not _NAME.fullmatch(name):
        raise UsageError(
            f"--env {text} sets no variable",
            why="a name has letters, digits and _, and does not begin with a digit"
            if equals
            else "it has no =",
            hint="write --env NAME=VALUE",
        )
    return name, value


def file_from(text: str) -> tuple[str, str]:
    """Return what is to be taken along, and to where; a file whose name has a colon is that file."""
    here, _, there = (text, "", "") if os.path.lexists(text) else text.partition(":")
    return here, there or os.path.basename(os.path.abspath(here))
