"""A pytest plugin for guests: what takes too long fails where it hangs, and the next test runs."""

from __future__ import annotations

import os
import signal
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from types import FrameType

import pytest

__all__ = ["pytest_runtest_call", "pytest_runtest_setup", "pytest_runtest_teardown"]

LIMIT_S = int(os.environ.get("STRUCTOPS_TEST_LIMIT_S", "60"))


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
    before = signal.signal(signal.SIGALRM, _too_late)
    signal.alarm(LIMIT_S)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def _too_late(number: int, frame: FrameType | None) -> None:
    pytest.fail(f"no end after {LIMIT_S} s")
