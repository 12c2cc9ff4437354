"""Choose the network namespaces that an operation changes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from structops_cli.errors import UsageError
from structops_cli.net.namespaces import NetNamespace, own_namespace, select_namespaces


class NamespaceChoice(NamedTuple):
    """The namespaces ``words`` (``select_namespaces``); ``every``: all but the initial one.

    Without either it is the caller's own namespace. ``one``: the operation takes one namespace.
    """

    words: tuple[str, ...] = ()
    every: bool = False
    one: bool = False


def target_namespaces(found: Sequence[NetNamespace], choice: NamespaceChoice) -> tuple[NetNamespace, ...]:
    """Resolve a choice among the reachable namespaces.

    The initial namespace has to be named, with ``every`` too: raises ``UsageError`` if
    it is the caller's own and the choice names none.
    """
    chosen = list(select_namespaces(found, choice.words))
    if choice.every:
        chosen += [item for item in found if not item.is_initial and item not in chosen]
    elif not choice.words:
        own = own_namespace()
        if own.is_initial:
            several = "" if choice.one else ", or --all-netns for all but the initial one"
            raise UsageError(
                "which network namespace?" if choice.one else "which network namespaces?",
                why="the initial one is changed only when it is named",
                hint=f"--netns NS (--netns initial for the machine's own){several}",
            )
        chosen = [item for item in found if item.inode == own.inode] or [own]
    return tuple(chosen)
