"""Which live maps a selector means, and what is said of one that means none or several."""

from __future__ import annotations

from structops_cli.errors import AmbiguousError, NotFoundError
from structops_cli.runtime.inventory import LiveMap
from structops_cli.shell_words import shell_words

__all__ = ["find_one", "matching", "no_match"]


def matching(stock: tuple[LiveMap, ...], selector: str) -> tuple[LiveMap, ...]:
    """Return the maps that a selector means: ``id:N``, a bare number, a registered name, or a map's name."""
    number = selector.removeprefix("id:")
    if number.isdecimal() and (
        selector.startswith("id:") or not any(selector in (m.name, m.info.name) for m in stock)
    ):
        return tuple(item for item in stock if item.info.id == int(number))
    named = tuple(item for item in stock if item.name == selector)
    return named or tuple(item for item in stock if item.info.name == selector)


def find_one(stock: tuple[LiveMap, ...], selector: str) -> LiveMap:
    """Return the one map that a selector means.

    A registered one wins over those of its name that were replaced, or are not
    registered yet, and these over retired and ejected ones.
    """
    found = matching(stock, selector)
    if not found:
        raise no_match(selector)
    alive = tuple(item for item in found if item.state == "registered") or tuple(
        item for item in found if item.state not in ("retired", "ejected")
    )
    if len(alive or found) > 1:
        raise AmbiguousError(
            f"{selector} matches {len(found)} struct_ops maps",
            why="; ".join(f"id:{item.info.id} ({item.type.name}, {item.state})" for item in found),
            hint="select by id: id:N",
            candidates=[f"id:{item.info.id}" for item in found],
        )
    return (alive or found)[0]


def no_match(selector: str) -> NotFoundError:
    """Return what there is to say of a selector that no map matches: perhaps only the pin of a detached link is left."""
    from structops_cli.runtime.dead_pins import dead_pins  # only what is not found needs it

    if dead := dead_pins(selector):
        return NotFoundError(
            f"{selector} is not registered",
            why=f"its link was detached, and only the pin is left: {', '.join(dead)}",
            hint=f"structops register OBJ replaces that pin; {shell_words('structops', 'unregister', selector)} takes it away",
        )
    return NotFoundError(
        f"no struct_ops map matches {selector}",
        why="it is neither the id, the registered name nor the map name of one",
        hint="structops list shows what there is",
    )
