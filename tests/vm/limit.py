"""A pytest plugin for guests: a test that takes too long fails where it hangs, and the next ones run."""

from __future__ import annotations

import os
import signal
from collections.abc import Generator
from types import FrameType

import pytest

__all__ = ["pytest_runtest_protocol"]

LIMIT_S = int(os.environ.get("STRUCTOPS_TEST_LIMIT_S", "60"))


def _too_late(number: int, frame: FrameType | None) -> None:
    pytest.fail(f"no end after {LIMIT_S} s")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Give each test, with what is set up and torn down for it, its time."""
    before = signal.signal(signal.SIGALRM, _too_late)
    signal.alarm(LIMIT_S)
    try:
        return (yield)
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
