"""Run a function in a fork of this process: a new Python would first import all of it again.

Under emulation that takes longer than most of what a test then does.
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
    """Return what a function wrote and ended with in a child, whose id ``meanwhile`` is given on this side.

    The child ends with 0 when the function returns, and with 1 and a traceback
    when it raises; it may become another program.
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
    """Run the function and end, past all that pytest would do at an end of its own."""
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
