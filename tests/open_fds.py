"""What of the run's own descriptors is still open at its end, and would be closed by the interpreter's end only."""

from __future__ import annotations

import gc
import tracemalloc

from structops_cli.syscall.fd import Fd

__all__ = ["unclosed_fds"]


def unclosed_fds() -> list[str]:
    """Return a line for each ``Fd`` that something still holds open; a forgotten one warns as it is collected here."""
    gc.collect()
    return [_said(one) for one in gc.get_objects() if type(one) is Fd and not one.closed]


def _said(fd: Fd) -> str:
    made = tracemalloc.get_object_traceback(fd)
    where = "; ".join(line.strip() for line in made.format()) if made else "-X tracemalloc=12 says where"
    return f"{fd!r} is still open: {where}"
