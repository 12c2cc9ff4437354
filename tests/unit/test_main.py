"""The process of a command: how it starts, and the exit code that it ends with."""

from __future__ import annotations

import pytest

from tests.cli_runner import run_python

BROKEN = """
from structops_cli import __main__ as main
def import_command():
    raise {error}
main._import_command = import_command
main.entry()
"""
PRINTING = """
import os, sys
from structops_cli import __main__ as main
def run(arguments):
    print("a line")
    print("a message", file=sys.stderr)
    return 3 if os.stat(1).st_rdev != os.stat("/dev/null").st_rdev else 0
main._import_command = lambda: run
main.entry()
"""


@pytest.mark.parametrize(
    ("error", "why"),
    [
        ("OSError(24, 'Too many open files')", "[Errno 24] Too many open files"),
        ("MemoryError()", "memory ran out"),
    ],
)
def test_a_failed_import_is_an_error_in_words(error: str, why: str) -> None:
    result = run_python("-c", BROKEN.format(error=error))
    assert result == (1, "", f"error: structops could not be started\n  why: {why}\n")


def test_ctrl_c_during_the_import_ends_without_a_traceback() -> None:
    assert run_python("-c", BROKEN.format(error="KeyboardInterrupt")) == (130, "", "")


def test_the_exit_code_of_the_command_is_that_of_the_process() -> None:
    assert run_python("-c", PRINTING) == (3, "a line\n", "a message\n")


def test_a_closed_stdout_is_a_failure_and_its_number_stays_taken() -> None:
    """No other file may get descriptor 1."""
    closing = ("sh", "-c", 'exec "$@" >&-', "sh")
    assert run_python("-c", PRINTING, before=closing) == (1, "", "a message\n")


def test_a_closed_stderr_loses_messages_only() -> None:
    closing = ("sh", "-c", 'exec "$@" 2>&-', "sh")
    assert run_python("-c", PRINTING, before=closing) == (3, "a line\n", "")


def test_a_full_disk_is_a_failure_without_a_buffer_too() -> None:
    filling = ("sh", "-c", 'exec "$@" >/dev/full', "sh")
    script = PRINTING.replace("return 3 if", "return 0 if")
    for environment in ({}, {"PYTHONUNBUFFERED": "1"}):
        assert run_python("-c", script, before=filling, environment=environment).exit_code == 1
