"""How many CPUs there can be: a per-CPU map holds a value for each, a perf event array an element."""

from __future__ import annotations

import os

__all__ = ["possible_cpus"]


def possible_cpus() -> int:
    """Return the number of possible CPUs (``/sys/devices/system/cpu/possible``)."""
    fd = os.open("/sys/devices/system/cpu/possible", os.O_RDONLY | os.O_CLOEXEC)
    try:
        text = os.read(fd, 4096).decode()
    finally:
        os.close(fd)
    ranges = [part.split("-") for part in text.strip().split(",")]
    return sum(int(part[-1]) - int(part[0]) + 1 for part in ranges)
