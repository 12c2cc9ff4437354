"""One live test at a time on a kernel: two at once would each find the other's maps left behind."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["RUN", "hold_kernel_lock", "own_prefix"]

LOCK = "/proc/self/ns/user"
"""A file of nsfs, which is one file system for the whole kernel: another root, container or TMPDIR opens the same file."""
RUN = "STRUCTOPS_TEST_RUN"
"""In the environment of every program that a run starts: the process id of pytest, with ``.PART`` behind it in parts of the run."""
HELD = "STRUCTOPS_LIVE_TEST"
"""Set while this run holds the lock: a run of pytest that a live test starts is part of that test, and does not wait."""


def own_prefix() -> str:
    """Return the beginning of every name that this run registers or gives to a network namespace."""
    process, _, _ = os.environ.get(RUN, str(os.getpid())).partition(".")
    return f"t_{int(process):x}_"


@contextmanager
def hold_kernel_lock() -> Iterator[None]:
    """Wait for the live test of any other run, and keep others waiting."""
    if HELD in os.environ:
        yield
        return
    with open(LOCK, "rb") as namespace:
        fcntl.flock(namespace, fcntl.LOCK_EX)
        os.environ[HELD] = str(os.getpid())
        try:
            yield
        finally:
            del os.environ[HELD]
