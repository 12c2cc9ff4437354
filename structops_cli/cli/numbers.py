"""Types of numeric options."""

from __future__ import annotations

from math import isfinite
from typing import Any

import click


class WholeNumber(click.IntRange):
    """A whole number within bounds."""

    name = "whole number"


class Seconds(click.FloatRange):
    """A finite number of seconds within bounds."""

    name = "number of seconds"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Return the number. Refuse "nan" and "inf"."""
        number: float = super().convert(value, param, ctx)
        if not isfinite(number):
            self.fail(f"{value!r} is not a valid {self.name}.", param, ctx)
        return number


class MapId(click.types.IntParamType):
    """The id of a map: ``id:N``, as results and errors write it, or a bare number."""

    name = "map id"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Return the number."""
        number = str(value).removeprefix("id:")
        if not (number.isascii() and number.isdecimal()):
            self.fail(f"{value!r} is not a valid {self.name}: N or id:N.", param, ctx)
        return int(number)
