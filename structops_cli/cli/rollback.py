"""``structops rollback``."""

from __future__ import annotations

import click

from structops_cli.cli.mutation import caller_of, change_data, did, dry_run_option
from structops_cli.cli.numbers import MapId
from structops_cli.cli.output import Output, common_options, fields, shown
from structops_cli.cli.replaced import (
    keep_option,
    note_old_version,
    outdated_text,
    replaced_data,
    replaced_fields,
    replaced_stands,
    restart_option,
)
from structops_cli.cli.selectors import selector_argument
from structops_cli.cli.unread_btf import warn_unread_types
from structops_cli.library.registration import rollback
from structops_cli.operations.rollback import RolledBack


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

    The kept version replaces the registered one atomically, as an update does. The
    replaced version is kept in turn. A second rollback changes nothing; --to goes back
    further, or forward again. structops versions shows the kept versions.
    """
    done = rollback(selector, to, keep=keep, restart=restart, dry_run=dry_run, caller=caller_of(output))
    warn_unread_types(output, [done.live], "defaults of namespaces were not written again")
    data = change_data(done.changes, dry_run=dry_run)
    data |= replaced_data(done.replaced, done.outdated)
    data["newer"] = [one.live.info.id for one in done.newer]
    output.result("rollback", data, lambda: _text(done, dry_run=dry_run), replaced_stands(done.live))
    note_old_version(output, done.live, done.replaced, done.outdated)


def _text(done: RolledBack, *, dry_run: bool) -> str:
    name, map_id = shown(f"{done.live.name} ({done.live.type.name})"), done.version.live.info.id
    if done.replaced is None:
        outdated = shown(outdated_text(done.outdated, dry_run=dry_run))
        since = f", and was gone back to from id:{done.newer[0].live.info.id}" if done.newer else ""
        return f"{name} is map {map_id} already{since}: {outdated}"
    new = done.replaced.map_id or "new"
    lines = fields(
        [
            ("map", f"{new} ({done.version.live.info.name}), was {done.live.info.id}"),
            *replaced_fields(done.replaced, dry_run=dry_run),
        ],
        indent=2,
    )
    return f"{did('rolled back', 'roll back', dry_run=dry_run)} {name}\n{lines}"
