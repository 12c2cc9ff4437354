"""``structops list``."""

from __future__ import annotations

import click

from structops_cli.cli.live import holders, map_data, pins_of
from structops_cli.cli.output import Output, common_options, table
from structops_cli.cli.unread_btf import warn_unread_types
from structops_cli.runtime.inventory import list_settled_maps
from structops_cli.runtime.kernel import readable_kernel
from structops_cli.runtime.live_map import LiveMap
from structops_cli.runtime.pin_directory import exposure_of

__all__ = ["command"]

EXPOSED = " (others can change it)"
"""The mark of a pin that users other than root and the caller can change; doctor says why."""
HEADER = ("ID", "NAME", "TYPE", "STATE", "LINK", "HOLDERS", "PROGRAMS", "PIN")


@click.command()
@common_options
@click.pass_obj
def command(output: Output) -> None:
    """List every struct_ops map: what is registered, what is not yet, and what is retired but still held.

    States: unset (no value), ready (value set, no link), registered, retired
    (unregistered, and something still holds it), ejected (the link is there,
    and the kernel has ended what it registered: show says why). HOLDERS is the kernel's own
    count of sockets, defaults and links; status says who they are. A pin that other users
    can change is marked: structops doctor says why. A map whose type cannot be read from the kernel's BTF
    has the type "unknown", and is selected by id:N.
    """
    stock = list_settled_maps(readable_kernel())
    warn_unread_types(output, stock)
    output.result("list", lambda: {"maps": [map_data(item) for item in stock]}, lambda: _text(output, stock))


def _text(output: Output, stock: tuple[LiveMap, ...]) -> str:
    if not stock:
        output.note("no struct_ops map on this kernel")
        return ""
    return table(HEADER, [_row(item) for item in stock])


def _row(item: LiveMap) -> tuple[str, ...]:
    links = ",".join(str(link.id) for link in item.links)
    pins = ",".join(f"{pin}{EXPOSED if exposure_of(pin) else ''}" for pin in pins_of(item))
    return (
        str(item.info.id),
        item.name,
        item.type.name,
        item.state,
        links or "-",
        holders(item),
        "?" if item.type.unread else str(len(item.program_ids)),
        pins or "-",
    )
