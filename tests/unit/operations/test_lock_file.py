"""One run at a time: the lock is taken, waited for, given up on, and given back by a death."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from structops_cli.errors import StructopsError
from structops_cli.operations.lock_file import lock_file


def holder(path: str) -> tuple[int, int]:
    """Start a child that holds the lock until it is killed; return it, and a descriptor that has its end."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        with lock_file(path):
            os.write(writer, b"\n")
            signal.pause()
        os._exit(1)
    os.close(writer)
    assert os.read(reader, 1) == b"\n"
    return child, reader


def test_a_second_run_waits_and_says_for_whom(tmp_path: Path) -> None:
    path = str(tmp_path / "lock")
    child, reader = holder(path)
    said: list[str] = []
    try:
        with (
            pytest.raises(StructopsError, match="another run of structops") as raised,
            lock_file(path, wait_s=0.1, waiting=said.append),
        ):
            pytest.fail("two hold one lock")
        assert said == [f"waiting for process {child}, which is changing this machine"]
        assert str(child) in raised.value.why
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        os.close(reader)
    with lock_file(path, wait_s=1, waiting=said.append) as held:
        assert held
    assert len(said) == 1


def test_a_child_shares_the_lock(tmp_path: Path) -> None:
    path = str(tmp_path / "lock")
    reader, writer = os.pipe()
    with lock_file(path):
        child = os.fork()
        if child == 0:
            os.read(reader, 1)
            os._exit(0)
    with pytest.raises(StructopsError), lock_file(path, wait_s=0.05):
        pytest.fail("the child still has it")
    os.write(writer, b"\n")
    os.waitpid(child, 0)
    os.close(reader)
    os.close(writer)
    with lock_file(path, wait_s=0.05) as held:
        assert held


def test_a_lock_that_is_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "lock").symlink_to(tmp_path / "target")
    with pytest.raises(StructopsError, match="cannot be opened"), lock_file(str(tmp_path / "lock")):
        pytest.fail("a symbolic link was followed")
    assert not (tmp_path / "target").exists()


def test_without_the_right_to_write_there_is_no_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> int:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "open", refuse)
    with lock_file(str(tmp_path / "lock")) as held:
        assert not held
