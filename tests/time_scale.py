"""Scale the time limits of tests on a slow machine, such as an emulated one."""

from __future__ import annotations

import os

__all__ = ["EMULATED", "scaled"]

FACTOR = float(os.environ.get("STRUCTOPS_TEST_TIME_SCALE", "1"))
"""10 under emulation."""
EMULATED = FACTOR > 1
"""Whether tests repeat things less often."""


def scaled(seconds: float) -> float:
    """Return a time limit for this machine, given that of an idle one."""
    return seconds * FACTOR
