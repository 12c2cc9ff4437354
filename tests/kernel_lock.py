"""Run one live test at a time on a kernel, because each compares the kernel's state."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["RUN", "hold_kernel_lock", "own_prefix"]

LOCK = "/proc/self/ns/user"
"""A file of nsfs, of which a kernel has only one: each root and container opens the same."""
RUN = "STRUCTOPS_TEST_RUN"
"""Set in the environment of every program of a run: the process id of pytest.

A part of a run appends ``.PART``.
"""
HELD = "STRUCTOPS_LIVE_TEST"
"""Set while this run holds the lock.

A pytest that a live test starts is part of the test and does not wait.
"""


def own_prefix() -> str:
    """Return the prefix of all names of this run: registered names and network namespaces."""
    process, _, _ = os.environ.get(RUN, str(os.getpid())).partition(".")
    return f"t_{int(process):x}_"


@contextmanager
def hold_kernel_lock() -> Iterator[None]:
    """Hold the lock during the block; wait for the live tests of other runs before it."""
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
