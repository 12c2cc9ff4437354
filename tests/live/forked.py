"""Run a function in a fork of this process.

A new Python would import all modules again. Under emulation that takes longer than the
rest of most tests.
"""

from __future__ import annotations

import io
import os
import signal
import sys
import tempfile
import traceback
from collections.abc import Callable
from typing import IO, NoReturn

from tests.cli_runner import TIMEOUT_S, Result

__all__ = ["forked"]


def forked(body: Callable[[], object], meanwhile: Callable[[int], object] = int) -> Result:
    """Run a function in a child process; return its output and exit code.

    ``meanwhile`` runs in the parent and receives the child's process id. The child exits with 0
    when the function returns, and with 1 and a traceback when it raises. It may execute
    another program.
    """
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        child = os.fork()
        if child == 0:
            _run(body, out, err)
        try:
            meanwhile(child)
        finally:
            _, status = os.waitpid(child, 0)
        out.seek(0)
        err.seek(0)
        return Result(os.waitstatus_to_exitcode(status), out.read(), err.read())


def _run(body: Callable[[], object], out: IO[str], err: IO[str]) -> NoReturn:
    """Run the function and exit without pytest's own exit handlers."""
    code = 1
    try:
        for file, fd in ((out, 1), (err, 2)):
            os.dup2(file.fileno(), fd)
        sys.stdout, sys.stderr = (
            io.TextIOWrapper(io.FileIO(fd, "w", closefd=False), write_through=True) for fd in (1, 2)
        )
        signal.alarm(int(TIMEOUT_S))
        body()
        code = 0
    except BaseException:  # noqa: BLE001 -- whatever it is, the test that waits shows it
        traceback.print_exc()
    finally:
        os._exit(code)
