"""The folder that keeps what was fetched and built: kernels, QEMU, archives. Nothing of it is installed on the machine."""

from __future__ import annotations

import fcntl
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["alone_in", "store_folder", "whole_folder"]

VARIABLE = "STRUCTOPS_VM_FOLDER"


def store_folder(*names: str) -> str:
    """Return a folder of the store, made when it is not there.

    The store is ``$STRUCTOPS_VM_FOLDER``, or ``structops/vm`` below
    ``$XDG_CACHE_HOME`` (``~/.cache``).
    """
    cache = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    root = os.environ.get(VARIABLE) or os.path.join(cache, "structops", "vm")
    folder = os.path.join(os.path.abspath(root), *names)
    os.makedirs(folder, exist_ok=True)
    return folder


@contextmanager
def alone_in(folder: str) -> Iterator[None]:
    """Wait until no other process works in ``folder``, and keep them out for the block."""
    with open(os.path.join(folder, ".lock"), "w", encoding="ascii") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@contextmanager
def whole_folder(path: str) -> Iterator[str]:
    """Give a folder to fill, which becomes ``path`` when the block ends well, and vanishes when it does not."""
    import shutil

    part = tempfile.mkdtemp(prefix=".part-", dir=os.path.dirname(path))
    try:
        yield part
        os.chmod(part, 0o755)  # noqa: S103 -- a cache that its owner may share
        os.rename(part, path)
    finally:
        shutil.rmtree(part, ignore_errors=True)
