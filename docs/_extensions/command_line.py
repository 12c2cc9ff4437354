"""Directives that read the commands from click: ``synopsis``, ``command`` and ``command-list``.

.. synopsis:: register

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

__all__ = ["CommandList", "CommandReference", "Synopsis", "cli", "setup", "summaries"]


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


class Synopsis(SphinxDirective):
    """Write the usage of a command in one line, or that of each subcommand."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """Return one literal block."""
        name = self.arguments[0]
        command = cli if name == "cli" else __getattr__(name)
        words = "structops" if command is cli else f"structops {name}"
        commands = {words: command}
        if command is not cli and isinstance(command, click.Group):
            commands = {f"{words} {sub}": one for sub, one in command.commands.items()}
        lines = [
            " ".join([path, *one.collect_usage_pieces(click.Context(one))]) for path, one in commands.items()
        ]
        text = "\n".join(lines)
        return [nodes.literal_block(text, text, language="text")]


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
    app.add_directive("synopsis", Synopsis)
    app.add_directive("command", CommandReference)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
