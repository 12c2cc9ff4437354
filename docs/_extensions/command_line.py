"""The directives ``command`` and ``command-list``: the reference of one command, and a list of all, from click.

.. command:: register

sphinx-click imports a command by ``MODULE:ATTRIBUTE``. This module has every command as an attribute, so no page
depends on the module that holds the command.
"""

from __future__ import annotations

from typing import Any

import click
from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective
from sphinx_click.ext import ClickDirective

from structops_cli.cli.main import cli

__all__ = ["CommandList", "CommandReference", "cli", "setup", "summaries"]


def summaries() -> dict[str, str]:
    """Return every command with its help in one line."""
    context = click.Context(cli, info_name="structops")
    commands = {name: cli.get_command(context, name) for name in cli.list_commands(context)}
    return {name: one.get_short_help_str(limit=200).rstrip(".") for name, one in commands.items() if one}


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


class CommandList(SphinxDirective):
    """Write every command with its help in one line, and a link to its page."""

    def run(self) -> list[nodes.Node]:
        """Return one list."""
        items = []
        for name, text in summaries().items():
            link = addnodes.pending_xref("", refdomain="std", reftype="doc", reftarget=name, refexplicit=True)
            link += nodes.literal("", f"structops {name}")
            items.append(nodes.list_item("", nodes.paragraph("", "", link, nodes.Text(f": {text}"))))
        return [nodes.bullet_list("", *items)]


def setup(app: Sphinx) -> dict[str, Any]:
    """Add the directives."""
    app.add_directive("command-list", CommandList)
    app.add_directive("command", CommandReference)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
