"""Read the exit code and the requested files, which init.sh sends from a guest."""

from __future__ import annotations

import gzip
import io
import os
import re
import stat
import tarfile
import zlib
from collections.abc import Mapping
from typing import NamedTuple

from structops_cli.errors import StructopsError

FILES = "files/"
STARTED = b"started\n"
_ENDED = re.compile(rb"started\nended (\d+)\n")
_SENT = re.compile(rb"sent (\d+|-) (\d+|-)\n")
FILE_TYPES = {tarfile.DIRTYPE: stat.S_IFDIR, tarfile.SYMTYPE: stat.S_IFLNK}


class Fetched(NamedTuple):
    """A file, folder or symbolic link of the guest; ``data`` is its content or target."""

    mode: int
    data: bytes = b""


class Results(NamedTuple):
    """The exit code of a command, and the files by path in the guest without the first slash.

    ``sent`` are the numbers of bytes of stdout and stderr. None means that a
    process of the command was still writing.
    """

    exit_code: int
    files: Mapping[str, Fetched]
    sent: tuple[int | None, int | None] = (None, None)


def read_exit_code(data: bytes) -> int | None:
    """Return the exit code, which a guest sends first; None if it is missing."""
    found = _ENDED.match(data)
    return int(found[1]) if found else None


def read_results(data: bytes) -> Results | None:
    """Unpack the results of a guest; None if they are incomplete."""
    ended = _ENDED.match(data)
    sent = _SENT.match(data, ended.end()) if ended else None
    if not ended or not sent:
        return None
    counts = [None if count == b"-" else int(count) for count in sent.groups()]
    try:
        with tarfile.open(fileobj=io.BytesIO(gzip.decompress(data[sent.end() :]))) as archive:
            # normalised, a path that leaves the folder does not begin with FILES
            found = {os.path.normpath(item.name): _fetched(archive, item) for item in archive}
    except (tarfile.TarError, zlib.error, OSError, EOFError, KeyError):
        return None
    files = {
        path.removeprefix(FILES): item
        for path, item in found.items()
        if item is not None and path.startswith(FILES)
    }
    links = tuple(f"{path}/" for path, item in files.items() if stat.S_ISLNK(item.mode))
    inside = {path: item for path, item in files.items() if not path.startswith(links)}
    return Results(int(ended[1]), inside, (counts[0], counts[1]))


def has(results: Results, there: str) -> bool:
    """Tell whether the guest sent a file or folder."""
    return _name(there) in results.files


def write_back(results: Results, there: str, here: str) -> None:
    """Write a file or folder of the guest to ``here``.

    Like cp: a file goes into ``here`` if that is a folder. Files keep their
    permissions, and links in a folder stay links.
    """
    top = _name(there)
    item = results.files[top]
    if not stat.S_ISDIR(item.mode):
        _write(os.path.join(here, os.path.basename(top)) if os.path.isdir(here) else here, item)
        return
    below = {
        path.removeprefix(f"{top}/"): found
        for path, found in results.files.items()
        if path.startswith(f"{top}/")
    }
    _write(here, item)
    for path in sorted(below):  # folders before their contents
        _write(os.path.join(here, path), below[path], replaces_link=True)


def _name(there: str) -> str:
    return os.path.normpath(there).strip("/")


def _fetched(archive: tarfile.TarFile, member: tarfile.TarInfo) -> Fetched | None:
    """Return a member of the archive; None for a device or a socket."""
    if member.isreg():
        file = archive.extractfile(member)
        return Fetched(stat.S_IFREG | member.mode, file.read() if file is not None else b"")
    if member.islnk():  # a hard link to an earlier member
        first = archive.getmember(member.linkname)
        return _fetched(archive, first) if first.isreg() else None
    file_type = FILE_TYPES.get(member.type)
    return Fetched(file_type | member.mode, os.fsencode(member.linkname)) if file_type else None


def _write(path: str, item: Fetched, *, replaces_link: bool = False) -> None:
    """Write one file, folder or link.

    ``replaces_link`` replaces a link at ``path`` instead of following it.
    """
    try:
        if replaces_link and os.path.islink(path):
            os.unlink(path)
        if stat.S_ISLNK(item.mode):
            if os.path.exists(path):
                os.unlink(path)
            os.symlink(item.data, path)
        elif stat.S_ISDIR(item.mode):
            os.makedirs(path, exist_ok=True)
        else:
            os.makedirs(os.path.dirname(os.path.abspath(path)), exist_ok=True)
            with open(path, "wb") as file:
                file.write(item.data)
                _keep_permissions(file.fileno(), item.mode)
    except OSError as error:
        raise StructopsError(f"{path} cannot be written", why=error.strerror or "") from None


def _keep_permissions(fd: int, mode: int) -> None:
    """Set the permissions of a regular file of this user; leave those of other files."""
    if stat.S_ISREG(os.fstat(fd).st_mode) and os.fstat(fd).st_uid == os.geteuid():
        os.fchmod(fd, mode & 0o777)
