"""QEMU and busybox: the machine's own QEMU when it is good enough, Debian's otherwise, unpacked and never installed.

Debian's comes with everything that it needs, the C library included, and is
started through that library's own loader: it runs on any distribution.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from typing import NamedTuple

from structops_cli.errors import UnsupportedError
from structops_cli.vm.apt import TOOLS, closure, refresh, unpack
from structops_cli.vm.store import PART, alone_in, store_folder, whole_folder

__all__ = ["Tool", "busybox", "decompressor", "qemu"]

PACKAGES = ("qemu-system-x86", "busybox-static", "zstd", "lz4")
QEMU = "qemu-system-x86_64"
VARIABLE = "STRUCTOPS_QEMU"
PROGRAMS = (QEMU, "busybox", "zstd", "lz4")
OLDEST_QEMU = 8
"""Debian's 7.2 loses kernels under software emulation (one 6.12 boot in eight, around cmpxchg16b); 8 and later do not."""
LIBRARIES = "usr/lib/x86_64-linux-gnu"
LOADER = "usr/lib64/ld-linux-x86-64.so.2"


class Tool(NamedTuple):
    """A program and how to start it: the words of its command line that come first."""

    command: tuple[str, ...]
    version: str = ""


def qemu() -> Tool:
    """Return a QEMU that can be relied on, fetched when the machine has none; ``$STRUCTOPS_QEMU`` names one by hand."""
    named = os.environ.get(VARIABLE)
    own = named or shutil.which(QEMU)
    if own and (version := _version((own,))) and (named or _major(version) >= OLDEST_QEMU):
        return Tool((own,), version)
    if named:
        raise UnsupportedError(
            "QEMU does not run",
            why=f"{named}, which ${VARIABLE} names, does not say which version it is",
            hint=f"name another one there, or unset {VARIABLE}",
        )
    root = _unpacked()
    firmware = ("-L", f"{root}/usr/share/qemu", "-L", f"{root}/usr/share/seabios")
    command = (*_started(root, f"usr/bin/{QEMU}"), *firmware)
    version = _version(command)
    if not version:
        raise UnsupportedError(
            "QEMU does not run",
            why=f"{QEMU} below {root} fails",
            hint=f"remove that folder, so that it is fetched again, or name another one in ${VARIABLE}",
        )
    return Tool(command, version)


def busybox() -> str:
    """Return the path of a static busybox."""
    return os.path.join(_unpacked(), "usr/bin/busybox")


def decompressor(name: str) -> Tool:
    """Return ``zstd`` or ``lz4``."""
    return Tool(_started(_unpacked(), f"usr/bin/{name}"))


def _unpacked() -> str:
    """Return the folder that the fetched programs live in, as if it were a root."""
    top = store_folder("tools")
    root = os.path.join(top, "root")
    if not _is_whole(root):
        with alone_in(top):
            if not _is_whole(root):  # somebody else may have fetched them meanwhile
                refresh(TOOLS)
                shutil.rmtree(root, ignore_errors=True)
                with (
                    whole_folder(root) as part,
                    tempfile.TemporaryDirectory(prefix=PART, dir=top) as packages,
                ):
                    unpack(closure(TOOLS, PACKAGES, packages), part)
    return root


def _is_whole(root: str) -> bool:
    paths = [f"{root}/usr/bin/{name}" for name in PROGRAMS]
    return all(os.path.isfile(path) and os.path.getsize(path) for path in paths)


def _started(root: str, program: str) -> tuple[str, ...]:
    return (f"{root}/{LOADER}", "--library-path", f"{root}/{LIBRARIES}", f"{root}/{program}")


def _version(command: tuple[str, ...]) -> str:
    """Return the version that a QEMU says it is, or nothing."""
    try:
        done = subprocess.run(
            [*command, "--version"], capture_output=True, check=False, text=True, timeout=30
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    found = re.search(r"version (\d+\.\d+[.\d]*)", done.stdout)
    return found[1] if found else ""


def _major(version: str) -> int:
    return int(version.partition(".")[0])
