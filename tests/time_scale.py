"""How long a test waits for what another process or the kernel does: longer where everything is slower."""

from __future__ import annotations

import os

__all__ = ["EMULATED", "scaled"]

FACTOR = float(os.environ.get("STRUCTOPS_TEST_TIME_SCALE", "1"))
"""Under emulation 10."""
EMULATED = FACTOR > 1
"""Whether what only repeats itself is better done less often."""


def scaled(seconds: float) -> float:
    """Return a time of a machine of its own, as long as it has to be on this one."""
    return seconds * FACTOR
