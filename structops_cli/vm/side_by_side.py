"""Make calls in parallel, each in a child process that ends when this process ends.

A thread that waits for a guest could not be stopped by Ctrl-C. A child process ends on
SIGTERM, and ends its guest.
"""

from __future__ import annotations

import os
import pickle
import select
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import Any, NoReturn, TypeAlias, TypeVar

from structops_cli.errors import StructopsError
from structops_cli.syscall.processes import die_with_parent

T = TypeVar("T")
Children: TypeAlias = dict[int, tuple[int, int]]
"""The process id and the number of the call, by the reading end of the child's pipe."""
PIPE_BYTES = 1 << 16
ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def side_by_side(calls: Sequence[Callable[[], T]], jobs: int) -> list[T]:
    """Return the results of the calls, in their order; at most ``jobs`` of them run at a time.

    Results are pickled. Raises ``StructopsError`` if a process ends before its call.
    On an exception it sends SIGTERM to the other processes, and waits until they have
    cleaned up.
    """
    said: dict[int, bytearray] = {number: bytearray() for number in range(len(calls))}
    waiting = list(enumerate(calls))
    with _children() as children:
        while waiting or children:
            while waiting and len(children) < jobs:
                _fork(children, *waiting.pop(0))
            for fd in select.select(list(children), (), ())[0]:
                data = os.read(fd, PIPE_BYTES)
                said[children[fd][1]] += data
                if not data:
                    _wait(children, fd)
    return [_opened(bytes(data)) for data in said.values()]


@contextmanager
def _children() -> Iterator[Children]:
    children: Children = {}
    try:
        yield children
    finally:
        for pid, _ in children.values():
            os.kill(pid, signal.SIGTERM)
        for fd in list(children):
            _wait(children, fd)


def _fork(children: Children, number: int, call: Callable[[], Any]) -> None:
    parent = os.getpid()
    reading, writing = os.pipe()
    pid = os.fork()
    if not pid:
        _be(call, writing, parent)
    os.close(writing)
    children[reading] = pid, number


def _wait(children: Children, fd: int) -> None:
    pid, _ = children.pop(fd)
    os.close(fd)
    os.waitpid(pid, 0)


def _be(call: Callable[[], Any], writing: int, parent: int) -> NoReturn:
    """Run one call in the child process, send its result and exit."""
    code = 1
    try:
        for number in ENDING:
            signal.signal(number, _end)
        die_with_parent(signal.SIGTERM)
        if os.getppid() == parent:
            with open(writing, "wb") as file:
                file.write(_answer(call))
            code = 0
    finally:
        os._exit(code)


def _end(number: int, _frame: FrameType | None) -> NoReturn:
    """Raise ``SystemExit``, so that cleanup runs; ignore further signals during it."""
    for each in ENDING:
        signal.signal(each, signal.SIG_IGN)
    raise SystemExit(128 + number)


def _answer(call: Callable[[], Any]) -> bytes:
    try:
        return pickle.dumps((True, call()))
    except Exception as error:  # noqa: BLE001 -- told to the parent, which raises it
        return pickle.dumps((False, f"{type(error).__name__}: {error}"))


def _opened(data: bytes) -> Any:
    if not data:
        raise StructopsError(
            "a process ended before it was done", why="something outside of structops ended it"
        )
    worked, value = pickle.loads(data)  # noqa: S301 -- of a process of our own
    if not worked:
        raise RuntimeError(value)
    return value
