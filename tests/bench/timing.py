"""Time contenders in turns, so that all of them see the same noise of the machine."""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from resource import struct_rusage
from statistics import median
from typing import NamedTuple

__all__ = [
    "ENVIRONMENT",
    "CommandError",
    "Contender",
    "Sample",
    "Series",
    "Timing",
    "command",
    "compare",
    "peak_memory_kib",
    "timed",
]

ENVIRONMENT = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
"""The environment of commands: the caller's without the variables of Python.

With PYTHONDONTWRITEBYTECODE an editable install would be compiled in every run.
"""
PEAK = """\
import os, sys
pid = os.posix_spawn(sys.argv[1], sys.argv[1:], os.environ,
                     file_actions=[(os.POSIX_SPAWN_OPEN, fd, os.devnull, os.O_WRONLY, 0) for fd in (1, 2)])
_, status, usage = os.wait4(pid, 0)
print(usage.ru_maxrss)
sys.exit(os.waitstatus_to_exitcode(status))
"""


class Sample(NamedTuple):
    """One run in milliseconds: wall clock, processor time, and its part outside the kernel."""

    wall: float
    cpu: float
    user: float = 0.0


class Contender(NamedTuple):
    """One side of a comparison; ``run`` times itself, without its clean-up."""

    name: str
    run: Callable[[], Sample]


class Timing(NamedTuple):
    """The best and the median, in milliseconds."""

    best: float
    median: float


class Series(NamedTuple):
    """All runs of one contender, in order."""

    name: str
    samples: tuple[Sample, ...]

    @property
    def wall(self) -> Timing:
        """Time on the clock."""
        return _timing([sample.wall for sample in self.samples])

    @property
    def cpu(self) -> Timing:
        """Processor time."""
        return _timing([sample.cpu for sample in self.samples])

    @property
    def user(self) -> Timing:
        """Processor time outside the kernel."""
        return _timing([sample.user for sample in self.samples])


def _timing(values: Sequence[float]) -> Timing:
    return Timing(min(values), median(values))


class CommandError(Exception):
    """A timed command did not end with 0; the message holds its stderr."""


def compare(contenders: Sequence[Contender], rounds: int) -> tuple[Series, ...]:
    """Run the contenders in turns, after one uncounted round.

    Each round begins with the next contender.
    """
    samples: dict[str, list[Sample]] = {contender.name: [] for contender in contenders}
    for number in range(-1, rounds):
        first = number % len(contenders)
        for contender in (*contenders[first:], *contenders[:first]):
            sample = contender.run()
            if number >= 0:
                samples[contender.name].append(sample)
    return tuple(Series(contender.name, tuple(samples[contender.name])) for contender in contenders)


@contextmanager
def timed() -> Iterator[list[Sample]]:
    """Time the block in this process; the list holds the sample after it."""
    taken: list[Sample] = []
    wall, cpu = time.perf_counter(), time.process_time()
    yield taken
    taken.append(Sample((time.perf_counter() - wall) * 1e3, (time.process_time() - cpu) * 1e3))


def command(
    arguments: Sequence[str | Path], *, environment: Mapping[str, str] = ENVIRONMENT
) -> tuple[Sample, str]:
    """Run a process without its output; return its time and its stderr."""
    words = [os.fspath(word) for word in arguments]
    with tempfile.TemporaryFile() as errors:
        actions = [
            (os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0),
            (os.POSIX_SPAWN_DUP2, errors.fileno(), 2),
        ]
        start = time.perf_counter()
        pid = os.posix_spawn(words[0], words, environment, file_actions=actions)
        status, usage = _wait(pid)
        wall = time.perf_counter() - start
        errors.seek(0)
        said = errors.read().decode(errors="replace")
    if status != 0:
        message = f"{Path(words[0]).name} {words[1]} ended with {status}: {said.strip()}"
        raise CommandError(message)
    return Sample(wall * 1e3, (usage.ru_utime + usage.ru_stime) * 1e3, usage.ru_utime * 1e3), said


def _wait(pid: int) -> tuple[int, struct_rusage]:
    """Wait for a child, even after Ctrl-C: the clean-up needs the child to have ended."""
    try:
        _, status, usage = os.wait4(pid, 0)
    except KeyboardInterrupt:  # the child got SIGINT too
        with suppress(ChildProcessError):  # it had ended before
            os.wait4(pid, 0)
        raise
    return os.waitstatus_to_exitcode(status), usage


def peak_memory_kib(arguments: Sequence[str | Path]) -> int:
    """Return the largest resident size of a process.

    A small process starts it: the size in wait4 begins with the parent's size at the fork
    (``exec_mmap`` in fs/exec.c), and this process is large.
    """
    read, write = os.pipe()
    with open(read, encoding="ascii") as answer:
        words = [sys.executable, "-I", "-S", "-c", PEAK, *(os.fspath(word) for word in arguments)]
        pid = os.posix_spawn(words[0], words, ENVIRONMENT, file_actions=[(os.POSIX_SPAWN_DUP2, write, 1)])
        os.close(write)
        said = answer.read()
        status, _ = _wait(pid)
    if status != 0:
        message = f"{' '.join(words[5:8])} ended with {status}"
        raise CommandError(message)
    return int(said)
