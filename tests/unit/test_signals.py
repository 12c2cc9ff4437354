"""What signals do to the process of a command: the first one ends it, and no other one disturbs what is undone then."""

from __future__ import annotations

import subprocess
import sys

import pytest

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


def _heeding_signals() -> None:
    """Undo what a job in the background is given: there a shell has SIGINT ignored."""
    import signal

    signal.signal(signal.SIGINT, signal.SIG_DFL)
