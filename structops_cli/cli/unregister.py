"""``structops unregister``."""

from __future__ import annotations

from typing import Any

import click

from structops_cli.cli.output import Output, common_options
from structops_cli.cli.selectors import selector_argument
from structops_cli.errors import NotFoundError
from structops_cli.runtime.inventory import LiveMap, find_one, matching, take_stock
from structops_cli.runtime.kernel import live_kernel
from structops_cli.runtime.unregistration import Unregistered, unregister
from structops_cli.struct_ops.kinds import kind_of

__all__ = ["command"]


@click.command()
@selector_argument
@click.option("--all", "every", is_flag=True, help="Unregister every map that SELECTOR matches.")
@common_options
@click.pass_obj
def command(output: Output, selector: str, *, every: bool) -> None:
    """Unregister what SELECTOR means: delete, detach and unpin, by what is found.

    A name that matches more than one is an error that lists them; choose one by
    id, or take --all. What is retired already stays as it is, and is said to.
    """
    stock = take_stock(live_kernel())
    done = [unregister(live) for live in _chosen(stock, selector, every=every)]
    data = {"changed": any(item.changed for item in done), "unregistered": [_data(item) for item in done]}
    output.result("unregister", data, lambda: "\n".join(_line(item) for item in done))


def _chosen(stock: tuple[LiveMap, ...], selector: str, *, every: bool) -> tuple[LiveMap, ...]:
    if not every:
        return (find_one(stock, selector),)
    found = matching(stock, selector)
    if not found:
        raise NotFoundError(
            f"no struct_ops map matches {selector}", hint="structops list shows what there is"
        )
    return found


def _data(item: Unregistered) -> dict[str, Any]:
    return {
        "map_id": item.map_id,
        "name": item.name,
        "type": item.type_name,
        "changed": item.changed,
        "how": item.how,
        "link_ids": list(item.link_ids),
        "pins_removed": list(item.pins_removed),
        "gone": item.gone,
        "refcnt": item.refcnt,
    }


def _line(item: Unregistered) -> str:
    if not item.changed:
        return f"{item.name} (map {item.map_id}) was not registered: nothing to do"
    said = f"unregistered {item.name} (map {item.map_id}, {item.type_name}) by {item.how}"
    if item.pins_removed:
        said += f"; unpinned {', '.join(item.pins_removed)}"
    if not item.gone and item.refcnt:
        holder = kind_of(item.type_name).held_by
        said += f"; {item.refcnt} still hold it: the kernel keeps it until the last {holder} lets go"
    return said
