"""Make calls side by side, each in a process of its own, which ends when this one does, however this one ends.

Threads could not be stopped: a call that waits for a guest would have to end
before a Ctrl-C counts. A process is told to end, and takes its guest with it.
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
"""The reading end of a child's pipe to its process id and the number of its call."""
PIPE_BYTES = 1 << 16
ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def side_by_side(calls: Sequence[Callable[[], T]], jobs: int) -> list[T]:
    """Return what the calls return, in their order; at most ``jobs`` of them run at a time.

    What a call returns is pickled. ``StructopsError`` when a process ended
    before its call did. Whatever ends this early ends the other processes too,
    by SIGTERM, and waits until they have tidied up.
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
    """Be the process of one call from here on."""
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
    """End by way of what tidies up, which a second signal does not interrupt."""
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
