"""Find QEMU and busybox.

The machine's QEMU is used if it is new enough, otherwise Debian's, unpacked in the store.
Debian's programs come with all their libraries. The loader of their own C library starts
them, so that they run on any distribution.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from typing import NamedTuple

from structops_cli.errors import UnsupportedError
from structops_cli.vm.apt import TOOLS, download_with_dependencies, unpack, update_lists
from structops_cli.vm.store import PART, atomic_folder, made_once, store_folder

PACKAGES = ("qemu-system-x86", "busybox-static", "zstd", "lz4")
QEMU = "qemu-system-x86_64"
VARIABLE = "STRUCTOPS_QEMU"
PROGRAMS = (QEMU, "busybox", "zstd", "lz4")
OLDEST_QEMU = 8
"""QEMU 7.2 hangs in one of eight emulated boots of 6.12, around cmpxchg16b; 8 does not."""
LIBRARIES = "usr/lib/x86_64-linux-gnu"
LOADER = "usr/lib64/ld-linux-x86-64.so.2"


class Tool(NamedTuple):
    """A program: the beginning of its command line, and its version."""

    command: tuple[str, ...]
    version: str = ""


def qemu() -> Tool:
    """Return the QEMU that ``$STRUCTOPS_QEMU`` names, or one that is new enough.

    Fetches one if the machine has none.
    """
    named = os.environ.get(VARIABLE)
    own = named or shutil.which(QEMU)
    if own and (version := _version((own,))) and (named or _major(version) >= OLDEST_QEMU):
        return Tool((own,), version)
    if named:
        raise UnsupportedError(
            "QEMU does not run",
            why=f"{named}, which ${VARIABLE} names, prints no version",
            hint=f"name another QEMU there, or unset {VARIABLE}",
        )
    root = _unpacked()
    firmware = ("-L", f"{root}/usr/share/qemu", "-L", f"{root}/usr/share/seabios")
    command = (*_command(root, f"usr/bin/{QEMU}"), *firmware)
    version = _version(command)
    if not version:
        raise UnsupportedError(
            "QEMU does not run",
            why=f"{QEMU} below {root} fails",
            hint=f"remove that folder to fetch it again, or name another QEMU in ${VARIABLE}",
        )
    return Tool(command, version)


def busybox() -> str:
    """Return the path of a static busybox."""
    return os.path.join(_unpacked(), "usr/bin/busybox")


def decompressor(name: str) -> Tool:
    """Return ``zstd`` or ``lz4``."""
    return Tool(_command(_unpacked(), f"usr/bin/{name}"))


def _unpacked() -> str:
    """Return the root folder of the fetched programs."""
    return made_once(os.path.join(store_folder("tools"), "root"), _is_complete, _fetch)


def _fetch(root: str) -> None:
    update_lists(TOOLS)
    shutil.rmtree(root, ignore_errors=True)
    packages = tempfile.TemporaryDirectory(prefix=PART, dir=os.path.dirname(root))
    with atomic_folder(root) as part, packages as folder:
        unpack(download_with_dependencies(TOOLS, PACKAGES, folder), part)


def _is_complete(root: str) -> bool:
    paths = [f"{root}/usr/bin/{name}" for name in PROGRAMS]
    return all(os.path.isfile(path) and os.path.getsize(path) for path in paths)


def _command(root: str, program: str) -> tuple[str, ...]:
    return (f"{root}/{LOADER}", "--library-path", f"{root}/{LIBRARIES}", f"{root}/{program}")


def _version(command: tuple[str, ...]) -> str | None:
    """Return the version that a QEMU prints; None if it does not run."""
    try:
        done = subprocess.run(
            [*command, "--version"], capture_output=True, check=False, text=True, timeout=30
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    found = re.search(r"version (\d+\.\d+[.\d]*)", done.stdout)
    return found[1] if found else None


def _major(version: str) -> int:
    return int(version.partition(".")[0])
