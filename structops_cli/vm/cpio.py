"""Write cpio archives in the format "newc", which the kernel unpacks.

The format is in Documentation/driver-api/early-userspace/buffer-format.rst. Needs
no privilege: owners and device nodes are numbers in a header. The kernel unpacks
several archives that follow one another.
"""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Iterable
from errno import EINVAL
from typing import BinaryIO, Self

MAGIC = b"070701"
TRAILER = "TRAILER!!!"
ALIGNMENT = 4
BLOCK = 512
"""Archives are padded to a multiple of it, so that the next one starts aligned."""


class CpioWriter:
    """Writes an archive to ``file``; root owns everything in it.

    Adds the parent folders of a path. Of two entries with the same path the first
    one stays. The end of the block ends the archive and does not close ``file``.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._known: set[str] = set()
        self._offset = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *unused: object) -> None:
        self._write(TRAILER, 0)
        self._file.write(bytes(-self._offset % BLOCK))

    def folder(self, path: str, permissions: int = 0o755) -> None:
        """Add a folder."""
        self._add(path, stat.S_IFDIR | permissions)

    def file(self, path: str, data: bytes, permissions: int = 0o644, modified: int = 0) -> None:
        """Add a file; ``modified`` in seconds since the epoch."""
        self._add(path, stat.S_IFREG | permissions, data, modified=modified)

    def link(self, path: str, target: str) -> None:
        """Add a symbolic link."""
        self._add(path, stat.S_IFLNK | 0o777, os.fsencode(target))

    def character_device(self, path: str, major: int, minor: int, permissions: int = 0o600) -> None:
        """Add a device node."""
        self._add(path, stat.S_IFCHR | permissions, device=(major, minor))

    def copy(self, source: str, path: str) -> None:
        """Add a file, or a folder with its contents; files keep their times.

        Links in the folder stay links. If ``source`` itself is a link, its target
        is copied.
        """
        if os.path.isdir(source):
            self.folder(path)
            for name in sorted(os.listdir(source)):
                below, there = os.path.join(source, name), os.path.join(path, name)
                if os.path.islink(below):
                    self.link(there, os.readlink(below))
                else:
                    self.copy(below, there)
        else:
            status = os.stat(source)
            if not stat.S_ISREG(status.st_mode):
                raise OSError(EINVAL, "it is no file, folder or link", source)
            with open(source, "rb") as file:
                self.file(path, file.read(), stat.S_IMODE(status.st_mode), int(status.st_mtime))

    def __contains__(self, path: str) -> bool:
        return path.strip("/") in self._known

    def _add(
        self, path: str, mode: int, data: bytes = b"", device: tuple[int, int] = (0, 0), modified: int = 0
    ) -> None:
        path = path.strip("/")
        if not path or path in self._known:
            return
        self.folder(os.path.dirname(path))
        self._known.add(path)
        self._write(path, mode, data, device, modified)

    def _write(
        self, path: str, mode: int, data: bytes = b"", device: tuple[int, int] = (0, 0), modified: int = 0
    ) -> None:
        name = os.fsencode(path) + b"\0"
        links = 2 if stat.S_ISDIR(mode) else 1
        # inode, mode, uid, gid, links, time, size, device of the file system, device of the node, name's size, check
        inode = len(self._known) if mode else 0
        words = (inode, mode, 0, 0, links, modified, len(data), 0, 0, *device, len(name), 0)
        header = MAGIC + b"".join(b"%08X" % word for word in words)
        self._padded(header + name)
        self._padded(data)

    def _padded(self, data: bytes) -> None:
        self._file.write(data)
        padding = -len(data) % ALIGNMENT
        self._file.write(bytes(padding))
        self._offset += len(data) + padding


def is_complete(path: str) -> bool:
    """Tell whether ``path`` is an archive with an end."""
    try:
        with open(path, "rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - 2 * BLOCK))
            return size % BLOCK == 0 and TRAILER.encode() in file.read()
    except OSError:
        return False


def concatenated(paths: Iterable[str], into: BinaryIO) -> None:
    """Write archives one after the other to a file; more may follow."""
    for path in paths:
        with open(path, "rb") as part:
            shutil.copyfileobj(part, into, 1 << 20)
