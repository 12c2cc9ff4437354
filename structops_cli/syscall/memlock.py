"""RLIMIT_MEMLOCK, which kernels before 5.11 charge the memory of maps and programs to."""

from __future__ import annotations

from resource import RLIM_INFINITY, RLIMIT_MEMLOCK, getrlimit, setrlimit

__all__ = ["lift"]


def lift() -> bool:
    """Lift this process's limit; tell whether there was one, and it could be (CAP_SYS_RESOURCE)."""
    if getrlimit(RLIMIT_MEMLOCK)[0] == RLIM_INFINITY:
        return False
    try:
        setrlimit(RLIMIT_MEMLOCK, (RLIM_INFINITY, RLIM_INFINITY))
    except (OSError, ValueError):
        return False
    return True
