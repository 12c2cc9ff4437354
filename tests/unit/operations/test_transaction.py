"""Steps are executed whole, or undone, whichever way the run ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack, nullcontext
from pathlib import Path

import pytest

from structops_cli.cli.mutation import change_data
from structops_cli.errors import StructopsError
from structops_cli.operations import transaction as module
from structops_cli.operations.lock_file import lock_file
from structops_cli.operations.transaction import (
    BEFORE_ALL,
    Caller,
    Change,
    Recovery,
    Step,
    Transaction,
    changed,
    transaction,
)
from tests.time_scale import scaled

SAME = Change("default of initial", {"default": "cubic"}, {"default": "cubic"})
OTHER = Change("default of t_one", {"default": "cubic"}, {"default": "reno"})


@pytest.fixture(autouse=True)
def signal_mask() -> object:
    """Restore the signal mask, which a run leaves blocked after its commit point."""
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    yield
    signal.pthread_sigmask(signal.SIG_SETMASK, mask)


def wait_until(is_true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + scaled(10)
    while not is_true():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def blocked() -> bool:
    return signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, ())


class Log:
    """Stands for the system: a step is done when its file exists."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.calls: list[str] = []

    def step(
        self, name: str, *, fails: BaseException | None = None, stays: bool = False, atomic: bool = False
    ) -> Step:
        path = self.folder / name

        def do() -> None:
            self.calls.append(f"do {name}")
            path.touch()
            if fails:
                raise fails

        def undo() -> None:
            self.calls.append(f"undo {name}")
            if stays:
                raise StructopsError(f"{name} stays")
            path.unlink(missing_ok=True)

        change = Change(name, {"there": False}, {"there": True})
        return Step(do, path.exists, undo, change, atomic=atomic)

    def there(self) -> list[str]:
        return sorted(os.listdir(self.folder))


@pytest.fixture
def log(tmp_path: Path) -> Log:
    return Log(tmp_path)


# The report


def test_a_change_is_a_difference() -> None:
    assert not changed([])
    assert not changed([SAME])
    assert changed([SAME, OTHER])


def test_data_has_every_change_with_before_and_after() -> None:
    data = change_data([SAME, OTHER], dry_run=True)
    assert (data["changed"], data["dry_run"]) == (True, True)
    assert [item["changed"] for item in data["changes"]] == [False, True]
    assert data["changes"][1]["after"] == {"default": "reno"}


def test_the_report_has_the_change_that_was_read_back() -> None:
    steps = [Step(lambda: SAME, lambda: True, change=OTHER), Step(lambda: None, lambda: True)]
    assert Transaction().steps(steps) == (SAME,)


# In order, or back


def test_steps_are_done_in_their_order(log: Log) -> None:
    changes = Transaction().steps([log.step("a"), log.step("b")])
    assert log.calls == ["do a", "do b"]
    assert [one.what for one in changes] == ["a", "b"]


@pytest.mark.parametrize("error", [StructopsError("refused"), KeyboardInterrupt(), OSError()])
def test_a_failure_undoes_all_steps_the_last_first(log: Log, error: BaseException) -> None:
    steps = [log.step("a"), log.step("b", fails=error), log.step("c")]
    with pytest.raises(type(error)):
        Transaction().steps(steps)
    assert log.calls == ["do a", "do b", "undo b", "undo a"]
    assert log.there() == []


def test_an_error_names_the_steps_that_could_not_be_undone(log: Log) -> None:
    steps = [log.step("a", stays=True), log.step("b", fails=StructopsError("refused", hint="try"))]
    with pytest.raises(StructopsError) as caught:
        Transaction().steps(steps)
    assert caught.value.hint == "try; not undone: a stays"
    assert log.there() == ["a"]


def test_nothing_is_undone_after_the_commit_point(log: Log) -> None:
    steps = [log.step("a"), log.step("b"), log.step("c", fails=StructopsError("refused"))]
    with pytest.raises(StructopsError, match="refused; done before: a, b"):
        Transaction().steps(steps, commit=1)
    assert log.calls == ["do a", "do b", "do c"]


def test_steps_that_cannot_be_undone_are_not(log: Log) -> None:
    steps = [log.step("a", fails=StructopsError("refused")), log.step("b")]
    with pytest.raises(StructopsError, match="refused"):
        Transaction().steps(steps, commit=BEFORE_ALL, recovery=Recovery.FORWARD)
    assert log.calls == ["do a"]


def test_a_signal_during_an_undo_waits_for_its_end(log: Log) -> None:
    def undo() -> None:
        signal.raise_signal(signal.SIGINT)
        log.calls.append("undo slow")

    steps = [
        log.step("a"),
        Step(lambda: None, lambda: True, undo),
        log.step("b", fails=StructopsError("refused")),
        log.step("c"),
    ]
    with pytest.raises(KeyboardInterrupt):
        Transaction().steps(steps)
    assert log.calls == ["do a", "do b", "undo b", "undo slow", "undo a"]


# Signals


@pytest.mark.parametrize(
    ("recovery", "expected"),
    [
        (Recovery.BACK, [False, True, True]),
        (Recovery.FORWARD, [True, True, True]),
        (Recovery.NONE, [False, False, False]),
    ],
)
def test_signals_are_blocked_from_the_commit_point_on(recovery: Recovery, expected: list[bool]) -> None:
    seen: list[bool] = []
    steps = [Step(lambda: seen.append(blocked()), lambda: True) for _ in expected]
    Transaction().steps(steps, commit=1, recovery=recovery)
    assert seen == expected


@pytest.mark.parametrize(("recovery", "expected"), [(Recovery.BACK, False), (Recovery.FORWARD, True)])
def test_a_run_that_goes_forward_blocks_signals_before_its_recovery_process(
    monkeypatch: pytest.MonkeyPatch, recovery: Recovery, *, expected: bool
) -> None:
    """A signal in between would end this process, and the recovery process would do all in silence."""
    seen: list[bool] = []

    def started(_: object) -> AbstractContextManager[None]:
        seen.append(blocked())
        return nullcontext()

    monkeypatch.setattr(module, "recovery_process", started)
    Transaction().steps([Step(lambda: None, lambda: True)] * 2, recovery=recovery)
    assert seen == [expected]


@pytest.mark.parametrize("ends_with_report", [False, True])
def test_a_library_caller_gets_its_signals_back(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, log: Log, *, ends_with_report: bool
) -> None:
    monkeypatch.setattr(module, "lock_file", lambda **_: lock_file(str(tmp_path / "lock")))
    with transaction(caller=Caller(ends_with_report=ends_with_report)) as run:
        run.steps([log.step("a")])
        assert blocked()
    assert blocked() is ends_with_report


# The dry run


def test_a_dry_run_does_nothing_and_reports_the_same(log: Log) -> None:
    with transaction(dry_run=True) as run:
        changes = run.steps([log.step("a"), log.step("b")])
    assert [one.what for one in changes] == ["a", "b"]
    assert log.calls == []


def test_a_dry_run_raises_as_the_execution_would() -> None:
    def refuse() -> None:
        raise StructopsError("the name is taken")

    step = Step(lambda: pytest.fail("it was executed"), lambda: False, check=refuse)
    with pytest.raises(StructopsError, match="taken"):
        Transaction(dry_run=True).steps([step])


def test_a_dry_run_takes_no_lock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "lock_file", lambda **_: pytest.fail("it took the lock"))
    with transaction(dry_run=True):
        pass


# Steps that are held


def test_held_steps_are_undone_when_the_holder_closes(log: Log) -> None:
    with ExitStack() as held:
        Transaction().hold([log.step("a"), log.step("b")], held, keeping=[])
        assert log.there() == ["a", "b"]
        assert not blocked()
    assert log.there() == []


def test_held_steps_can_be_kept(log: Log) -> None:
    with ExitStack() as owner:
        held = Transaction().hold([log.step("a")], owner, keeping=[])
        held.keep()
        assert blocked()
    assert log.there() == ["a"]


def test_the_holder_names_what_stays(log: Log) -> None:
    with pytest.raises(StructopsError, match="a stays"), ExitStack() as held:
        Transaction().hold([log.step("a", stays=True)], held, keeping=[])


def test_held_steps_are_undone_when_one_fails(log: Log) -> None:
    with ExitStack() as held, pytest.raises(StructopsError):
        Transaction().hold([log.step("a"), log.step("b", fails=StructopsError("refused"))], held, keeping=[])
    assert log.there() == []


# The recovery process

KILLED = """
import os, sys
from contextlib import AbstractContextManager, ExitStack, nullcontext
from pathlib import Path
from structops_cli.errors import StructopsError
from structops_cli.operations.transaction import Recovery, Step, Transaction

folder, how, at, commit = Path(sys.argv[1]), sys.argv[2], sys.argv[3], int(sys.argv[4])
parent = os.getpid()

def step(name):
    def do():
        (folder / name).touch()
        if name == at and os.getpid() == parent:
            os.kill(parent, 9)
        if name == "refused":
            raise StructopsError("refused")
    return Step(do, (folder / name).exists, lambda: (folder / name).unlink(missing_ok=True))

steps = [step(name) for name in sys.argv[5:]]
if how == "held":
    with ExitStack() as owner:
        Transaction().hold(steps, owner, keeping=[os.open(os.devnull, os.O_RDONLY)])
        os.kill(parent, 9)
Transaction().steps([*steps], commit=commit, recovery=Recovery(how))
"""


@pytest.mark.parametrize(
    ("how", "at", "commit", "names", "expected"),
    [
        ("back", "a", 1, "abc", ""),
        ("back", "b", 1, "abc", "abc"),
        ("back", "c", 2, "abc", "abc"),
        ("back", "b", 2, "abc", ""),
        ("forward", "a", 2, "abc", "abc"),
        ("forward", "a", 0, "abc", "abc"),
        ("forward", "a", -1, "abc", "abc"),
        ("held", "-", 0, "abc", ""),
    ],
)
def test_the_recovery_process_finishes_for_a_killed_process(
    tmp_path: Path, how: str, at: str, commit: int, names: str, expected: str
) -> None:
    words = [sys.executable, "-c", KILLED, str(tmp_path), how, at, str(commit), *names]
    ended = subprocess.run(words, check=False, timeout=30, capture_output=True)
    assert ended.returncode == -signal.SIGKILL, ended.stderr
    wait_until(lambda: "".join(sorted(os.listdir(tmp_path))) == expected)


def test_recovery_forward_goes_back_if_a_step_is_refused(tmp_path: Path) -> None:
    words = [sys.executable, "-c", KILLED, str(tmp_path), "forward", "a", "1", "a", "refused", "b"]
    subprocess.run(words, check=False, timeout=30)
    wait_until(lambda: os.listdir(tmp_path) == [])


def test_recovery_completes_the_others_if_a_step_that_cannot_be_undone_is_refused(tmp_path: Path) -> None:
    words = [sys.executable, "-c", KILLED, str(tmp_path), "forward", "a", "-1", "a", "refused", "b"]
    subprocess.run(words, check=False, timeout=30)
    wait_until(lambda: sorted(os.listdir(tmp_path)) == ["a", "b", "refused"])


@pytest.mark.parametrize(("count", "atomic", "forks"), [(1, True, 0), (1, False, 1), (2, True, 1)])
def test_one_system_call_needs_no_recovery_process(
    monkeypatch: pytest.MonkeyPatch, log: Log, count: int, *, atomic: bool, forks: int
) -> None:
    children: list[int] = []
    fork = os.fork

    def counted() -> int:
        if child := fork():
            children.append(child)
        return child

    monkeypatch.setattr(os, "fork", counted)
    Transaction().steps([log.step(str(number), atomic=atomic) for number in range(count)])
    assert len(children) == forks
