"""Run the command in this process or, to test signals and privileges, in another one."""

from __future__ import annotations

import io
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from typing import Any, NamedTuple

from structops_cli.cli.main import run
from structops_cli.cli.output import Output
from tests.json_schemas import check_answers
from tests.time_scale import scaled

COMMAND = (sys.executable, "-m", "structops_cli")
OWN_PID_NAMESPACE = ("unshare", "--pid", "--fork", "--mount-proc")
"""Run a command without access to other processes, as in a container."""
TIMEOUT_S = scaled(30.0)
"""The time limit of a process."""


WAITED = re.compile(
    r"^waiting for (process \d+|another process), which is changing this machine\n", re.MULTILINE
)


def without_waiting(stderr: str) -> str:
    """Remove the line that a command prints while another process holds the lock file."""
    return WAITED.sub("", stderr)


class Result(NamedTuple):
    """Exit code and output of a command."""

    exit_code: int
    stdout: str
    stderr: str

    def json(self) -> dict[str, Any]:
        """Return stdout, which must be one JSON object."""
        return _object(self.stdout)

    def error(self) -> dict[str, Any]:
        """Return the error of stderr, which must be one JSON object."""
        body = _object(self.stderr)
        assert body["exit_code"] == self.exit_code
        found: dict[str, Any] = body["error"]
        return found


def _object(text: str) -> dict[str, Any]:
    found = json.loads(text)
    assert isinstance(found, dict)
    assert found["schema_version"] == 1
    return found


def run_cli(*arguments: str) -> Result:
    """Run the command in this process, and restore the signal mask."""
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    try:
        with redirect_stdout(io.StringIO()) as out, redirect_stderr(io.StringIO()) as err:
            exit_code = run(list(arguments))
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    return _checked(arguments, Result(exit_code, out.getvalue(), without_waiting(err.getvalue())))


def _checked(arguments: Sequence[str], result: Result) -> Result:
    """Check every JSON object that a run printed against its schema, and return the run."""
    if Output.from_arguments(arguments).json:
        check_answers(result.stdout)
        if result.exit_code:
            check_answers(result.stderr)
    return result


def done(*arguments: str) -> Result:
    """Run the command in this process; it must succeed."""
    result = run_cli(*arguments)
    assert result.exit_code == 0, result.stderr
    return result


def done_json(*arguments: str) -> dict[str, Any]:
    """Run the command with ``--json``; it must succeed. Return its JSON object."""
    return done(*arguments, "--json").json()


def refused(*arguments: str, exit_code: int = 1) -> dict[str, Any]:
    """Run the command with ``--json`` and return its error.

    It must fail with the exit code and print no data.
    """
    result = run_cli(*arguments, "--json")
    assert (result.exit_code, result.stdout) == (exit_code, ""), result
    return result.error()


def run_process(
    *arguments: str, environment: Mapping[str, str] | None = None, before: tuple[str, ...] = ()
) -> Result:
    """Run the command in a process of its own; ``before`` begins the command line."""
    result = run_python(*COMMAND[1:], *arguments, environment=environment, before=before)
    return _checked(arguments, result)


def run_python(
    *arguments: str, environment: Mapping[str, str] | None = None, before: tuple[str, ...] = ()
) -> Result:
    """Run this Python with arguments; ``before`` begins the command line, such as ``unshare``."""
    done = subprocess.run(
        [*before, sys.executable, *arguments],
        capture_output=True,
        check=False,
        env=_environment(environment),
        text=True,
        timeout=TIMEOUT_S,
    )
    return Result(done.returncode, done.stdout, without_waiting(done.stderr))


@contextmanager
def started(*arguments: str) -> Iterator[subprocess.Popen[str]]:
    """Start the command in a process of its own, and kill it at the end of the block."""
    with subprocess.Popen(
        [*COMMAND, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=_environment(None),
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def _environment(more: Mapping[str, str] | None) -> dict[str, str]:
    root = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([root, *filter(None, [os.environ.get("PYTHONPATH")])]),
        **(more or {}),
    }
