"""Find the descriptors that a run of tests has not closed."""

from __future__ import annotations

import gc
import tracemalloc

from structops_cli.syscall.fd import Fd

__all__ = ["unclosed_fds"]


def unclosed_fds() -> list[str]:
    """Return a line for each open ``Fd``; one without a reference warns when collected here."""
    gc.collect()
    return [_described(one) for one in gc.get_objects() if type(one) is Fd and not one.closed]


def _described(fd: Fd) -> str:
    made = tracemalloc.get_object_traceback(fd)
    where = "; ".join(line.strip() for line in made.format()) if made else "-X tracemalloc=12 says where"
    return f"{fd!r} is still open: {where}"
