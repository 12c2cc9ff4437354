"""``structops rollback``."""

from __future__ import annotations

import click

from structops_cli.cli.mutation import change_data, did, dry_run_option, mutating
from structops_cli.cli.numbers import MapId
from structops_cli.cli.output import Output, common_options, fields, shown
from structops_cli.cli.selectors import selector_argument
from structops_cli.cli.swapped import (
    caught_up_text,
    keep_option,
    restart_option,
    say_unfollowed,
    swap_change,
    swap_stands,
    swapped_data,
    swapped_fields,
)
from structops_cli.cli.unread_btf import warn_unread_types
from structops_cli.operations.rollback import RolledBack, rollback
from structops_cli.runtime.inventory import list_maps
from structops_cli.runtime.kernel import readable_kernel
from structops_cli.runtime.selection import find_to_change

__all__ = ["command"]


@click.command()
@selector_argument
@click.option(
    "--to", metavar="ID", type=MapId(), help="Go back to this version.  [default: the last replaced]"
)
@restart_option
@keep_option
@dry_run_option
@common_options
@click.pass_obj
def command(
    output: Output, selector: str, *, to: int | None, restart: bool, keep: int, dry_run: bool
) -> None:
    """Go back to a version that structops update replaced and kept.

    It takes the place of the registered one as atomically as that took its own,
    and what it replaces is kept in turn. Once more is nothing to do; --to goes
    back further, or forward again. structops versions shows what is kept.
    """
    with mutating(output, dry_run=dry_run):
        stock = list_maps(readable_kernel())
        done = rollback(
            stock, find_to_change(stock, selector), to, keep=keep, dry_run=dry_run, by_restart=restart
        )
    warn_unread_types(output, [done.live], "defaults of namespaces were not written again")
    late = done.caught_up.changes if done.caught_up else []
    data = change_data([swap_change(done.live, _map_id(done)), *late], dry_run=dry_run)
    data |= swapped_data(done.done, done.gap_ns, done.caught_up)
    data["newer"] = [one.live.info.id for one in done.forward]
    output.result("rollback", data, lambda: _text(done, dry_run=dry_run), swap_stands(done.live))
    say_unfollowed(output, done.live, done.done, done.gap_ns, done.caught_up)


def _text(done: RolledBack, *, dry_run: bool) -> str:
    name, map_id = shown(f"{done.live.name} ({done.live.type.name})"), done.version.live.info.id
    if done.done is None:
        since = f", and was gone back to from id:{done.forward[0].live.info.id}" if done.forward else ""
        return (
            f"{name} is map {map_id} already{since}: {shown(caught_up_text(done.caught_up, dry_run=dry_run))}"
        )
    lines = fields(
        [
            ("map", f"{done.done.map_id or 'new'} ({done.version.live.info.name}), was {done.live.info.id}"),
            *swapped_fields(done.done, done.gap_ns, dry_run=dry_run),
        ],
        indent=2,
    )
    return f"{did('rolled back', 'roll back', dry_run=dry_run)} {name}\n{lines}"


def _map_id(done: RolledBack) -> int:
    """Return the map that is registered now, 0 for one that is still to be made."""
    return done.done.map_id if done.done else done.version.live.info.id
