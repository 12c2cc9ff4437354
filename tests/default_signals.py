"""Signals that a run of tests may be told to ignore: a job in the background has SIGINT ignored, as many CI runners have, and nohup SIGHUP."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

__all__ = ["default_signals"]


@contextmanager
def default_signals() -> Iterator[None]:
    """Let SIGINT raise KeyboardInterrupt here, and SIGINT and SIGHUP end the programs that are started here.

    However this run was started. A program that is executed gets the default for a signal with a handler,
    and so a SIGHUP that this process is to ignore has one that does nothing.
    """
    handlers: dict[int, Callable[[int, FrameType | None], object]] = {
        signal.SIGINT: signal.default_int_handler
    }
    if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
        handlers[signal.SIGHUP] = lambda *_: None
    before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
