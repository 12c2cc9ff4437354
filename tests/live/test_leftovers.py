"""Test the cleanup fixture: a failed test harms no other test and no other process."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from structops_cli.operations.state_store import STATE_PATH
from tests.cli_runner import Result, done, run_python
from tests.kernel_features import LINKS, needs
from tests.kernel_lock import RUN, own_prefix
from tests.leak_check import check_unchanged
from tests.leftovers import Owner
from tests.live.live_state import eventually
from tests.snapshot import take_snapshot
from tests.time_scale import EMULATED, scaled

PLANTED = Path(__file__).with_name("leaking_tests.py")
NEIGHBOUR = """
import os, sys
from tests.cli_runner import run_cli
name, folder = sys.argv[1:]
rounds = 0
while not os.path.exists(f"{folder}/stop"):
    for more in ((), ("--no-link",)):
        for words in (("register", "reno", "--set", f"name={name}", *more), ("unregister", name)):
            result = run_cli(*words)
            if result.exit_code:
                open(f"{folder}/failed", "w").write(result.stderr)
                sys.exit(1)
    rounds += 1
    open(f"{folder}/rounds", "w").write(str(rounds))
os.rename(f"{folder}/rounds", f"{folder}/ended")
"""


@contextmanager
def neighbour(folder: Path) -> Iterator[Path]:
    """Register and unregister in a loop, in an unrelated process; yield its file of rounds."""
    environment = {name: value for name, value in os.environ.items() if name != RUN}
    words = ("setsid", "--fork", sys.executable, "-c", NEIGHBOUR, f"bpf_nb{os.getpid():x}", str(folder))
    subprocess.run(words, env=environment, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    failed, rounds = folder / "failed", folder / "rounds"
    try:
        assert eventually(lambda: rounds.exists() or failed.exists())
        yield rounds
    finally:
        (folder / "stop").touch()
        assert eventually(lambda: (folder / "ended").exists() or failed.exists())
        assert not failed.exists(), failed.read_text()


def run_planted() -> Result:
    environment = {"PYTEST_ADDOPTS": ""}
    return run_python("-m", "pytest", "-q", "-p", "no:cacheprovider", str(PLANTED), environment=environment)


@needs(LINKS)
def test_what_failed_tests_leave_is_named_and_taken_away(tmp_path: Path) -> None:
    with neighbour(tmp_path):
        result = run_planted()
    assert "2 failed, 1 passed, 2 errors" in result.stdout, result.stdout
    assert "still there" not in result.stdout
    assert "taken away" not in result.stdout
    first, second = [line for line in result.stdout.splitlines() if line.startswith("left behind: ")]
    name = first.partition("namespace ")[2].partition(",")[0]
    for one in (
        f"algorithm {name},",
        f"algorithm {name}m,",
        f"allowed algorithm {name}n,",
        f"algorithm {name}p,",
        f"pin /sys/fs/bpf/structops/{name},",
        f"pin {STATE_PATH},",
        "/bpffs,",
        f"/bpffs/pins/{name}m,",
        "--transient",
    ):
        assert one in f"{first},"
    assert "bpf_nb" not in first + second
    assert second.startswith("left behind: process ")
    assert "time.sleep(1000)" in result.stdout, "a time limit ends a test with a stack trace"
    assert "Timeout (>1.0s)" in result.stdout


def test_another_process_may_register_and_unregister(tmp_path: Path, name: str) -> None:
    with neighbour(tmp_path) as rounds:
        for _ in range(3 if EMULATED else 20):
            before = take_snapshot()
            done("register", "reno", "--set", f"name={name}")
            done("unregister", name)
            check_unchanged(before, Owner(str(tmp_path), own_prefix()))
        first, deadline = rounds.read_text(), time.monotonic() + scaled(5)
        while rounds.read_text() == first:
            assert time.monotonic() < deadline, "the other process does not go on"
            time.sleep(0.01)
