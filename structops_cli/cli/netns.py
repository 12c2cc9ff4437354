"""Define ``--netns`` and ``--all-netns`` of commands that change namespaces."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from structops_cli.errors import StructopsError
from structops_cli.net.namespaces import find_namespaces

Function = TypeVar("Function", bound=Callable[..., Any])


def _complete(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """Offer the titles of the reachable namespaces."""
    try:
        return [item.title for item in find_namespaces() if item.title.startswith(incomplete)]
    except (OSError, StructopsError):
        return []


def netns_options(function: Function) -> Function:
    """Give a command ``--netns`` and ``--all-netns``."""
    every = click.option("--all-netns", is_flag=True, help="All network namespaces but the initial one.")
    some = click.option(
        "--netns",
        metavar="NS",
        multiple=True,
        shell_complete=_complete,
        help="A network namespace: initial, a name, a path, pid:N or net:[INODE]; may be repeated.",
    )
    return some(every(function))
