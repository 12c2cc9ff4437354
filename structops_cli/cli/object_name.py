"""The type of the argument OBJ, with completion."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem


class ObjectName(click.Path):
    """The name of a bundled object, or a path: with a slash, or ending in ``.o``."""

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        """Complete bundled names and ``.o`` files of this folder, or files after a slash."""
        from click.shell_completion import CompletionItem  # only completion needs it

        from structops_cli.runtime.objects import bundled_objects

        if os.sep in incomplete:
            return [CompletionItem(incomplete, type="file")]
        words = [(name, "bundled") for name in bundled_objects()]
        with suppress(OSError):  # the caller may not list this folder
            words += [(name, "file") for name in sorted(os.listdir()) if name.endswith(".o")]
        found = [CompletionItem(word, help=text) for word, text in words if word.startswith(incomplete)]
        return [CompletionItem(incomplete, type="dir"), *found]  # shells use it where no word matches
