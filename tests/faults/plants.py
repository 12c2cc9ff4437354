"""Plant a mistake in ``operations/transaction.py`` and run a command with it.

``python -m tests.faults.plants NAME COMMAND...`` runs the command. The fault suite
must find each mistake; ``python -m tests.faults --plant NAME`` tries that. Only this
process has the mistake, the product is unchanged.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from structops_cli import __main__ as product
from structops_cli.operations import transaction
from structops_cli.operations.transaction import Recovery, Step, _Run

__all__ = ["PLANTS", "planted_command"]


class MissingUndo(_Run):
    """The first step with a reported change is never undone."""

    def __init__(self, steps: Sequence[Step], commit: int, recovery: Recovery) -> None:
        first = next((index for index, step in enumerate(steps) if step.change is not None), len(steps))
        planted = [
            step._replace(undo=lambda: None) if index == first else step for index, step in enumerate(steps)
        ]
        super().__init__(planted, commit, recovery)


class ForwardUndo(_Run):
    """The steps are undone first to last."""

    def undo(self) -> list[str]:
        steps, started = self._steps, self._started
        self._steps = [*reversed(steps[:started]), *steps[started:]]
        try:
            return super().undo()
        finally:
            self._steps = steps


class EarlyCommit(_Run):
    """The first step is the commit point, so that a failure of a later step undoes nothing."""

    def __init__(self, steps: Sequence[Step], commit: int, recovery: Recovery) -> None:
        super().__init__(steps, min(commit, 0), recovery)


PLANTS: dict[str, type[_Run]] = {
    "missing-undo": MissingUndo,
    "forward-undo": ForwardUndo,
    "early-commit": EarlyCommit,
}


def planted_command(name: str) -> tuple[str, ...]:
    """Return the beginning of a command line that runs structops with a mistake."""
    return sys.executable, "-m", "tests.faults.plants", name


def main(name: str, arguments: Sequence[str]) -> None:
    """Plant the mistake, and run the command."""
    transaction._Run = PLANTS[name]  # type: ignore[misc]
    sys.argv = ["structops", *arguments]
    product.entry()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
