"""``structops versions``."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import click

from structops_cli.cli.output import Output, common_options, table
from structops_cli.cli.unread_btf import warn_unread_types
from structops_cli.operations.versions import Version, all_versions
from structops_cli.runtime.inventory import list_maps
from structops_cli.runtime.kernel import readable_kernel

if TYPE_CHECKING:
    from structops_cli.btf.kernel_types import KernelTypes
    from structops_cli.operations.version_holders import VersionHolders


@click.command()
@click.argument("name", required=False)
@common_options
@click.pass_obj
def command(output: Output, name: str | None) -> None:
    """Show the versions of NAME, or of all names: the registered one, kept ones, and those still in use.

    HOLDERS is the kernel's own count of references: sockets and defaults, and for the
    registered version its link. With NAME every namespace is inspected: SOCKETS is the
    number of sockets that run the version, HELD BY names the holders. Two versions with
    the same programs, data and constants have the same DIGEST.
    """
    kernel = readable_kernel()
    found = all_versions(list_maps(kernel), name)
    warn_unread_types(output, [one.live for one in found])
    holders = _holders(output, kernel, name)
    output.result(
        "versions",
        lambda: {
            "exact": bool(holders and holders.exact),
            "versions": [_data(one) | _held(one, holders) for one in found],
        },
        lambda: _text(found, holders),
    )


def _holders(output: Output, kernel: KernelTypes, name: str | None) -> VersionHolders | None:
    """Return the holders of the versions of a name; None without a name."""
    if name is None:
        return None
    from structops_cli.operations.version_holders import find_holders  # inspects every namespace

    holders = find_holders(kernel, name)
    for sentence in holders.not_inspected:
        output.note(f"not seen: {sentence}")
    return holders


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


def _held(one: Version, holders: VersionHolders | None) -> dict[str, Any]:
    """Return the holders of a version; null if they are unknown."""
    held = holders.status_of(one) if holders else None
    return {
        "sockets": holders.sockets(one) if holders else None,
        "defaults": [use.netns for use in held.defaults] if held else None,
        "references": held.references._asdict() if held else None,
    }


def _loaded_text(one: Version) -> str:
    at = _loaded_at(one)
    return "-" if at is None else time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(at))


def _loaded_at(one: Version) -> float | None:
    """Return the load time of the programs in seconds since 1970; None if it is unknown."""
    if one.live.type.unread:
        return None
    return time.time() - time.clock_gettime(time.CLOCK_BOOTTIME) + one.loaded_ns / 1e9


def _text(found: Iterable[Version], holders: VersionHolders | None) -> str:
    rows = [
        (
            one.live.info.id,
            one.live.name,
            one.word,
            one.live.refcnt,
            *(_cells(one, holders) if holders else ()),
            len(one.programs),
            one.digest,
            _loaded_text(one),
            one.pin or next((pin for link in one.live.links for pin in link.pins), "-"),
        )
        for one in found
    ]
    more = ("SOCKETS", "HELD BY") if holders else ()
    return table(("ID", "NAME", "VERSION", "HOLDERS", *more, "PROGRAMS", "DIGEST", "LOADED", "PIN"), rows)


def _cells(one: Version, holders: VersionHolders) -> tuple[int | str, str]:
    sockets = holders.sockets(one)
    return "-" if sockets is None else sockets, holders.words(one) or "-"
