"""The disposition of SIGINT: a job in the background, nohup and many CI runners start everything with SIGINT ignored."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["heeded_sigint"]


@contextmanager
def heeded_sigint() -> Iterator[None]:
    """Let SIGINT raise KeyboardInterrupt here, and end the programs that are started here, however this run was started."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
