"""Kill ``structops default``, or fail its calls: the state is as before or as after.

The process counts its own calls and dies, or gets ENOMEM, at the Nth. The recovery process
is not affected.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import pytest

from structops_cli.net.congestion_controls import read_congestion_controls
from structops_cli.net.namespaces import NetNamespace
from structops_cli.operations.lock_file import lock_file
from structops_cli.operations.state_store import STATE_PATH
from tests.cli_runner import Result, done, run_python
from tests.live.live_setup import named_namespace
from tests.live.live_state import default_in, eventually, listed
from tests.live.test_default_command import allowed_list_put_back, memory

AT_EACH_CALL = """
import errno, os, signal, sys
from structops_cli.cli.main import run
from structops_cli.syscall import bpf, command
how, at, *words = sys.argv[1:]
me, calls = os.getpid(), 0

def counting(real, failed):
    def call(*arguments, **more):
        global calls
        if os.getpid() == me:
            calls += 1
            if calls == int(at):
                if how == "killed":
                    os.kill(me, signal.SIGKILL)
                return failed(*arguments)
        return real(*arguments, **more)
    return call

def refuse(*_):
    raise OSError(errno.ENOMEM, os.strerror(errno.ENOMEM))

for name in ("pwrite", "mkdir", "unlink", "rmdir", "fork"):
    setattr(os, name, counting(getattr(os, name), refuse))
command.attempt = bpf.attempt = counting(command.attempt, lambda *_: -errno.ENOMEM)
code = run(words)
sys.exit(99 if calls < int(at) else code)
"""
THROUGH = 99
"""The exit code of a run that made fewer than N calls."""
MOST_CALLS = 60


def ended_at(how: str, at: int, *words: str) -> Result:
    return run_python("-c", AT_EACH_CALL, how, str(at), *words)


@pytest.fixture
def places(name: str) -> Iterator[tuple[NetNamespace, NetNamespace]]:
    with named_namespace(f"{name}a") as first, named_namespace(f"{name}b") as second:
        yield first, second


class Invariant:
    """The defaults, their saved state and the allowed list: as before, or as after."""

    def __init__(self, name: str, places: tuple[NetNamespace, ...]) -> None:
        self.name, self.places = name, places
        self.before = tuple(map(default_in, places))
        self.allowed = set(read_congestion_controls().allowed)

    def state(self) -> str:
        """Return "before" or "after"; fail on a state in between."""
        with lock_file(wait_s=20):  # the recovery process holds the lock file until it is done
            defaults = tuple(map(default_in, self.places))
            allowed = set(read_congestion_controls().allowed)
            entries = memory()
        remembered = {(entry.previous, entry.name) for entry in entries.values()}
        if defaults == self.before and not entries:
            assert not os.path.exists(STATE_PATH)
            assert allowed - {self.name} == self.allowed
            return "before"
        assert defaults == (self.name,) * len(self.places)
        assert len(entries) == len(self.places)
        assert remembered == {(one, self.name) for one in self.before}
        assert allowed == {*self.allowed, self.name}
        return "after"


@pytest.mark.parametrize("how", ["killed", "refused"])
def test_at_every_call(how: str, name: str, pin_dir: str, places: tuple[NetNamespace, NetNamespace]) -> None:
    netns = [word for place in places for word in ("--netns", place.title)]
    done("register", "reno", "--set", f"name={name}", "--pin-dir", pin_dir)
    invariant = Invariant(name, places)
    seen: list[tuple[str, int]] = []
    with allowed_list_put_back():
        for words, wanted in (
            (("default", name, "--allow", *netns), "after"),
            (("default", "--restore", *netns), "before"),
        ):
            for at in range(1, MOST_CALLS):
                other = invariant.state()
                result = ended_at(how, at, *words)
                state = invariant.state()
                seen.append((state, result.exit_code))
                if result.exit_code == THROUGH:
                    assert state == wanted
                    break
                if how == "killed":
                    assert result.exit_code == -signal.SIGKILL
                else:
                    assert result.exit_code in (0, 1), result
                    assert state == (wanted if result.exit_code == 0 else other), result
                if state == wanted:  # so that the next run has a change to make
                    done(*("default", "--restore", *netns) if wanted == "after" else
                         ("default", name, "--allow", *netns))  # fmt: skip
            else:
                pytest.fail("the command makes more calls than this test thought")
    done("unregister", name)
    assert eventually(lambda: not listed(name)), "nothing leaked"
    assert len(seen) > 20
    assert {state for state, _ in seen} == {"before", "after"}
