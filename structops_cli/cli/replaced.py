"""Print the results of ``update`` and ``rollback``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from structops_cli.cli.numbers import WholeNumber
from structops_cli.cli.output import Output, Stands
from structops_cli.errors import StructopsError
from structops_cli.operations.default_sysctls import NamespaceResult, OutdatedDefaults
from structops_cli.operations.replace import Replaced
from structops_cli.operations.versions import KEPT_VERSIONS
from structops_cli.runtime.live_map import LiveMap
from structops_cli.shell_words import shell_words
from structops_cli.struct_ops.kinds import kind_of

Function = TypeVar("Function", bound=Callable[..., Any])


def keep_option(function: Function) -> Function:
    """Give a command ``--keep``."""
    option = click.option(
        "--keep",
        metavar="N",
        type=WholeNumber(min=0),
        default=KEPT_VERSIONS,
        show_default=True,
        help="Keep at most N replaced versions; the oldest go first.",
    )
    return option(function)


def restart_option(function: Function) -> Function:
    """Give a command ``--restart``."""
    option = click.option(
        "--restart",
        is_flag=True,
        help="Unregister and register what cannot be replaced in place, and say how long the name was gone.",
    )
    return option(function)


def replaced_stands(live: LiveMap) -> Stands:
    """Return the error of a replacement whose report could not be written."""
    words = [shell_words("structops", verb, live.name) for verb in ("versions", "rollback")]
    return Stands(f"another version of {live.name} is registered", f"see {words[0]}; {words[1]} goes back")


def replaced_data(done: Replaced | None, outdated: OutdatedDefaults | None) -> dict[str, Any]:
    """Return the result of a replacement as plain data, without the map itself."""
    if done is None:
        results = outdated.results if outdated else ()
        not_inspected = outdated.not_inspected if outdated else ()
        done = Replaced(None, None, None, (), results, not_inspected, 0)
    return {
        "link_id": done.link_id,
        "gap_ns": done.gap_ns,
        "kept": done.kept,
        "dropped": list(done.dropped),
        "still_kept": list(done.still_kept),
        "defaults": [_namespace_data(one) for one in done.defaults],
        "not_seen": [_namespace_data(one) for one in done.not_inspected],
        "held_by_old": done.references,
    }


def _namespace_data(one: NamespaceResult) -> dict[str, Any]:
    return {
        "namespace": one.title,
        "inode": one.inode,
        "rewritten": one.error is None,
        "why": one.error.why if one.error else "",
        "hint": one.error.hint if one.error else "",
    }


def replaced_fields(done: Replaced, *, dry_run: bool) -> list[tuple[str, object]]:
    """Return the result of a replacement as text fields, without the map itself."""
    rewritten = _rewritten(done.defaults)
    gap_us = None if done.gap_ns is None else -(-done.gap_ns // 1000)  # rounded up
    return [
        ("link", done.link_id),
        ("gap", f"the name was gone for at most {gap_us} us" if gap_us is not None else None),
        ("kept", done.kept or "nothing"),
        ("dropped", ", ".join(done.dropped) or None),
        ("defaults", f"{'to be ' * dry_run}written again in {rewritten}" if rewritten else None),
    ]


def outdated_text(outdated: OutdatedDefaults | None, *, dry_run: bool) -> str:
    """Return the result of a command that found the version registered already."""
    rewritten = _rewritten(outdated.results) if outdated else ""
    verb = "would be" if dry_run else "is"
    return f"its default {verb} written again in {rewritten}" if rewritten else "nothing to do"


def _rewritten(results: tuple[NamespaceResult, ...]) -> str:
    return ", ".join(one.title for one in results if one.error is None)


def note_old_version(
    output: Output, live: LiveMap, done: Replaced | None, outdated: OutdatedDefaults | None
) -> None:
    """Note the references to the old version.

    Raises ``StructopsError`` if a default could not be rewritten.
    """
    if done is None:
        if outdated is not None:
            what = f"{live.name} is this version already"
            _note_defaults(output, what, outdated.results, outdated.not_inspected)
        return
    if live.links and done.gap_ns is None and not any(link.pins for link in live.links):
        output.note(
            f"note: link {done.link_id} has no pin: {live.name} is unregistered when the process that holds it ends"
        )
    for pin in done.still_kept:
        output.note(f"note: {pin} could not be removed: it keeps a version that is not needed any more")
    if done.references:
        kind = kind_of(live.type.name)
        drain = f"; structops drain id:{live.info.id} moves sockets" if kind.naming.chosen_by_name else ""
        output.note(
            f"note: {done.references} still hold id:{live.info.id}, the old version: each {kind.registration.held_by} until it lets go{drain}"
        )
    _note_defaults(output, f"{live.name} was replaced", done.defaults, done.not_inspected)


def _note_defaults(
    output: Output,
    what: str,
    results: tuple[NamespaceResult, ...],
    not_inspected: tuple[NamespaceResult, ...],
) -> None:
    """Note defaults that keep, or may keep, the old version. Raise if one was not rewritten."""
    for one in not_inspected:
        output.note(f"note: {one.title} could not be looked into: its default may be the old version")
    left = [(one.title, one.error) for one in results if one.error is not None]
    for title, error in left:
        output.note(f"note: the default of {title} is still the old version: {error.why}")
    if left:
        _, error = left[0]
        raise StructopsError(
            f"{what}, and {len(left)} of {len(results)} defaults did not follow",
            why=f"{', '.join(title for title, _ in left)}: {error.why}",
            hint=error.hint,
        )
