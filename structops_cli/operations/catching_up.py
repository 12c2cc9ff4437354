"""Defaults that an older version of what is registered still has: they are written again, whoever left them there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

from structops_cli.operations.followers import Followed, Followers
from structops_cli.operations.recovery import recovery_process
from structops_cli.operations.transaction import Change
from structops_cli.runtime.interrupts import from_here_uninterrupted
from structops_cli.struct_ops.kinds import kind_of

if TYPE_CHECKING:
    from structops_cli.runtime.live_map import LiveMap

__all__ = ["CaughtUp", "catch_up"]


class CaughtUp(NamedTuple):
    """Namespaces whose default was an older version of ``map_id``; ``older`` has that version's map by inode."""

    map_id: int
    followed: tuple[Followed, ...]
    unseen: tuple[Followed, ...]
    older: Mapping[int, int]

    @property
    def changes(self) -> list[Change]:
        """What became of each default: a default that could not follow is as it was."""
        return [
            Change(
                f"default of {one.title}",
                {"map_id": self.older[one.inode]},
                {"map_id": self.older[one.inode] if one.error else self.map_id},
            )
            for one in self.followed
        ]


def catch_up(stock: tuple[LiveMap, ...], live: LiveMap, *, dry_run: bool) -> CaughtUp | None:
    """Write the name of a registered map again where the default of a namespace is an older version; None where there is none.

    Killed in the middle, it is brought to its end. Which version a default is of cannot be told everywhere
    (``older_versions``): where it cannot, nothing is written.
    """
    alike = [item for item in stock if (item.type.name, item.name) == (live.type.name, live.name)]
    if len(alike) < 2 or not kind_of(live.type.name).naming.chosen_by_name:
        return None  # there is no older version, and the kernel need not be asked
    from structops_cli.operations.default_versions import older_versions

    if not (older := older_versions({live.name})):
        return None
    with Followers(live, writable=not dry_run, only=older) as followers:
        return CaughtUp(live.info.id, _follow(followers, dry_run=dry_run), tuple(followers.unseen), older)


def _follow(followers: Followers, *, dry_run: bool) -> tuple[Followed, ...]:
    if dry_run:
        return followers.followed()
    from_here_uninterrupted()
    with recovery_process(followers.follow):
        return followers.follow()
