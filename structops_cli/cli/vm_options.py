"""Parse the options of commands that boot a guest."""

from __future__ import annotations

import os
import re

from structops_cli.errors import UsageError

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
"""The name of a variable that a shell can set."""


def wish_from(text: str) -> tuple[str, str]:
    """Return the path in the guest and the path here of --fetch."""
    there, _, here = text.partition(":")
    if not (there and here):
        raise UsageError(
            f"--fetch {text} has no : between two paths", hint="write it as in structops vm run --help"
        )
    return there, here


def variable_from(text: str) -> tuple[str, str]:
    """Return the name and the value of --env. The value may be any text."""
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
    """Return the path here, which may contain a colon, and the path in the guest of --file."""
    here, _, there = (text, "", "") if os.path.lexists(text) else text.partition(":")
    return here, there or os.path.basename(os.path.abspath(here))
