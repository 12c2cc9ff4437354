"""A pytest plugin for guests: what takes too long fails where it hangs, and the next test runs.

A process of its own keeps the time. SIGALRM and its timer belong to the tests,
and a thread would be one more wherever tests count threads.
"""

from __future__ import annotations

import os
import select
import signal
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from functools import cache
from types import FrameType
from typing import NoReturn

import pytest

__all__ = ["pytest_runtest_call", "pytest_runtest_setup", "pytest_runtest_teardown"]

LIMIT_S = int(os.environ.get("STRUCTOPS_TEST_LIMIT_S", "240"))
TOO_LATE = signal.SIGUSR2
BEGIN, END = b"+", b"-"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup() -> Generator[None, object, object]:
    """Give what a test is set up with its time."""
    with _in_time():
        return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call() -> Generator[None, object, object]:
    """Give a test its time."""
    with _in_time():
        return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown() -> Generator[None, object, object]:
    """Give what is taken down after a test its time."""
    with _in_time():
        return (yield)


@contextmanager
def _in_time() -> Iterator[None]:
    clock = _clock()
    os.write(clock, BEGIN)
    try:
        yield
    finally:
        os.write(clock, END)


@cache
def _clock() -> int:
    """Start the process that keeps the time; return the fd that tells it when something begins and ends."""
    signal.signal(TOO_LATE, _too_late)
    reading, writing = os.pipe()
    parent = os.getpid()
    if os.fork() == 0:
        os.close(writing)
        _keep_time(reading, parent)
    os.close(reading)
    return writing


def _keep_time(reading: int, parent: int) -> NoReturn:
    """Signal the parent when nothing has ended in time; end with it."""
    silent = os.open(os.devnull, os.O_RDWR)
    for fd in range(3):
        os.dup2(silent, fd)  # whoever reads what the tests say waits for everybody who could write it
    left: float | None = None
    while True:
        if not select.select([reading], (), (), left)[0]:
            os.kill(parent, TOO_LATE)
            left = None
            continue
        words = os.read(reading, 1 << 12)
        if not words:
            os._exit(0)
        left = LIMIT_S if words.endswith(BEGIN) else None


def _too_late(number: int, frame: FrameType | None) -> None:
    pytest.fail(f"no end after {LIMIT_S} s")


_clock()  # before a test can have threads, which a fork would leave behind
