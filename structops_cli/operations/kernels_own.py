"""Words that mean a map by its own name, and one of the kernel's own algorithms to everybody else."""

from __future__ import annotations

from collections.abc import Iterable

from structops_cli.errors import AmbiguousError
from structops_cli.runtime.inventory import LiveMap
from structops_cli.runtime.selection import find_one, matching
from structops_cli.struct_ops.kinds import kind_of

__all__ = ["called_like_one", "find_meant", "refuse_what_is_called_like_one"]


def called_like_one(selector: str, found: Iterable[LiveMap]) -> tuple[LiveMap, ...]:
    """Return the congestion controls that a selector found, where it is the name of their maps only and of one of the kernel's own."""
    named = tuple(live for live in found if kind_of(live.type.name).chosen_by_name)
    if selector.startswith("id:") or not named or any(live.name == selector for live in named):
        return ()
    from structops_cli.net.congestion_controls import read_congestion_controls  # no other name collides

    return named if selector in read_congestion_controls().available else ()


def refuse_what_is_called_like_one(selector: str, found: Iterable[LiveMap]) -> None:
    """Raise ``AmbiguousError`` for such a selector: nobody replaces or unregisters what the kernel has under that name."""
    if strangers := called_like_one(selector, found):
        names = ", ".join(dict.fromkeys(live.name for live in strangers))
        raise AmbiguousError(
            f"{selector} is one of the kernel's own algorithms, which stay as they are",
            why=f"maps that are called so are of {names}",
            hint=f"name {strangers[0].name}; or select by id: id:N",
            candidates=[f"id:{live.info.id}" for live in strangers],
        )


def find_meant(stock: tuple[LiveMap, ...], selector: str) -> LiveMap:
    """Return the one map that a selector means, for whoever changes it; raises what ``find_one`` does, and the above."""
    refuse_what_is_called_like_one(selector, matching(stock, selector))
    return find_one(stock, selector)
