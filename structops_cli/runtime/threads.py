"""Start threads, and report a kernel that refuses one."""

from __future__ import annotations

from collections.abc import Callable
from errno import EAGAIN
from threading import Thread

from structops_cli.errors import KernelError


def start_thread(run: Callable[[], object], name: str, *, daemon: bool = False) -> Thread:
    """Start a thread that runs a function, and return it.

    Raises ``KernelError`` (EAGAIN) if clone(2) fails; Python hides its errno.
    """
    thread = Thread(target=run, name=name, daemon=daemon)
    try:
        thread.start()
    except RuntimeError:
        raise KernelError(
            "no thread could be started",
            why="the kernel refused one: the limit of processes is reached, or memory is short",
            hint="raise the limits (ulimit -u, ulimit -v), or try again later; nothing was done",
            errno=EAGAIN,
            operation="clone",
        ) from None
    return thread
