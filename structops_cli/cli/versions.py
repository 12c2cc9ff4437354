"""``structops versions``."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from structops_cli.cli.output import Output, common_options, table
from structops_cli.cli.unread_btf import warn_unread_types
from structops_cli.errors import NotFoundError
from structops_cli.operations.versions import Version, kept_pins, versions_of
from structops_cli.runtime.inventory import list_maps
from structops_cli.runtime.kernel import readable_kernel
from structops_cli.runtime.live_map import LiveMap, MapState
from structops_cli.struct_ops.kinds import kind_of

if TYPE_CHECKING:
    from structops_cli.btf.kernel_types import KernelTypes
    from structops_cli.operations.status import MapStatus

__all__ = ["command"]


@click.command()
@click.argument("name", required=False)
@common_options
@click.pass_obj
def command(output: Output, name: str | None) -> None:
    """Show the versions of NAME, or of everything: the registered one, those that are kept, those still in use.

    HOLDERS is the kernel's own count of who uses a version: sockets and defaults,
    and for the registered one its link. With NAME they are looked for, in every
    namespace: SOCKETS is how many run that version, HELD BY who keeps it. DIGEST is
    the same for two versions with the same programs, data and constants.
    """
    kernel = readable_kernel()
    stock = list_maps(kernel)
    found = [one for key in _names(stock, name) for one in versions_of(stock, *key)]
    if name is not None and not found:
        raise NotFoundError(f"no version of {name} is here", hint="structops list shows the maps")
    warn_unread_types(output, [one.live for one in found])
    holders = _look(output, kernel, name) if name is not None else Holders({}, exact=False)
    output.result(
        "versions",
        lambda: {"exact": holders.exact, "versions": [_data(one) | _held(one, holders) for one in found]},
        lambda: _text(found, holders if name is not None else None),
    )


class Holders(NamedTuple):
    """Who holds each map, by its id; not ``exact``: the kernel does not tell versions of one name apart."""

    by_id: dict[int, MapStatus]
    exact: bool

    def sockets(self, one: Version) -> int | None:
        """Return how many sockets run a version, None where that cannot be told, or is no question."""
        held = self.by_id.get(one.live.info.id)
        known = held is not None and self.exact and kind_of(one.live.type.name).naming.chosen_by_name
        return len(held.sockets) if held is not None and known else None


def _look(output: Output, kernel: KernelTypes, name: str) -> Holders:
    from structops_cli.operations.status import find_status  # looks at every namespace: only for a name

    try:
        status = find_status(kernel, name)
    except NotFoundError:  # it went meanwhile
        return Holders({}, exact=False)
    for sentence in status.uses.unseen:
        output.note(f"not seen: {sentence}")
    return Holders({one.live.info.id: one for one in status.maps}, status.uses.exact)


def _names(stock: Iterable[LiveMap], wanted: str | None) -> list[tuple[str, str]]:
    """Return the (type, name) of what is asked for: of one name, or of all that are registered or kept."""
    keys = [
        (live.type.name, live.name)
        for live in stock
        if live.name == wanted or (wanted is None and (live.state == MapState.REGISTERED or kept_pins(live)))
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


def _held(one: Version, holders: Holders) -> dict[str, Any]:
    """Return who holds a version; null where it was not looked for, or cannot be told."""
    held = holders.by_id.get(one.live.info.id) if holders.exact else None
    return {
        "sockets": holders.sockets(one),
        "defaults": [use.netns for use in held.defaults] if held else None,
        "references": held.references._asdict() if held else None,
    }


def _loaded_at(one: Version) -> float | None:
    """Return when the programs were loaded, in seconds since the epoch; None where they are not known."""
    if one.live.type.unread:
        return None
    return time.time() - time.clock_gettime(time.CLOCK_BOOTTIME) + one.loaded_ns / 1e9


def _text(found: Iterable[Version], holders: Holders | None) -> str:
    rows = [
        (
            one.live.info.id,
            one.live.name,
            one.word,
            one.live.refcnt,
            *(_cells(one, holders) if holders else ()),
            len(one.programs),
            one.digest,
            time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(_loaded_at(one))),
            one.pin or next((pin for link in one.live.links for pin in link.pins), "-"),
        )
        for one in found
    ]
    more = ("SOCKETS", "HELD BY") if holders else ()
    return table(("ID", "NAME", "VERSION", "HOLDERS", *more, "PROGRAMS", "DIGEST", "LOADED", "PIN"), rows)


def _cells(one: Version, holders: Holders) -> tuple[int | str, str]:
    from structops_cli.operations.status import held_by

    sockets, held = holders.sockets(one), holders.by_id.get(one.live.info.id)
    return "-" if sockets is None else sockets, (held_by(held) if held and holders.exact else "") or "-"
