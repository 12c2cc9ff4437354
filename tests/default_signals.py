"""Restore SIGINT and SIGHUP, which a background job, many CI runners and nohup ignore."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

__all__ = ["default_signals"]


@contextmanager
def default_signals() -> Iterator[None]:
    """Restore SIGINT and SIGHUP here and in programs that this process starts.

    In this process SIGINT raises KeyboardInterrupt. An executed program gets the default
    action for a signal that has a handler. So an ignored SIGHUP gets a handler that does
    nothing.
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
