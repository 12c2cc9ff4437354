"""What a guest gives back at its end: the exit code of its command and the files that were asked for, as init.sh packs them."""

from __future__ import annotations

import gzip
import io
import os
import tarfile
import zlib
from collections.abc import Mapping

from structops_cli.errors import NotFoundError, StructopsError
from structops_cli.records import NamedTuple

__all__ = ["Results", "read_results", "write_back"]

EXIT = "exit"
FILES = "files/"


class Results(NamedTuple):
    """The exit code of a command, and files of the guest by their path in it, without the first slash."""

    exit_code: int
    files: Mapping[str, bytes]


def read_results(packed: bytes) -> Results | None:
    """Unpack what a guest sent; None when it is not whole."""
    try:
        with tarfile.open(fileobj=io.BytesIO(gzip.decompress(packed))) as archive:
            # a path that leads out of its folder is not below FILES when it is normal
            files = {
                os.path.normpath(item.name): _content(archive, item) for item in archive if item.isfile()
            }
        wanted = {path.removeprefix(FILES): data for path, data in files.items() if path.startswith(FILES)}
        return Results(int(files[EXIT]), wanted)
    except (tarfile.TarError, zlib.error, OSError, EOFError, KeyError, ValueError):
        return None


def write_back(results: Results, there: str, here: str) -> None:
    """Write a file or folder of the guest to ``here`` on this machine; ``NotFoundError`` when the guest had none.

    As cp does it, a file goes into ``here`` when that is a folder.
    """
    top = os.path.normpath(there).strip("/")
    if top in results.files:
        _write(os.path.join(here, os.path.basename(top)) if os.path.isdir(here) else here, results.files[top])
        return
    below = {
        path.removeprefix(f"{top}/"): data
        for path, data in results.files.items()
        if path.startswith(f"{top}/")
    }
    if not below:
        raise NotFoundError(f"the guest has no {there}", why="it was to be brought back")
    for path, data in below.items():
        _write(os.path.join(here, path), data)


def _content(archive: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    file = archive.extractfile(member)
    return file.read() if file is not None else b""


def _write(path: str, data: bytes) -> None:
    try:
        os.makedirs(os.path.dirname(os.path.abspath(path)), exist_ok=True)
        with open(path, "wb") as file:
            file.write(data)
    except OSError as error:
        raise StructopsError(f"{path} cannot be written", why=error.strerror or "") from None
