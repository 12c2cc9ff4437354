"""The directive ``public``: one part of the public library, from ``structops_cli.__all__``.

.. public:: functions

The parts are ``functions``, ``types`` and ``errors``.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

import structops_cli

__all__ = ["PublicNames", "setup"]

DIRECTIVES = {"functions": "autofunction", "types": "autoclass", "errors": "autoexception"}
FIELD = "Alias for field number"
"""Python's docstring of a field of a NamedTuple. It says nothing."""


def names(part: str) -> Iterator[str]:
    """Yield the public names of one part, in the order of ``__all__``."""
    for name in structops_cli.__all__:
        value = getattr(structops_cli, name)
        if not name.startswith("_") and part == part_of(value):
            yield name


def part_of(value: object) -> str:
    """Return the part that a public value belongs to."""
    if isinstance(value, type):
        return "errors" if issubclass(value, BaseException) else "types"
    return "functions" if callable(value) else ""


class PublicNames(SphinxDirective):
    """Write the reference of one part."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """Return what autodoc makes of each name."""
        part = self.arguments[0]
        options = "" if part == "functions" else "\n   :members:"
        options += "\n   :undoc-members:" if part == "types" else ""
        text = "\n\n".join(f".. {DIRECTIVES[part]}:: structops_cli.{name}{options}" for name in names(part))
        return list(self.parse_text_to_nodes(text))


def drop_field_text(
    _app: Sphinx, _what: str, _name: str, _value: object, _options: Any, lines: list[str]
) -> None:
    """Leave out the docstring that Python gives to a field of a NamedTuple."""
    if lines and lines[0].startswith(FIELD):
        lines.clear()


def setup(app: Sphinx) -> dict[str, Any]:
    """Add the directive, and the hook for fields."""
    app.add_directive("public", PublicNames)
    app.connect("autodoc-process-docstring", drop_field_text)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
