"""The first signal ends a command, and later ones do not disturb its undo."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SCRIPT = """
import os, signal, sys
from structops_cli import __main__ as main

def run(arguments):
    def kill(name):
        os.kill(os.getpid(), getattr(signal, name))
    try:
        kill(arguments[0])
    finally:
        for name in ("SIGINT", "SIGTERM", "SIGHUP"):
            kill(name)
        print("undone", flush=True)

main._import_command = lambda: run
main.entry()
"""


@pytest.mark.parametrize(("name", "code"), [("SIGINT", 130), ("SIGTERM", 143), ("SIGHUP", 129)])
def test_a_second_signal_waits_for_the_undoing(name: str, code: int) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", SCRIPT, name],
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=_heeding_signals,
    )
    assert (ended.returncode, ended.stdout, ended.stderr) == (code, "undone\n", "")


IGNORED = """
import os, signal
from structops_cli import __main__ as main

def run(arguments):
    os.kill(os.getpid(), signal.Signals[arguments[0]])
    print("goes on", flush=True)
    os.kill(os.getpid(), signal.SIGTERM)

main._import_command = lambda: run
main.entry()
"""


@pytest.mark.parametrize("name", ["SIGINT", "SIGHUP"])
def test_a_signal_that_is_ignored_stays_ignored_and_sigterm_ends_it(name: str) -> None:
    """Scripts start background jobs with SIGINT ignored, and nohup ignores SIGHUP."""
    ended = subprocess.run(
        [sys.executable, "-c", IGNORED, name],
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=lambda: signal.signal(signal.Signals[name], signal.SIG_IGN),
    )
    assert (ended.returncode, ended.stdout, ended.stderr) == (143, "goes on\n", "")


SIGNAL_TESTS = """
import os, signal, subprocess, sys
import pytest
def test_in_this_process():
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)
    signal.raise_signal(signal.SIGHUP)
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP])
def test_in_another(number):
    command = [sys.executable, "-c", f"import os; os.kill(os.getpid(), {int(number)})"]
    assert subprocess.run(command, stderr=subprocess.DEVNULL).returncode == -number
"""


def test_the_tests_heed_signals_that_their_run_is_to_ignore(tmp_path: Path) -> None:
    (tmp_path / "test_these.py").write_text(SIGNAL_TESTS)
    words = ["-m", "pytest", "-q", "-p", "tests.conftest", "-p", "no:cacheprovider"]
    where = ["-c", str(ROOT / "pyproject.toml"), "--rootdir", str(ROOT), str(tmp_path)]
    ended = subprocess.run(
        [sys.executable, *words, *where],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=lambda: [signal.signal(n, signal.SIG_IGN) for n in (signal.SIGINT, signal.SIGHUP)],
    )
    assert "3 passed" in ended.stdout, ended.stdout


def _heeding_signals() -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)
