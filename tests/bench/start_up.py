"""Divide the start-up time of a command with ``-X importtime``, without a budget.

A module's time counts for the package that caused its import: ``gettext`` counts for
click, which imports it first. Imports up to ``site`` are the interpreter's. Later
imports outside any package count for the console script (``re``, with most versions
of pip).
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from tests.bench.figures import Bench
from tests.bench.kernel import private_bpffs, unregister_pins
from tests.bench.timing import ENVIRONMENT, Sample, command

__all__ = ["LABELS", "Import", "StartUp", "by_group", "parse_import_times", "start_up"]

SCRIPT = "console script"
GROUPS = {
    "structops_cli": "own modules",
    "click": "click",
    "elftools": "pyelftools",
    "_cffi_backend": "cffi",
    "pyroute2": "pyroute2",
}
"""Label of each top-level package; a package includes the standard library it imports."""
LABELS = (SCRIPT, *GROUPS.values())
PREFIX = "import time:"
RUNS = 9


class Import(NamedTuple):
    """The import time of one module without its imports, and its nesting depth."""

    module: str
    own_ms: float
    depth: int


class StartUp(NamedTuple):
    """Milliseconds of one command: interpreter, imports by group, the rest, and the whole."""

    command: str
    interpreter: float
    imports: Mapping[str, float]
    running: float
    whole: float


def parse_import_times(text: str) -> tuple[Import, ...]:
    """Parse the output of ``-X importtime``; a module follows its own imports."""
    found = []
    for line in text.splitlines():
        own, bar, rest = line.removeprefix(PREFIX).partition("|")
        if line.startswith(PREFIX) and bar and own.strip().isdecimal():
            name = rest.partition("|")[2]
            depth = (len(name) - len(name.lstrip(" "))) // 2
            found.append(Import(name.strip(), int(own) / 1e3, depth))
    return tuple(found)


def by_group(imports: Sequence[Import]) -> dict[str, float]:
    """Sum import times by the innermost package of ``GROUPS``, or the console script."""
    sums: dict[str, float] = {}
    chain: list[str] = []
    started = next((number for number, item in enumerate(imports) if item.module == "site"), -1) + 1
    for item in reversed(imports[started:]):  # a module's importer comes after it
        del chain[item.depth :]
        chain += [""] * (item.depth - len(chain))
        chain.append(GROUPS.get(item.module.partition(".")[0], ""))
        group = next((name for name in reversed(chain) if name), SCRIPT)
        sums[group] = sums.get(group, 0.0) + item.own_ms
    return sums


def start_up(bench: Bench) -> list[StartUp]:
    """Divide the time of ``--help``, ``list`` and ``register``; each is the best of some runs."""
    (path,) = bench.write_objects(["bpf_bench"])
    with private_bpffs() as place:
        register = ["register", os.fspath(path), "--pin-dir", os.fspath(place)]
        return [_taken_apart(bench, words, place) for words in (["--help"], ["list"], register)]


def _taken_apart(bench: Bench, words: list[str], place: Path) -> StartUp:
    def run(environment: Mapping[str, str]) -> tuple[Sample, str]:
        try:
            return command([*bench.structops, *words], environment=environment)
        finally:
            unregister_pins(place)

    interpreter = min(command([sys.executable, "-c", "pass"])[0].wall for _ in range(RUNS))
    whole = min(run(ENVIRONMENT)[0].wall for _ in range(RUNS))
    profiled = {**ENVIRONMENT, "PYTHONPROFILEIMPORTTIME": "1"}
    sums = [by_group(parse_import_times(run(profiled)[1])) for _ in range(RUNS)]
    imports = {group: min(item.get(group, 0.0) for item in sums) for group in _groups(sums)}
    running = max(whole - interpreter - sum(imports.values()), 0.0)
    return StartUp(words[0], interpreter, imports, running, whole)


def _groups(sums: Iterable[Mapping[str, float]]) -> list[str]:
    seen = {group for item in sums for group in item}
    return [group for group in LABELS if group in seen]
