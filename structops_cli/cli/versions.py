"""``structops versions``."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any

import click

from structops_cli.cli.output import Output, common_options, table
from structops_cli.errors import NotFoundError
from structops_cli.operations.versions import Version, kept_pins, versions_of
from structops_cli.runtime.inventory import LiveMap, take_stock
from structops_cli.runtime.kernel import live_kernel

__all__ = ["command"]


@click.command()
@click.argument("name", required=False)
@common_options
@click.pass_obj
def command(output: Output, name: str | None) -> None:
    """Show the versions of NAME, or of everything: the registered one, those that are kept, those still in use.

    HOLDERS is the kernel's own count of who uses a version: sockets and defaults,
    and for the registered one its link. DIGEST is the same for two versions with
    the same programs, data and constants.
    """
    stock = take_stock(live_kernel())
    found = [one for key in _names(stock, name) for one in versions_of(stock, *key)]
    if name is not None and not found:
        raise NotFoundError(f"no version of {name} is here", hint="structops list shows what there is")
    output.result("versions", lambda: {"versions": [_data(one) for one in found]}, lambda: _text(found))


def _names(stock: Iterable[LiveMap], wanted: str | None) -> list[tuple[str, str]]:
    """Return the (type, name) of what is asked for: of one name, or of all that are registered or kept."""
    keys = [
        (live.type.name, live.name)
        for live in stock
        if live.name == wanted or (wanted is None and (live.state == "registered" or kept_pins(live)))
    ]
    return sorted(set(keys), key=lambda key: key[1])


def _data(one: Version) -> dict[str, Any]:
    return {
        "name": one.live.name,
        "type": one.live.type.name,
        "map_id": one.live.info.id,
        "map_name": one.live.info.name,
        "version": one.word,
        "state": one.live.state,
        "digest": one.digest,
        "loaded_at": _loaded_at(one),
        "replaced_at": one.kept_ns / 1e9 or None,
        "refcnt": one.live.refcnt,
        "pin": one.pin or None,
        "links": [{"id": link.id, "pins": list(link.pins)} for link in one.live.links],
        "programs": [
            {"id": item.info.id, "name": item.info.name, "members": list(item.members), "tag": item.info.tag}
            for item in one.programs
        ],
    }


def _loaded_at(one: Version) -> float:
    """Return when the programs were loaded, in seconds since the epoch."""
    return time.time() - time.clock_gettime(time.CLOCK_BOOTTIME) + one.loaded_ns / 1e9


def _text(found: Iterable[Version]) -> str:
    rows = [
        (
            one.live.info.id,
            one.live.name,
            one.word,
            one.live.refcnt,
            len(one.programs),
            one.digest,
            time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(_loaded_at(one))),
            one.pin or next((pin for link in one.live.links for pin in link.pins), "-"),
        )
        for one in found
    ]
    return table(("ID", "NAME", "VERSION", "HOLDERS", "PROGRAMS", "DIGEST", "LOADED", "PIN"), rows)
