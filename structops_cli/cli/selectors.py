"""The argument SELECTOR, with completion from the present maps."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

from structops_cli.errors import StructopsError

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

Function = TypeVar("Function", bound=Callable[..., Any])


def complete_selector(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Complete names and ids of maps, or files after a slash; nothing without permission."""
    from click.shell_completion import CompletionItem  # only completion needs it

    from structops_cli.runtime.inventory import list_maps
    from structops_cli.runtime.kernel import readable_kernel
    from structops_cli.runtime.selection import is_path

    if is_path(incomplete):
        return [CompletionItem(incomplete, type="file")]
    try:
        stock = list_maps(readable_kernel())
    except StructopsError:
        return []
    words = [(item.name, f"{item.type.name}, {item.state}") for item in stock]
    words += [(f"id:{item.info.id}", item.name) for item in stock]
    return [
        CompletionItem(word, help=text)
        for word, text in words
        if word.startswith(incomplete) and word.isprintable()
    ]


def selector_argument(function: Function) -> Function:
    """Add SELECTOR to a command."""
    return click.argument("selector", shell_complete=complete_selector)(function)


def selectors_argument(function: Function) -> Function:
    """Add one or several SELECTORs to a command."""
    return click.argument(
        "selectors", metavar="SELECTOR...", nargs=-1, required=True, shell_complete=complete_selector
    )(function)


def optional_selector_argument(function: Function) -> Function:
    """Add an optional SELECTOR to a command."""
    return click.argument("selector", required=False, shell_complete=complete_selector)(function)
