"""What ``update`` and ``rollback`` say of a version that took another's place."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from structops_cli.cli.numbers import WholeNumber
from structops_cli.cli.output import Output, Stands
from structops_cli.errors import StructopsError
from structops_cli.operations.catching_up import CaughtUp
from structops_cli.operations.followers import Followed
from structops_cli.operations.swap import Swapped
from structops_cli.operations.transaction import Change
from structops_cli.operations.versions import KEPT_VERSIONS
from structops_cli.runtime.live_map import LiveMap
from structops_cli.shell_words import shell_words
from structops_cli.struct_ops.kinds import kind_of

__all__ = [
    "caught_up_text",
    "keep_option",
    "restart_option",
    "say_unfollowed",
    "swap_change",
    "swap_stands",
    "swapped_data",
    "swapped_fields",
]

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


def swap_change(live: LiveMap, map_id: int) -> Change:
    """Return what an update or a rollback changes: the map behind the link. 0 is one that has no id yet."""
    return Change(f"{live.type.name} {live.name}", {"map_id": live.info.id}, {"map_id": map_id or None})


def swap_stands(live: LiveMap) -> Stands:
    """Return what stands of an update or a rollback that nobody could be told of."""
    words = [shell_words("structops", verb, live.name) for verb in ("versions", "rollback")]
    return Stands(f"another version of {live.name} is registered", f"see {words[0]}; {words[1]} goes back")


def swapped_data(done: Swapped | None, gap_ns: int | None, caught_up: CaughtUp | None) -> dict[str, Any]:
    """Return what a swap did beside the map, or what was done to defaults where there was no swap, as plain data."""
    if done is None:
        late = caught_up or CaughtUp(0, (), (), {})
        done = Swapped(0, 0, "", (), late.followed, late.unseen, 0)
    return {
        "link_id": done.link_id or None,
        "gap_ns": gap_ns,
        "kept": done.kept or None,
        "dropped": list(done.dropped),
        "still_kept": list(done.still_kept),
        "defaults": [_followed_data(one) for one in done.followed],
        "not_seen": [_followed_data(one) for one in done.unseen],
        "held_by_old": done.holders,
    }


def _followed_data(one: Followed) -> dict[str, Any]:
    return {
        "namespace": one.title,
        "inode": one.inode,
        "rewritten": one.error is None,
        "why": one.error.why if one.error else "",
        "hint": one.error.hint if one.error else "",
    }


def swapped_fields(done: Swapped, gap_ns: int | None, *, dry_run: bool) -> list[tuple[str, object]]:
    """Return what a swap did beside the map, for a list of fields."""
    rewritten = _rewritten(done.followed)
    return [
        ("link", done.link_id or None),
        ("gap", f"the name was gone for at most {gap_ns // 1000} us" if gap_ns is not None else None),
        ("kept", done.kept or "nothing"),
        ("dropped", ", ".join(done.dropped) or None),
        ("defaults", f"{'to be ' * dry_run}written again in {rewritten}" if rewritten else None),
    ]


def caught_up_text(caught_up: CaughtUp | None, *, dry_run: bool) -> str:
    """Return what was done where the version was there already."""
    rewritten = _rewritten(caught_up.followed) if caught_up else ""
    verb = "would be" if dry_run else "is"
    return f"its default {verb} written again in {rewritten}" if rewritten else "nothing to do"


def _rewritten(followed: tuple[Followed, ...]) -> str:
    return ", ".join(one.title for one in followed if one.error is None)


def say_unfollowed(
    output: Output, live: LiveMap, done: Swapped | None, gap_ns: int | None, caught_up: CaughtUp | None
) -> None:
    """Say who still runs the old version; raise what makes the exit code 1 when a default could not follow."""
    if done is None:
        if caught_up is not None:
            _say_left(output, f"{live.name} is this version already", caught_up)
        return
    if live.links and gap_ns is None and not any(link.pins for link in live.links):
        output.note(
            f"note: link {done.link_id} is pinned nowhere: {live.name} goes when the process that holds it ends"
        )
    for pin in done.still_kept:
        output.note(f"note: {pin} could not be removed: it keeps a version that is not needed any more")
    if done.holders:
        kind = kind_of(live.type.name)
        drain = f"; structops drain id:{live.info.id} moves sockets" if kind.naming.chosen_by_name else ""
        output.note(
            f"note: {done.holders} still hold id:{live.info.id}, the old version: each {kind.registration.held_by} until it lets go{drain}"
        )
    _say_left(output, f"{live.name} was replaced", done)


def _say_left(output: Output, what: str, done: Swapped | CaughtUp) -> None:
    """Name the defaults that stay with the old version, or may."""
    for one in done.unseen:
        output.note(f"note: {one.title} could not be looked into: its default may be the old version")
    left = [one for one in done.followed if one.error is not None]
    for one in left:
        if one.error is not None:
            output.note(f"note: the default of {one.title} is still the old version: {one.error.why}")
    if left and left[0].error is not None:
        raise StructopsError(
            f"{what}, and {len(left)} of {len(done.followed)} defaults did not follow",
            why=f"{', '.join(one.title for one in left)}: {left[0].error.why}",
            hint=left[0].error.hint,
        )
