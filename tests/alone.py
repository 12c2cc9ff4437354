"""One live test at a time on a machine: two at once would each find the other's maps left behind."""

from __future__ import annotations

import fcntl
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["alone_on_this_machine"]


@contextmanager
def alone_on_this_machine() -> Iterator[None]:
    """Wait for the live test of any other run, and keep others waiting."""
    path = os.path.join(tempfile.gettempdir(), "structops-live-tests.lock")
    with open(path, "w", encoding="ascii") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
