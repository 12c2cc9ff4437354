"""The recovery process acts if and only if its parent dies in the middle."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from structops_cli.errors import KernelError
from structops_cli.operations.recovery import recovery_process

SCRIPT = """
import os, sys, time
from structops_cli.operations.recovery import recovery_process
path, how = sys.argv[1:]

def finish():
    with open(path, "a") as file:
        file.write("finished")

with recovery_process(finish):
    print("begun", flush=True)
    if how == "killed":
        os.kill(os.getpid(), 9)
    if how == "exited":
        os._exit(3)
    if how == "raised":
        raise SystemExit(4)
"""


def run(path: Path, how: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", SCRIPT, str(path), how],
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )


def soon_written(path: Path) -> str:
    deadline = time.monotonic() + 5
    while not (path.exists() and path.read_text()) and time.monotonic() < deadline:
        time.sleep(0.01)
    return path.read_text() if path.exists() else ""


@pytest.mark.parametrize(("how", "code"), [("killed", -signal.SIGKILL), ("exited", 3)])
def test_a_parent_that_dies_is_finished_for(tmp_path: Path, how: str, code: int) -> None:
    done = run(tmp_path / "mark", how)
    assert (done.returncode, done.stdout) == (code, "begun\n")
    assert soon_written(tmp_path / "mark") == "finished"


@pytest.mark.parametrize(("how", "code"), [("done", 0), ("raised", 4)])
def test_a_parent_that_lives_does_it_itself(tmp_path: Path, how: str, code: int) -> None:
    done = run(tmp_path / "mark", how)
    assert done.returncode == code
    assert not (tmp_path / "mark").exists(), "the child has ended by the time that the parent does"


KEEPING = """
import os, sys
from structops_cli.operations.recovery import recovery_process
path = sys.argv[1]
kept, let_go = (os.open(path, os.O_RDWR | os.O_CREAT) for _ in range(2))

def finish():
    there = [f"/proc/self/fd/{number}" for number in range(3, 64)]
    held = [os.readlink(one).partition(":")[0] for one in there if os.path.lexists(one)]
    os.write(kept, repr(sorted(held)).encode())

with recovery_process(finish, keeping=[kept]):
    os.kill(os.getpid(), 9)
"""


def test_of_all_that_is_open_it_keeps_what_it_needs(tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    subprocess.run([sys.executable, "-c", KEEPING, str(mark)], check=False, timeout=30)
    assert soon_written(mark) == repr([str(mark), "pipe"])


def test_no_child_is_left(tmp_path: Path) -> None:
    with recovery_process(lambda: None):
        pass
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


def test_no_room_for_a_child_is_said_before_anything_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> int:
        raise OSError(errno.EAGAIN, os.strerror(errno.EAGAIN))

    monkeypatch.setattr(os, "fork", refuse)
    with (
        pytest.raises(KernelError, match="no recovery process could be started"),
        recovery_process(lambda: None),
    ):
        pytest.fail("begun without a guard")


def test_a_machine_without_dev_null_is_said_before_anything_is_done(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(os, "devnull", str(tmp_path / "null"))
    before = os.listdir("/proc/self/fd")
    with pytest.raises(KernelError) as caught, recovery_process(lambda: None):
        pytest.fail("begun without a guard")
    assert (caught.value.errno, caught.value.operation) == (errno.ENOENT, "open")
    assert str(tmp_path / "null") in caught.value.why
    assert os.listdir("/proc/self/fd") == before
