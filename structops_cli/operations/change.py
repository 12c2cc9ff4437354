"""What a command that changes something answers: what was, what is, and whether that is a difference."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

__all__ = ["Change", "State", "changed"]

State: TypeAlias = Mapping[str, Any]
"""Plain data, as JSON has it. ``before`` and ``after`` of one change have the same keys."""


class Change(NamedTuple):
    """One thing that was to be changed, such as the default of one namespace.

    ``what`` says which, in words that are the same before and after.
    ``after`` is what was read back, or under ``--dry-run`` what would be;
    what cannot be known beforehand, a new map's id, is None there.
    """

    what: str
    before: State
    after: State

    @property
    def is_change(self) -> bool:
        """Whether anything is, or would be, another than before."""
        return self.before != self.after


def changed(changes: Sequence[Change]) -> bool:
    """Tell whether any of the changes is one."""
    return any(item.is_change for item in changes)
