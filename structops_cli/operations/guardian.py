"""Bring what cannot be one system call to an end, even when this process is killed in the middle of it.

Between the first and the last of several effects the kernel shows a state that is
neither before nor after. A child waits beside the parent, out of reach of the
terminal and of the parent's end; when the parent ends before it marked that it is done,
the child does what is left. The mark is in memory that both share, for a write to a
pipe may be refused, and what is done would be undone. It looks at the kernel for what that is: nothing is
written down that could disagree.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from itertools import pairwise
from mmap import mmap

from structops_cli.errors import KernelError
from structops_cli.runtime.interrupts import HELD_BACK, uninterrupted

__all__ = ["guarded"]

DONE = 1
"""The mark."""


@contextmanager
def guarded(finish: Callable[[], object], *, keeping: Collection[int] | None = None) -> Iterator[None]:
    """Have ``finish`` called by a child process if this one dies within the block.

    ``finish`` must find out from the kernel what is left to do, forwards or
    backwards, and may be called when nothing was begun or all was done. It shares
    every open descriptor, the machine's lock included, and prints nothing. With ``keeping`` it shares these
    descriptors alone: for a block that may last, and must not hold up others as long.
    An exception that leaves the block ends the guard as well: undoing is then the
    caller's, who is alive. Raises ``KernelError`` when there is no child to be had:
    before anything was done. No other thread may run at the entry.
    """
    mark = mmap(-1, 1)
    with uninterrupted():
        child, writer = _start(mark, finish, keeping)
    try:
        yield
    finally:
        with uninterrupted():
            mark[0] = DONE
            os.close(writer)
            with suppress(ChildProcessError):
                os.waitpid(child, 0)


def _start(mark: mmap, finish: Callable[[], object], keeping: Collection[int] | None) -> tuple[int, int]:
    """Start the child and return its process id and the end of the pipe that it listens to; all that it needs is open before."""
    opened: list[int] = []
    try:
        opened.append(os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC))
        opened += os.pipe2(os.O_CLOEXEC)
        child = os.fork()
    except OSError as error:
        for fd in opened:
            os.close(fd)
        raise KernelError(
            "no process could be started that would finish what is begun",
            why=f"{error.filename}: {error.strerror}" if error.filename else error.strerror or "",
            hint="nothing was done; try again when the machine has room",
            errno=error.errno or 0,
            operation="open" if error.filename else "fork",
        ) from None
    nowhere, reader, writer = opened
    if child == 0:
        os.close(writer)
        _stand_by(reader, nowhere, mark, finish, keeping)
    os.close(nowhere)
    os.close(reader)
    return child, writer


def _stand_by(
    reader: int, nowhere: int, mark: mmap, finish: Callable[[], object], keeping: Collection[int] | None
) -> None:
    """Wait until the parent is done, or ends; never returns."""
    code = 1
    try:
        os.setsid()
        for number in HELD_BACK:
            signal.signal(number, signal.SIG_IGN)
        signal.signal(signal.SIGPIPE, signal.SIG_IGN)
        for fd in (0, 1, 2):  # the parent's output: whoever reads it waits for its end
            os.dup2(nowhere, fd)
        os.close(nowhere)
        if keeping is not None:
            _close_all_but(reader, *keeping)
        os.read(reader, 1)  # which nobody writes to
        if mark[0] != DONE:
            finish()
        code = 0
    finally:
        os._exit(code)  # no handlers, no buffers: those are the parent's


def _close_all_but(*kept: int) -> None:
    """Close every descriptor but some and the first three."""
    end = max(os.sysconf("SC_OPEN_MAX"), *kept)
    for low, high in pairwise([2, *sorted({*kept}), end]):
        os.closerange(low + 1, high)
