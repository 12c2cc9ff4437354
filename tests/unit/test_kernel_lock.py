"""Live tests of several runs take turns on one kernel."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests import kernel_lock

FILE = "/proc/self/ns/uts"
"""A file of the same file system as the real lock, which another run may hold."""
TRY = f"""
import fcntl
with open("{FILE}") as file:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        print("free")
    except BlockingIOError:
        print("held")
"""
ELSEWHERE = ("unshare", "--mount", "--pid", "--fork", "--mount-proc", "--net")


@pytest.mark.parametrize("before", [(), ELSEWHERE], ids=["here", "in namespaces of its own"])
def test_another_run_waits(before: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    if before and os.geteuid() != 0:
        pytest.skip("waits for root, which may make namespaces")
    monkeypatch.setattr(kernel_lock, "LOCK", FILE)
    monkeypatch.delenv(kernel_lock.HELD, raising=False)

    def state() -> str:
        words = [*before, sys.executable, "-c", TRY]
        return subprocess.run(
            words, capture_output=True, check=True, text=True, env={"TMPDIR": "/"}
        ).stdout.strip()

    with kernel_lock.hold_kernel_lock():
        assert state() == "held"
        with kernel_lock.hold_kernel_lock():  # as in a run that a live test starts
            assert state() == "held"
    assert state() == "free"
