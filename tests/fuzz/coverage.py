"""Fuzz one target with libFuzzer through atheris, in a process of its own.

Run by ``tests.fuzz`` as ``python -m tests.fuzz.coverage TARGET [LIBFUZZER-ARGUMENT]...``.
The process ends with libFuzzer's exit code. atheris instruments the project's modules
at import, so nothing of the project may be imported before.
"""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Callable
from random import Random
from struct import unpack_from

import atheris

with atheris.instrument_imports(include=["structops_cli"]):
    from tests.fuzz.targets import TARGETS

__all__ = ["SECONDS", "main"]

SECONDS = 1.0
"""Limit of processor time for one input."""
MEMORY_BYTES = 256 << 20
"""Limit of memory that one input may add to the process."""
ELF_HEADER_BYTES = 64


def main(arguments: list[str]) -> None:
    """Fuzz one target; never returns."""
    name, *options = arguments
    target = TARGETS[name].run
    for seed in TARGETS[name].seeds():
        target(seed)  # fill the caches before the memory limit
    _limit_memory()
    mutate = {"custom_mutator": _mutate_section} if name == "object" else {}
    atheris.Setup([sys.argv[0], *options], _bounded(target), **mutate)
    atheris.Fuzz()


def _bounded(target: Callable[[bytes], None]) -> Callable[[bytes], None]:
    def run(data: bytes) -> None:
        started = time.process_time()
        target(data)
        taken = time.process_time() - started
        if taken > SECONDS:
            message = f"{taken:.1f} s for {len(data)} bytes"
            raise TimeoutError(message)

    return run


def _limit_memory() -> None:
    """Let an input that needs too much memory end with MemoryError."""
    with open("/proc/self/statm", encoding="ascii") as file:
        now = int(file.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (now + MEMORY_BYTES, now + MEMORY_BYTES))


def _mutate_section(data: bytes, max_size: int, seed: int) -> bytes:
    """Change one section, or sometimes any byte.

    Random bytes would nearly always hit debug information or code.
    """
    random = Random(seed)
    extent = _some_section(data, random)
    if extent is None or random.random() < 0.2:
        return bytes(atheris.Mutate(data, max_size))
    start, end = extent
    changed = bytes(atheris.Mutate(data[start:end], end - start))
    return data[:start] + changed.ljust(end - start, b"\0") + data[end:]


def _some_section(data: bytes, random: Random) -> tuple[int, int] | None:
    if len(data) < ELF_HEADER_BYTES:
        return None
    table, count = unpack_from("<Q", data, 40)[0], unpack_from("<H", data, 60)[0]
    at = table + ELF_HEADER_BYTES * random.randrange(count or 1)
    if at + ELF_HEADER_BYTES > len(data):
        return None
    start, size = unpack_from("<QQ", data, at + 24)
    return (start, start + size) if size and start + size <= len(data) else None


if __name__ == "__main__":
    main(sys.argv[1:])
