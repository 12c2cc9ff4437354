"""Execute Steps: all of them, or none. Every change of the system passes through here.

A transaction owns the lock file, the recovery process, the blocked signals and the undo
stack. It also has the commit point and the report. An operation computes its Steps from
the state that it found. A dry run checks and reports the Steps of the execution.

    with transaction(dry_run=dry_run, caller=caller) as run:
        steps = ...                      # computed under the lock
        changes = run.steps(steps, commit=2)

Before the commit point an error, a signal or the death of the process undoes every
step. After it nothing is undone: the remaining steps are completed.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext, suppress
from enum import StrEnum
from typing import Any, NamedTuple, TypeAlias

from structops_cli.errors import StructopsError
from structops_cli.operations.lock_file import lock_file
from structops_cli.operations.recovery import recovery_process
from structops_cli.runtime.interrupts import HELD_BACK, uninterrupted

BEFORE_ALL = -1
"""The commit point of a run whose steps cannot be undone."""
State: TypeAlias = Mapping[str, Any]
"""Plain data, as JSON has it. ``before`` and ``after`` of one change have the same keys."""


class Change(NamedTuple):
    """One reported change, such as the default of one namespace.

    ``what`` names the object; it is the same before and after. ``after`` is the state
    that was read back, or in a dry run the expected state. There None stands for a value
    that is unknown beforehand, such as the id of a new map.
    """

    what: str
    before: State
    after: State

    @property
    def is_change(self) -> bool:
        """Whether the state differs."""
        return self.before != self.after


def changed(changes: Sequence[Change]) -> bool:
    """Tell whether any of the changes differs from the state before."""
    return any(item.is_change for item in changes)


def _nothing() -> None:
    """Do nothing."""


def _unknown() -> bool:
    """Answer for a step that may run again at any point."""
    return False


class Step(NamedTuple):
    """One step of an operation.

    Each function asks the kernel for the present state. It may run in the recovery
    process, more than once, and after a step that ended half-way.
    """

    do: Callable[[], Change | None]
    """Make the change. May return the change as read back, to replace ``change``."""
    is_done: Callable[[], bool] = _unknown
    """Tell whether the change has been made. By default unknown: the recovery process calls ``do`` again."""
    undo: Callable[[], object] = _nothing
    """Take back as much as ``do`` has made."""
    change: Change | None = None
    """The expected change; None for an auxiliary step, which is not reported."""
    check: Callable[[], Change | None] = _nothing
    """Dry run: raise the error of ``do``, as far as it is predictable. Returns as ``do``."""
    atomic: bool = False
    """Whether one system call makes the whole change: alone, it needs no recovery process."""


class Recovery(StrEnum):
    """The action of the recovery process if this process is killed."""

    BACK = "back"
    """Undo all steps, or complete them if the commit step is done."""
    FORWARD = "forward"
    """Complete all steps: they cannot all be undone, or undoing is as risky as completing."""
    NONE = "none"
    """No action: each step is independent, and signals may arrive at any time."""


class Caller(NamedTuple):
    """Describes the code that starts a transaction.

    ``waiting`` receives one line while another process holds the lock file, and
    ``unlocked`` is called if there can be no lock. A command sets ``ends_with_report``:
    after the commit point signals stay blocked until the process ends, so that a change
    that was made is always reported.
    """

    waiting: Callable[[str], object] = str
    unlocked: Callable[[], object] = _nothing
    ends_with_report: bool = False


@contextmanager
def transaction(*, dry_run: bool = False, caller: Caller | None = None) -> Iterator[Transaction]:
    """Hold the lock file for the block, and yield the transaction. A dry run takes no lock.

    Raises ``StructopsError`` if another process keeps the lock too long.
    """
    caller = caller or Caller()
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    with nullcontext(True) if dry_run else lock_file(waiting=caller.waiting) as locked:
        if not locked:
            caller.unlocked()
        try:
            yield Transaction(dry_run=dry_run)
        finally:
            if not caller.ends_with_report:
                signal.pthread_sigmask(signal.SIG_SETMASK, mask)


class Transaction:
    """Executes the Steps of one operation; several lists of Steps may follow each other."""

    def __init__(self, *, dry_run: bool = False) -> None:
        self.dry_run = dry_run

    def steps(
        self, steps: Sequence[Step], *, commit: int | None = None, recovery: Recovery = Recovery.BACK
    ) -> tuple[Change, ...]:
        """Execute steps and return the changes that are reported.

        ``commit`` is the index of the step that is the commit point, the last one by
        default. With ``BEFORE_ALL`` nothing is ever undone. If an earlier step or the commit step fails, all steps are undone and
        the error is raised. Its hint names the steps that could not be undone. If a later
        step fails, the error names the changes that were made before.
        """
        if self.dry_run:
            return _reported(step.check() or step.change for step in steps)
        run = _Run(steps, len(steps) - 1 if commit is None else commit, recovery)
        with run.protected():
            return run.execute()

    def hold(self, steps: Sequence[Step], owner: ExitStack, *, keeping: Collection[int]) -> Held:
        """Execute steps that ``owner`` undoes when it closes.

        If this process dies before, the recovery process undoes the steps. It has only
        the descriptors ``keeping``. Without any there is no recovery process: then
        nothing that the steps make may outlive this process.
        """
        if self.dry_run:
            return Held(self.steps(steps), _nothing)
        run = _Run(steps, len(steps), Recovery.BACK)
        with ExitStack() as undo:
            if keeping:
                undo.enter_context(recovery_process(run.recover, keeping=keeping))
            undo.callback(run.close)
            changes = run.execute()
            owner.push(undo.pop_all())
        return Held(changes, run.keep)


class Held(NamedTuple):
    """Executed steps whose owner undoes them when it closes; ``keep`` makes them last."""

    changes: tuple[Change, ...]
    keep: Callable[[], object]


class _Run:
    """One execution of steps, from the first to the last or back again."""

    def __init__(self, steps: Sequence[Step], commit: int, recovery: Recovery) -> None:
        self._steps = steps
        self._commit = commit
        self._recovery = recovery
        self._started = 0
        """Number of steps whose ``do`` was called."""
        self._changes: list[Change] = []

    def protected(self) -> AbstractContextManager[None]:
        """Return the context in which the steps are executed.

        A run that goes FORWARD blocks signals first: the recovery process would complete it.
        """
        if self._steps and self._recovery is Recovery.FORWARD:
            _block_signals()
        alone = len(self._steps) == 1 and self._steps[0].atomic
        if alone or not self._steps or self._recovery is Recovery.NONE:
            return nullcontext()
        return recovery_process(self.recover)

    def execute(self) -> tuple[Change, ...]:
        """Do every step in order."""
        try:
            for index, step in enumerate(self._steps):
                if self._recovery is Recovery.BACK and index == self._commit:
                    _block_signals()
                self._started = index + 1
                self._changes += _reported([step.do() or step.change])
        except BaseException as error:
            self._failed(error)
            raise
        return tuple(self._changes)

    def _failed(self, error: BaseException) -> None:
        if self._recovery is not Recovery.NONE and self._started <= self._commit + 1:
            left = self.undo()
            if left and isinstance(error, StructopsError):
                error.hint = "; ".join([*filter(None, [error.hint]), *left])
        elif isinstance(error, StructopsError) and (made := [c.what for c in self._changes if c.is_change]):
            error.what += f"; done before: {', '.join(made)}"

    def undo(self) -> list[str]:
        """Undo the started steps, the last first; describe those that could not be undone."""
        left = []
        with uninterrupted():
            for step in reversed(self._steps[: self._started]):
                try:
                    step.undo()
                except StructopsError as error:
                    left.append(f"not undone: {error}")
        return left

    def close(self) -> None:
        """Undo all steps; raise ``StructopsError`` if something could not be undone."""
        if left := self.undo():
            raise StructopsError("the end of the run left something", why="; ".join(left))

    def keep(self) -> None:
        """Forget the steps, so that nothing undoes them. Signals stay blocked from here on."""
        _block_signals()
        self._started = 0

    def recover(self) -> None:
        """Undo or complete, in the recovery process, the steps of the killed process."""
        back = self._recovery is Recovery.BACK
        if back and not self._is_committed():
            self._started = len(self._steps[: self._commit + 1])
            self.undo()
            return
        for index, step in enumerate(self._steps[self._commit + 1 if back else 0 :]):
            try:
                if not step.is_done():
                    step.do()
            except (StructopsError, OSError):
                if not back and index <= self._commit:
                    self._started = index + 1
                    self.undo()
                    return

    def _is_committed(self) -> bool:
        with suppress(StructopsError, OSError):
            return self._commit < len(self._steps) and self._steps[self._commit].is_done()
        return False


def _reported(changes: Iterable[Change | None]) -> tuple[Change, ...]:
    return tuple(change for change in changes if change is not None)


def _block_signals() -> None:
    """Block the signals that end the process, so that later steps are completed and reported."""
    signal.pthread_sigmask(signal.SIG_BLOCK, HELD_BACK)
