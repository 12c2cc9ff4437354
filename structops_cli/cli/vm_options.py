"""What the options of commands that boot a guest are made of."""

from __future__ import annotations

import math
import os
import re

import click

from structops_cli.errors import UsageError

__all__ = ["Seconds", "file_from", "variable_from", "wish_from"]

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
"""Of a variable that a shell can set."""


class Seconds(click.FloatRange):
    """How long something may take: one second or more."""

    def __init__(self) -> None:
        super().__init__(min=1)

    def convert(self, value: float, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Return the number; nan, which is neither below nor above anything, is none."""
        seconds: float = super().convert(value, param, ctx)
        if math.isnan(seconds):
            self.fail(f"{value} is no number of seconds", param, ctx)
        return seconds


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
