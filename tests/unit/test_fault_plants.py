"""Each planted mistake breaks a transaction as its name says."""

from __future__ import annotations

import pytest

from structops_cli.operations import transaction
from structops_cli.operations.transaction import Change, Step, Transaction, _Run
from tests.faults.plants import PLANTS


class System:
    """Records the calls of a transaction's steps; the last step fails."""

    def __init__(self) -> None:
        self.done: set[str] = set()
        self.undone: list[str] = []

    def run(self, *names: str) -> None:
        steps = [self._step(name) for name in names]
        failing = Step(self._fail, is_done=lambda: False)
        with pytest.raises(OSError, match="refused"):
            Transaction().steps([*steps, failing])

    def _step(self, name: str) -> Step:
        def undo() -> None:
            self.done.discard(name)
            self.undone.append(name)

        change = Change(name, {"done": False}, {"done": True})
        return Step(lambda: self.done.add(name), lambda: name in self.done, undo, change)

    @staticmethod
    def _fail() -> None:
        raise OSError("refused")


@pytest.mark.parametrize(
    ("run", "done", "undone"),
    [
        (_Run, set(), ["two", "one"]),
        (PLANTS["missing-undo"], {"one"}, ["two"]),
        (PLANTS["forward-undo"], set(), ["one", "two"]),
        (PLANTS["early-commit"], {"one", "two"}, []),
    ],
)
def test_a_failed_transaction(
    run: type[_Run], done: set[str], undone: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transaction, "_Run", run)
    system = System()
    system.run("one", "two")
    assert (system.done, system.undone) == (done, undone)
