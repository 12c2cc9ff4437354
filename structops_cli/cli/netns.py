"""``--netns`` and ``--all-netns``: which network namespaces a command that changes something is for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import click

from structops_cli.errors import StructopsError, UsageError
from structops_cli.net.namespaces import NetNamespace, find_namespaces, own_namespace, select_namespaces

__all__ = ["meant_namespaces", "netns_options"]

Function = TypeVar("Function", bound=Callable[..., Any])


def _complete(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """Offer the titles of the namespaces in sight."""
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


def meant_namespaces(
    found: Sequence[NetNamespace], words: Sequence[str], *, every: bool = False, one: bool = False
) -> tuple[NetNamespace, ...]:
    """Return the namespaces that the options mean; without any, the caller's own if it is not the initial one.

    The initial one is meant only when it is named, with ``every`` too. ``one``: the command has no ``--all-netns``.
    ``UsageError`` when nothing says which.
    """
    chosen = list(select_namespaces(found, words))
    if every:
        chosen += [item for item in found if not item.is_initial and item not in chosen]
    elif not words:
        own = own_namespace()
        if own.is_initial:
            several = "" if one else ", or --all-netns for all but the initial one"
            raise UsageError(
                "which network namespace?" if one else "which network namespaces?",
                why="the initial one is changed only when it is named",
                hint=f"--netns NS (--netns initial for the machine's own){several}",
            )
        chosen = [item for item in found if item.inode == own.inode] or [own]
    return tuple(chosen)
