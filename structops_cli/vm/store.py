"""Manage the store, a folder for fetched kernels, QEMU and archives.

Its programs are not installed on the machine. One process at a time writes to a folder of
the store. A file or folder has a temporary name until it is complete. The next writer
removes the parts that a killed process left.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from errno import EACCES, EDQUOT, ENOSPC, ENOTDIR, EPERM, EROFS
from typing import BinaryIO

from structops_cli.errors import StructopsError, UnsupportedError

VARIABLE = "STRUCTOPS_VM_FOLDER"
PART = ".part-"
"""The prefix of names that are not complete yet."""
UNWRITABLE = (EACCES, EDQUOT, ENOSPC, ENOTDIR, EPERM, EROFS)


def store_folder(*names: str) -> str:
    """Return a folder of the store, and create it if necessary. Raises ``UnsupportedError``.

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
def name_full_disk(folder: str, variable: str) -> Iterator[None]:
    """Turn the OSError of a folder that is full or not writable into ``UnsupportedError``."""
    try:
        yield
    except StructopsError:  # some of them are OSErrors too
        raise
    except OSError as error:
        if error.errno not in UNWRITABLE:
            raise
        raise _unwritable(folder, variable, error) from None


@contextmanager
def locked_folder(folder: str) -> Iterator[None]:
    """Hold the lock of a folder for the block, and remove incomplete files in it first.

    Raises ``UnsupportedError`` if the block cannot write.
    """
    with name_full_disk(folder, VARIABLE), open(os.path.join(folder, ".lock"), "w", encoding="ascii") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        _remove_incomplete(folder)
        yield


@contextmanager
def atomic_folder(path: str) -> Iterator[str]:
    """Yield a folder to fill. It becomes ``path`` after the block; an error removes it."""
    part = tempfile.mkdtemp(prefix=PART, dir=os.path.dirname(path))
    try:
        yield part
        os.chmod(part, 0o755)  # noqa: S103 -- a cache that its owner may share
        os.rename(part, path)
    finally:
        shutil.rmtree(part, ignore_errors=True)


@contextmanager
def atomic_file(path: str) -> Iterator[BinaryIO]:
    """Yield a file to write. It becomes ``path`` after the block; an error removes it."""
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


def made_once(path: str, is_complete: Callable[[str], bool], make: Callable[[str], object]) -> str:
    """Return a path of the store; if it is incomplete, call ``make`` under its folder's lock."""
    if not is_complete(path):
        with locked_folder(os.path.dirname(path)):
            if not is_complete(path):  # another process may have made it meanwhile
                make(path)
    return path


def touch(path: str) -> None:
    """Set the time of a file to now, unless the store is read-only."""
    with suppress(OSError):
        os.utime(path)


def _remove_incomplete(folder: str) -> None:
    for name in os.listdir(folder):
        if name.startswith(PART):
            path = os.path.join(folder, name)
            shutil.rmtree(path, ignore_errors=True) if os.path.isdir(path) else os.unlink(path)
