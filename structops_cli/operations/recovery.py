"""Run a recovery process that acts if this process is killed in a transaction.

The recovery process is a child in a session of its own. It waits until the parent
ends. It acts unless the parent has set the mark DONE before. The mark is in shared
memory, because a write to a pipe can fail after the work is done.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from itertools import pairwise
from mmap import mmap
from typing import NoReturn

from structops_cli.errors import KernelError
from structops_cli.runtime.interrupts import HELD_BACK, uninterrupted

DONE = 1


@contextmanager
def recovery_process(
    recover: Callable[[], object], *, keeping: Collection[int] | None = None
) -> Iterator[None]:
    """Have a child call ``recover`` if this process dies within the block.

    ``recover`` asks the kernel which steps were done. It may be called before the
    first step and after the last. The child shares all open descriptors, the lock
    file included, and prints nothing. With ``keeping`` it shares only those, so that a
    long block does not keep the lock file locked. If an exception leaves the block, the
    child ends without acting. No other thread may run at the entry. Raises
    ``KernelError`` if no child can be started.
    """
    mark = mmap(-1, 1)
    with uninterrupted():
        child, writer = _start(mark, recover, keeping)
    try:
        yield
    finally:
        with uninterrupted():
            mark[0] = DONE
            os.close(writer)
            with suppress(ChildProcessError):
                os.waitpid(child, 0)


def _start(mark: mmap, recover: Callable[[], object], keeping: Collection[int] | None) -> tuple[int, int]:
    """Fork; return the child's id and the end of the pipe whose closing wakes the child."""
    opened: list[int] = []
    try:
        opened.append(os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC))
        opened += os.pipe2(os.O_CLOEXEC)
        child = os.fork()
    except OSError as error:
        for fd in opened:
            os.close(fd)
        raise KernelError(
            "no recovery process could be started",
            why=f"{error.filename}: {error.strerror}" if error.filename else error.strerror or "",
            hint="nothing was done; try again when the machine has room",
            errno=error.errno or 0,
            operation="open" if error.filename else "fork",
        ) from None
    null, reader, writer = opened
    if child == 0:
        os.close(writer)
        _wait_for_parent(reader, null, mark, recover, keeping)
    os.close(null)
    os.close(reader)
    return child, writer


def _wait_for_parent(
    reader: int, null: int, mark: mmap, recover: Callable[[], object], keeping: Collection[int] | None
) -> NoReturn:
    code = 1
    try:
        os.setsid()
        for number in (*HELD_BACK, signal.SIGPIPE):
            signal.signal(number, signal.SIG_IGN)
        for fd in (0, 1, 2):  # a reader of the parent's output waits until all writers have closed it
            os.dup2(null, fd)
        os.close(null)
        if keeping is not None:
            _close_all_but(reader, *keeping)
        os.read(reader, 1)  # returns at the end of the file: no process writes to the pipe
        if mark[0] != DONE:
            recover()
        code = 0
    finally:
        os._exit(code)  # exit handlers and buffers belong to the parent


def _close_all_but(*kept: int) -> None:
    """Close every descriptor but ``kept`` and 0 to 2."""
    end = max(os.sysconf("SC_OPEN_MAX"), *kept)
    for low, high in pairwise([2, *sorted({*kept}), end]):
        os.closerange(low + 1, high)
