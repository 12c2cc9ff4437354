"""``structops update``."""

from __future__ import annotations

import os

import click

from structops_cli.cli.changes import changing_options, open_changed, selection_from
from structops_cli.cli.mutation import change_data, did, dry_run_option, mutating
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
from structops_cli.cli.unread_btf import warn_skipped_modules
from structops_cli.core.target import Target
from structops_cli.operations.update import Request, Updated, expect, update
from structops_cli.runtime.inventory import list_maps
from structops_cli.runtime.kernel import begin_live_kernel
from structops_cli.runtime.selection import find_to_change
from structops_cli.syscall import bpffs

__all__ = ["command"]


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
    """Replace what SELECTOR means by the version in OBJ, atomically: no connection notices.

    The new version has the type and the name of the old one, and takes its place
    behind its link. Open sockets stay with the version that they have; defaults
    of network namespaces are written again, so that new sockets get the new one.
    The old version is kept for structops rollback. Once more is nothing to do, but
    for a default that an older version has still: it is written again. A global
    variable that --set names and that holds another value now is another version.
    """
    selection = selection_from(only, None, members)
    begun = begin_live_kernel()
    spec = open_changed(object_name, constants, maps)
    request = Request(keep, os.path.abspath(map_pin_dir or bpffs.DEFAULT), dry_run, restart)
    kernel = begun()
    with mutating(output, dry_run=dry_run):
        stock = list_maps(kernel)
        live = find_to_change(stock, selector)
        expect(live, expect_map)
        done = update(stock, live, spec, Target(kernel), selection, request)
    warn_skipped_modules(output, kernel)
    _say(output, done, dry_run=dry_run)


def _say(output: Output, done: Updated, *, dry_run: bool) -> None:
    [one] = done.object.registered
    change = swap_change(done.live, one.map_id)
    late = done.caught_up.changes if done.caught_up else []
    data = change_data([change, *late], dry_run=dry_run)
    data |= swapped_data(done.done, done.gap_ns, done.caught_up)
    data["registered"] = registered_data(done.object)
    data["not_attached"] = not_attached_data(done.object.spec)
    warn_left_out(output, done.object)
    output.result("update", data, lambda: _text(done, dry_run=dry_run), swap_stands(done.live))
    say_aside(output, done.object)
    say_unfollowed(output, done.live, done.done, done.gap_ns, done.caught_up)


def _text(done: Updated, *, dry_run: bool) -> str:
    [one] = done.object.registered
    name = shown(f"{one.name} ({one.type_name})")
    if done.done is None:
        caught_up = shown(caught_up_text(done.caught_up, dry_run=dry_run))
        return f"{name} is this version already (map {one.map_id}): {caught_up}"
    lines = fields(
        [
            ("map", f"{one.map_id or 'new'} ({one.map_name}), was {done.live.info.id}"),
            *swapped_fields(done.done, done.gap_ns, dry_run=dry_run),
        ],
        indent=2,
    )
    verb = did("updated", "update", dry_run=dry_run)
    return f"{verb} {name}\n{lines}\n{programs_text(one)}"
