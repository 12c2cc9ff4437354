"""The directive ``command``: the reference of one command, made from click by sphinx-click.

.. command:: register

sphinx-click imports a command by ``MODULE:ATTRIBUTE``. This module has every command as an attribute, so no page
depends on the module that holds the command.
"""

from __future__ import annotations

from typing import Any

import click
from docutils import nodes
from sphinx.application import Sphinx
from sphinx_click.ext import ClickDirective

from structops_cli.cli.main import cli

__all__ = ["CommandReference", "cli", "setup"]


def __getattr__(name: str) -> click.Command:
    """Return the command ``name``."""
    command = cli.get_command(click.Context(cli, info_name="structops"), name)
    if command is None:
        raise AttributeError(name)
    return command


class CommandReference(ClickDirective):
    """Write usage, options and subcommands of a command; the page has the heading."""

    def run(self) -> list[nodes.Node]:
        """Return what sphinx-click makes, without its heading. ``cli`` is the group without its commands."""
        name = self.arguments[0]
        self.arguments = [f"{__name__}:{name}"]
        self.options |= {
            "prog": "structops" if name == "cli" else f"structops {name}",
            "nested": "none" if name == "cli" else "full",
        }
        return [node for section in super().run() for node in section.children[1:]]


def setup(app: Sphinx) -> dict[str, Any]:
    """Add the directive."""
    app.add_directive("command", CommandReference)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
