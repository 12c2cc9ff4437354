"""``structops list``."""

from __future__ import annotations

import click

from structops_cli.cli.live import holders, map_data, pins_of
from structops_cli.cli.output import Output, common_options, table
from structops_cli.cli.unread_btf import warn_unread_types
from structops_cli.library.system import list_maps
from structops_cli.runtime.live_map import LiveMap
from structops_cli.runtime.pin_directory import exposure_of

EXPOSED = " (others can change it)"
"""Marks a pin that users other than root and the caller can change. ``doctor`` shows why."""
HEADER = ("ID", "NAME", "TYPE", "STATE", "LINK", "HOLDERS", "PROGRAMS", "PIN")


@click.command()
@common_options
@click.pass_obj
def command(output: Output) -> None:
    """List every struct_ops map, with its true state.

    States: unset (no value), ready (value set, no link), registered, retired
    (unregistered, and something still holds it), ejected (it has a link, and the kernel
    ended the registration: show tells why). HOLDERS is the kernel's own count of sockets,
    defaults and links; status names them. A pin that other users can change is marked:
    structops doctor tells why. A map whose type cannot be read from the kernel's BTF has
    the type "unknown", and is selected by id:N.
    """
    maps = list_maps()
    warn_unread_types(output, maps)
    output.result("list", lambda: {"maps": [map_data(item) for item in maps]}, lambda: _text(output, maps))


def _text(output: Output, maps: tuple[LiveMap, ...]) -> str:
    if not maps:
        output.note("no struct_ops map on this kernel")
        return ""
    return table(HEADER, [_row(item) for item in maps])


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
