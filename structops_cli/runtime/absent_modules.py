"""Find modules that may have a type that the kernel's BTF lacks, for an error text."""

from __future__ import annotations

import os
from collections.abc import Iterator

from structops_cli.btf.kernel_types import AbsentModule
from structops_cli.errors import StructopsError

LOADED = "/sys/module"
TYPES = "/sys/kernel/btf"
NOT_OF_THE_KERNEL = ("updates", "extra", "extramodules", "misc", "weak-updates")
"""Folders of out-of-tree modules in /lib/modules/RELEASE. Only these have such types."""
OUT_OF_TREE = "O"
"""The flag in a module's ``taint``."""
SUFFIXES = (".ko", ".ko.xz", ".ko.zst", ".ko.gz")
LARGEST_BYTES = 64 << 20
MOST_FILES = 500


def absent_modules(
    name: str, installed: str = "", loaded: str = LOADED, types: str = TYPES
) -> tuple[AbsentModule, ...]:
    """Return unloaded modules with a type of that name, else loaded ones without BTF.

    Only modules from outside the kernel's package are inspected, and unreadable ones are
    skipped. The answer is a likely cause, and not certain.
    """
    top = installed or f"/lib/modules/{os.uname().release}"
    there = set(_listed(loaded))
    found = [
        AbsentModule(module, loaded=False)
        for module, path in _installed(top)
        if module not in there and _mentions(path, name)
    ]
    shown = set(_listed(types))
    without = [
        AbsentModule(module, loaded=True) for module in sorted(there - shown) if _is_foreign(loaded, module)
    ]
    return tuple(found or without)


def _installed(top: str) -> Iterator[tuple[str, str]]:
    """Yield name and path of each installed out-of-tree module."""
    count = 0
    for folder in NOT_OF_THE_KERNEL:
        for place, _, files in os.walk(os.path.join(top, folder)):
            for file in sorted(files):
                if file.endswith(SUFFIXES) and count < MOST_FILES:
                    count += 1
                    yield file.partition(".")[0].replace("-", "_"), os.path.join(place, file)


def _mentions(path: str, name: str) -> bool:
    """Tell whether a module file contains the name of a type as a string."""
    from structops_cli.runtime.decompress import compression_of, decompress

    try:
        with open(path, "rb") as file:
            data = file.read(LARGEST_BYTES)
        if how := compression_of(data[:16]):
            data = decompress(data, how, path, lambda piece: piece.startswith(b"\x7fELF"))
    except (OSError, StructopsError):
        return False
    return b"\0" + name.encode() + b"\0" in data


def _is_foreign(loaded: str, module: str) -> bool:
    """Tell whether a loaded module is an out-of-tree module."""
    try:
        with open(os.path.join(loaded, module, "taint"), encoding="ascii") as file:
            return OUT_OF_TREE in file.read()
    except OSError:
        return False


def _listed(folder: str) -> list[str]:
    try:
        return os.listdir(folder)
    except OSError:
        return []
