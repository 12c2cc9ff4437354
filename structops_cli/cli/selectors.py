"""SELECTOR, as an argument with live completion."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

from structops_cli.errors import StructopsError

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

__all__ = ["optional_selector_argument", "selector_argument"]

Function = TypeVar("Function", bound=Callable[..., Any])


def _complete(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Offer names and ids of what is there now; nothing where the caller may not look."""
    from click.shell_completion import CompletionItem  # completion must not slow parsing

    from structops_cli.runtime.inventory import take_stock
    from structops_cli.runtime.kernel import live_kernel

    try:
        stock = take_stock(live_kernel())
    except StructopsError:
        return []
    words = [(item.name, f"{item.type.name}, {item.state}") for item in stock]
    words += [(f"id:{item.info.id}", item.name) for item in stock]
    return [CompletionItem(word, help=text) for word, text in words if word.startswith(incomplete)]


def selector_argument(function: Function) -> Function:
    """Give a command its SELECTOR."""
    return click.argument("selector", shell_complete=_complete)(function)


def optional_selector_argument(function: Function) -> Function:
    """Give a command a SELECTOR that may be left out, for everything there is."""
    return click.argument("selector", required=False, shell_complete=_complete)(function)
