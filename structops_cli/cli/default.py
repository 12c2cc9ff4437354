"""``structops default``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click

from structops_cli.cli.mutation import caller_of, change_data, dry_run_option
from structops_cli.cli.netns import netns_options
from structops_cli.cli.output import Output, Stands, common_options, fields, shown, table
from structops_cli.errors import ExitCode, StructopsError, UsageError
from structops_cli.net.congestion_controls import (
    CongestionControls,
    check_congestion_control_name,
    read_congestion_controls,
)
from structops_cli.net.namespaces import find_namespaces, select_namespaces
from structops_cli.operations.default import (
    DefaultsChanged,
    NamespaceDefault,
    read_defaults,
    restore_defaults,
    set_default,
)
from structops_cli.operations.target_namespaces import NamespaceChoice
from structops_cli.operations.transaction import Change

HEADER = ("NAMESPACE", "DEFAULT", "STATE", "BEFORE", "PROCESSES")


def _complete(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """Offer the congestion controls that are registered."""
    try:
        names = read_congestion_controls().available
    except StructopsError:
        return []
    return [name for name in names if name.startswith(incomplete)]


@click.command()
@click.argument("name", required=False, shell_complete=_complete)
@netns_options
@click.option("--allow", is_flag=True, help="Put it on tcp_allowed_congestion_control if it is not there.")
@click.option("--restore", is_flag=True, help="Put back what was the default before.")
@click.option("--force", is_flag=True, help="With --restore: even where somebody else changed it since.")
@dry_run_option
@common_options
@click.pass_obj
def command(
    output: Output,
    name: str | None,
    netns: tuple[str, ...],
    *,
    all_netns: bool,
    allow: bool,
    restore: bool,
    force: bool,
    dry_run: bool,
) -> int:
    """Make NAME the default congestion control of network namespaces; without NAME, show them.

    NAME is a struct_ops or one of the kernel's own. The initial namespace is
    changed only when it is named (--netns initial). With neither --netns nor
    --all-netns it is the namespace that this is run in, which must not be the
    initial one. All of them are checked before the first is changed, and a failure undoes what
    was done. Open sockets keep what they have; new ones get the default.

    Outside the initial namespace the kernel takes only what is on
    tcp_allowed_congestion_control, one list for all namespaces, and a write that it refuses
    leaks: so that is checked first. --restore ends with 1 where somebody else
    has changed the default since, and leaves it.
    """
    if name is None and not restore:
        _check_only_shown(allow=allow, force=force, dry_run=dry_run)
        _show(output, netns)
        return ExitCode.DONE
    if name is not None:
        check_congestion_control_name(name)
    if restore == (name is not None) or (force and not restore):
        raise UsageError(
            "--restore takes no NAME, and --force goes with --restore only",
            hint="structops default NAME --netns NS, or structops default --restore --netns NS",
        )
    choice = NamespaceChoice(netns, all_netns)
    if name is None:
        done = restore_defaults(choice, allow=allow, force=force, dry_run=dry_run, caller=caller_of(output))
    else:
        done = set_default(name, choice, allow=allow, dry_run=dry_run, caller=caller_of(output))
    _report(output, done, restore=restore, dry_run=dry_run)
    return ExitCode.FAILED if done.left else ExitCode.DONE


def _check_only_shown(*, allow: bool, force: bool, dry_run: bool) -> None:
    if allow or force or dry_run:
        raise UsageError(
            "there is no NAME to make the default",
            hint="structops default NAME --netns NS; without NAME the defaults are shown",
        )


# Report


def _report(output: Output, done: DefaultsChanged, *, restore: bool, dry_run: bool) -> None:
    data = {
        **change_data(done.changes, dry_run=dry_run),
        "allowed_added": list(done.allowed),
        "left": [item._asdict() for item in done.left],
        "gone": list(done.gone),
    }
    what = f"{', '.join(item.what for item in done.changes if item.is_change)}: the change is made"
    stands = Stands(what, "see structops default")
    output.result("default", data, lambda: _text(done, restore=restore, dry_run=dry_run), stands)
    for title in done.gone:
        output.note(f"note: {title} is gone meanwhile")


def _text(done: DefaultsChanged, *, restore: bool, dry_run: bool) -> str:
    may = "could" if dry_run else "may"
    lines = [f"allowed: any process {may} choose {name}" for name in done.allowed]
    lines += [_line(item, restore=restore, dry_run=dry_run) for item in done.changes]
    for item in done.left:
        lines += [f"default of {item.title}: left as it is", f"  why: {item.why}", f"  fix: {item.hint}"]
    return "\n".join(map(shown, lines)) or "no network namespace is meant: nothing to do"


def _line(item: Change, *, restore: bool, dry_run: bool) -> str:
    now, before = item.after["default"], item.before["default"]
    would, was = ("would be ", "is") if dry_run else ("", "was")
    if item.before["older_version"]:
        return f"{item.what}: {would}{now} ({was} an older version of it)"
    if now != before:
        again = " again" if restore else ""
        return f"{item.what}: {would}{now}{again} ({was} {before})"
    if restore:
        known = "as it was before" if item.is_change else "nothing is remembered of it"
        return f"{item.what}: {now}, {known}: nothing to do"
    return f"{item.what}: {now} already: nothing to do"


# Showing


def _show(output: Output, words: Sequence[str]) -> None:
    found = find_namespaces()
    seen, notes = read_defaults(select_namespaces(found, words) if words else found)
    controls = read_congestion_controls()
    output.result("default", lambda: _shown_data(seen, controls), lambda: _shown_text(seen, controls))
    for note in notes:
        output.note(f"note: {note}")


def _shown_data(seen: Sequence[NamespaceDefault], controls: CongestionControls) -> dict[str, Any]:
    return {
        "available": list(controls.available),
        "allowed": list(controls.allowed),
        "namespaces": [
            {
                "namespace": item.namespace.title,
                "inode": item.namespace.inode,
                "initial": item.namespace.is_initial,
                "processes": len(item.namespace.processes),
                "default": item.default,
                "registered": not item.retired,
                "older_map_id": item.older_map_id,
                "remembered": item.saved
                and {
                    "previous": item.saved.previous,
                    "set": item.saved.name,
                    "is_current": item.saved.name == item.default,
                },
            }
            for item in seen
        ],
    }


def _shown_text(seen: Sequence[NamespaceDefault], controls: CongestionControls) -> str:
    rows = [
        (
            item.namespace.title,
            item.default,
            _state(item, controls),
            _before(item),
            len(item.namespace.processes) or "-",
        )
        for item in seen
    ]
    names = [("allowed", " ".join(controls.allowed)), ("available", " ".join(controls.available))]
    return f"{table(HEADER, rows)}\n\n{fields(names)}"


def _state(item: NamespaceDefault, controls: CongestionControls) -> str:
    if item.older_map_id is not None:
        return f"older (map {item.older_map_id})"
    return "retired" if item.retired else "allowed" if item.default in controls.allowed else "restricted"


def _before(item: NamespaceDefault) -> str:
    """Return the default that --restore would put back, a dash if there is none."""
    entry = item.saved
    return entry.previous if entry and entry.name == item.default else "-"
