"""``structops update``."""

from __future__ import annotations

import os

import click

from structops_cli.cli.changes import changing_options, open_changed, selection_from
from structops_cli.cli.mutation import caller_of, change_data, did, dry_run_option
from structops_cli.cli.numbers import MapId
from structops_cli.cli.object_name import ObjectName
from structops_cli.cli.output import Output, common_options, fields, shown
from structops_cli.cli.registered import (
    not_attached_data,
    programs_text,
    registered_data,
    say_aside,
    warn_left_out,
)
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
from structops_cli.cli.unread_btf import warn_skipped_modules
from structops_cli.operations.update import Updated, UpdateOptions, update
from structops_cli.runtime.kernel import start_live_kernel
from structops_cli.syscall import bpffs


@click.command()
@selector_argument
@click.argument("object_name", metavar="OBJ", type=ObjectName())
@click.option(
    "--expect-map", metavar="ID", type=MapId(), help="Refuse unless this map is the registered one."
)
@click.option("--only", metavar="VAR", multiple=True, help="Take this struct_ops variable of OBJ.")
@changing_options
@click.option(
    "--map-pin-dir",
    metavar="DIR",
    help="Directory of a bpffs for maps that are shared by name.  [default: the bpffs]",
)
@restart_option
@keep_option
@dry_run_option
@common_options
@click.pass_obj
def command(
    output: Output,
    selector: str,
    object_name: str,
    *,
    expect_map: int | None,
    only: tuple[str, ...],
    members: tuple[str, ...],
    constants: tuple[str, ...],
    maps: tuple[str, ...],
    map_pin_dir: str | None,
    restart: bool,
    keep: int,
    dry_run: bool,
) -> None:
    """Replace a registered map by the version in OBJ, atomically: no connection is dropped.

    The new version has the type and the name of the old one, and replaces it
    behind its link. Open sockets stay with their version. The defaults
    of network namespaces are written again, so that new sockets get the new version.
    The old version is kept for structops rollback. If OBJ is the registered version, only
    defaults that are an older version are written again. An object is another version
    if --set names a global variable that has another value now.
    """
    selection = selection_from(only, None, members)
    begun = start_live_kernel()
    spec = open_changed(object_name, constants, maps)
    map_pin_dir = os.path.abspath(map_pin_dir or bpffs.DEFAULT)
    options = UpdateOptions(keep, map_pin_dir, restart, expect_map)
    kernel = begun()
    done = update(kernel, selector, spec, selection, options, dry_run=dry_run, caller=caller_of(output))
    warn_skipped_modules(output, kernel)
    _report(output, done, dry_run=dry_run)


def _report(output: Output, done: Updated, *, dry_run: bool) -> None:
    data = change_data(done.changes, dry_run=dry_run)
    data |= replaced_data(done.replaced, done.outdated)
    data["registered"] = registered_data(done.object)
    data["not_attached"] = not_attached_data(done.object.spec)
    warn_left_out(output, done.object)
    output.result("update", data, lambda: _text(done, dry_run=dry_run), replaced_stands(done.live))
    say_aside(output, done.object)
    note_old_version(output, done.live, done.replaced, done.outdated)


def _text(done: Updated, *, dry_run: bool) -> str:
    [one] = done.object.registered
    name = shown(f"{one.name} ({one.type_name})")
    if done.replaced is None:
        outdated = shown(outdated_text(done.outdated, dry_run=dry_run))
        return f"{name} is this version already (map {one.map_id}): {outdated}"
    lines = fields(
        [
            ("map", f"{one.map_id or 'new'} ({one.map_name}), was {done.live.info.id}"),
            *replaced_fields(done.replaced, dry_run=dry_run),
        ],
        indent=2,
    )
    verb = did("updated", "update", dry_run=dry_run)
    return f"{verb} {name}\n{lines}\n{programs_text(one)}"
