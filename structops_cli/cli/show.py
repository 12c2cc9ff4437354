"""``structops show``."""

from __future__ import annotations

import click

from structops_cli.cli.live import holders, map_data, one_or_several, pins_of
from structops_cli.cli.output import Output, common_options, fields, table
from structops_cli.cli.selectors import selectors_argument
from structops_cli.cli.unread_btf import warn_unread_types
from structops_cli.runtime.inventory import list_settled_maps
from structops_cli.runtime.kernel import readable_kernel
from structops_cli.runtime.live_map import LiveMap, programs_of
from structops_cli.runtime.selection import find_each


@click.command()
@selectors_argument
@common_options
@click.pass_obj
def command(output: Output, selectors: tuple[str, ...]) -> None:
    """Show struct_ops maps with their links, pins and programs.

    JSON has the fields of the map where there is one SELECTOR, and a list of them in "maps" where there are several.
    """
    found = find_each(list_settled_maps(readable_kernel()), selectors)
    warn_unread_types(output, found)
    output.result(
        "show",
        lambda: one_or_several(selectors, [map_data(live) for live in found]),
        lambda: "\n\n".join(map(_text, found)),
    )


def _text(live: LiveMap) -> str:
    head = fields([
        ("name", live.name),
        ("type", live.type.name + (f" (module {live.type.module})" if live.type.module else "")),
        ("state", f"{live.state} ({live.reason})" if live.reason else live.state),
        ("map", f"{live.info.id} ({live.info.name}{', link map' if live.is_link_map else ''})"),
        ("link", ", ".join(str(link.id) for link in live.links) or "none"),
        ("pin", ", ".join(pins_of(live)) or "none"),
        ("holders", holders(live)),
    ])  # fmt: skip
    rows = [
        (program.info.id, program.info.name, ",".join(program.members), program.info.jited_bytes, program.info.tag,
         ",".join(map(str, program.info.map_ids)) or "-")
        for program in programs_of(live)
    ]  # fmt: skip
    programs = table(("PROGRAM", "NAME", "MEMBER", "JITED", "TAG", "MAPS"), rows)
    return f"{head}\n\n{programs}" if rows else head
