"""Bring what cannot be one system call to an end, even when this process is killed in the middle of it.

Between the first and the last of several effects the kernel shows a state that is
neither before nor after. A child waits beside the parent, out of reach of the
terminal and of the parent's end; when the parent dies before it said that it is done,
the child does what is left. It looks at the kernel for what that is: nothing is
written down that could disagree.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from structops_cli.errors import KernelError
from structops_cli.runtime.interrupts import HELD_BACK, uninterrupted

__all__ = ["guarded"]

DONE = b"\n"


@contextmanager
def guarded(finish: Callable[[], object]) -> Iterator[None]:
    """Have ``finish`` called by a child process if this one dies within the block.

    ``finish`` must find out from the kernel what is left to do, forwards or
    backwards, and may be called when nothing was begun or all was done. It shares
    every open descriptor, the machine's lock included, and prints nothing.
    An exception that leaves the block ends the guard as well: undoing is then the
    caller's, who is alive. Raises ``KernelError`` when there is no child to be had:
    before anything was done. No other thread may run at the entry.
    """
    reader, writer = os.pipe2(os.O_CLOEXEC)
    with uninterrupted():
        try:
            child = os.fork()
        except OSError as error:
            os.close(reader)
            os.close(writer)
            raise KernelError(
                "no process could be started that would finish what is begun",
                why=error.strerror or "",
                hint="nothing was done; try again when the machine has room",
                errno=error.errno or 0,
                operation="fork",
            ) from None
        if child == 0:
            os.close(writer)
            _stand_by(reader, finish)
    os.close(reader)
    try:
        yield
    finally:
        with uninterrupted():
            with suppress(OSError):  # the child was killed: there was nothing for it to do
                os.write(writer, DONE)
            os.close(writer)
            with suppress(ChildProcessError):
                os.waitpid(child, 0)


def _stand_by(reader: int, finish: Callable[[], object]) -> None:
    """Wait for the parent's word or end; never returns."""
    code = 1
    try:
        os.setsid()
        for number in HELD_BACK:
            signal.signal(number, signal.SIG_IGN)
        signal.signal(signal.SIGPIPE, signal.SIG_IGN)
        _be_silent()
        if os.read(reader, 1) != DONE:
            finish()
        code = 0
    finally:
        os._exit(code)  # no handlers, no buffers: those are the parent's


def _be_silent() -> None:
    """Let go of the parent's output: whoever reads it waits for its end."""
    null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    for number in (0, 1, 2):
        os.dup2(null, number)
    os.close(null)
