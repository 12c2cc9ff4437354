"""The folder that keeps what was fetched and built: kernels, QEMU, archives. Nothing of it is installed on the machine.

Whatever is written there is written by one process at a time, under a name of
its own until it is whole. What a process that was killed left half done is
removed by the next one that writes beside it.
"""

from __future__ import annotations

import fcntl
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from errno import EACCES, EDQUOT, ENOSPC, ENOTDIR, EPERM, EROFS
from typing import BinaryIO

from structops_cli.errors import StructopsError, UnsupportedError

__all__ = ["PART", "VARIABLE", "alone_in", "store_folder", "touch", "whole_file", "whole_folder", "writing"]

VARIABLE = "STRUCTOPS_VM_FOLDER"
PART = ".part-"
"""What the names of things begin with that are not whole yet."""
UNWRITABLE = (EACCES, EDQUOT, ENOSPC, ENOTDIR, EPERM, EROFS)


def store_folder(*names: str) -> str:
    """Return a folder of the store, made when it is not there; ``UnsupportedError`` when it cannot be made.

    The store is ``$STRUCTOPS_VM_FOLDER``, or ``structops/vm`` below
    ``$XDG_CACHE_HOME`` (``~/.cache``).
    """
    cache = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    root = os.environ.get(VARIABLE) or os.path.join(cache, "structops", "vm")
    folder = os.path.join(os.path.abspath(root), *names)
    try:
        os.makedirs(folder, exist_ok=True)
    except OSError as error:
        raise _unwritable(folder, VARIABLE, error) from None
    return folder


@contextmanager
def writing(folder: str, variable: str) -> Iterator[None]:
    """Turn what the system says of a folder that is full or not ours, in the block, into ``UnsupportedError``."""
    try:
        yield
    except StructopsError:  # some of them are OSErrors too
        raise
    except OSError as error:
        if error.errno not in UNWRITABLE:
            raise
        raise _unwritable(folder, variable, error) from None


@contextmanager
def alone_in(folder: str) -> Iterator[None]:
    """Wait until no other process works in ``folder``, and keep them out for the block, which finds nothing half done there.

    Raises ``UnsupportedError`` for what cannot be written in the block.
    """
    with writing(folder, VARIABLE), open(os.path.join(folder, ".lock"), "w", encoding="ascii") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        _remove_half_done(folder)
        yield


@contextmanager
def whole_folder(path: str) -> Iterator[str]:
    """Give a folder to fill, which becomes ``path`` when the block ends well, and vanishes when it does not."""
    import shutil

    part = tempfile.mkdtemp(prefix=PART, dir=os.path.dirname(path))
    try:
        yield part
        os.chmod(part, 0o755)  # noqa: S103 -- a cache that its owner may share
        os.rename(part, path)
    finally:
        shutil.rmtree(part, ignore_errors=True)


@contextmanager
def whole_file(path: str) -> Iterator[BinaryIO]:
    """Give a file to write, which becomes ``path`` when the block ends well, and vanishes when it does not."""
    fd, part = tempfile.mkstemp(prefix=PART, dir=os.path.dirname(path))
    try:
        with open(fd, "wb") as file:
            yield file
        os.chmod(part, 0o644)
        os.rename(part, path)
    except BaseException:
        with suppress(FileNotFoundError):
            os.unlink(part)
        raise


def _unwritable(folder: str, variable: str, error: OSError) -> UnsupportedError:
    return UnsupportedError(
        f"nothing can be written to {folder}",
        why=error.strerror or "",
        hint=f"make room or a way there, or name another folder in ${variable}",
    )


def touch(path: str) -> None:
    """Note that a file was used; whoever may only read the store notes nothing."""
    with suppress(OSError):
        os.utime(path)


def _remove_half_done(folder: str) -> None:
    import shutil

    for name in os.listdir(folder):
        if name.startswith(PART):
            path = os.path.join(folder, name)
            if os.path.isdir(path):
                shutil.rmtree(path, ignore_errors=True)
            else:
                os.unlink(path)
