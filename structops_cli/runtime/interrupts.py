"""Hold signals back where they would tear apart what belongs together: an effect and its undoing, a result and its report."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["HELD_BACK", "from_here_uninterrupted", "interruptible", "uninterrupted"]

HELD_BACK = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Block SIGINT, SIGTERM and SIGHUP for the block; they arrive when it ends."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, HELD_BACK)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def interruptible() -> Iterator[None]:
    """Let the same signals in for the block, and those that came before: it waits for something that may never come."""
    before = signal.pthread_sigmask(signal.SIG_UNBLOCK, HELD_BACK)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def from_here_uninterrupted() -> None:
    """Block the same signals from here to the end of the process: what was asked for is done, and only to be reported.

    A Ctrl-C that comes now finds a finished command. Without this it would be
    reported as one that was stopped, with all of its work left in place.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, HELD_BACK)
