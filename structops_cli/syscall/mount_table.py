"""The mounts of this process, from /proc/self/mountinfo (proc(5))."""

from __future__ import annotations

import os
from typing import NamedTuple

from structops_cli.errors import KernelError

TABLE = "/proc/self/mountinfo"
FOLDERS = {
    "/proc": ("/proc/self", "mount -t proc proc /proc"),
    "/sys": ("/sys/kernel", "mount -t sysfs sysfs /sys"),
}
"""Folders that the kernel fills: a file that each always has, and the mount command."""
ESCAPES = (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\"))
"""Blank, tab, newline and backslash are octal in each path."""


class Mounted(NamedTuple):
    """One mount: ``root`` of its file system is at ``path``, with ``device`` as ``stat`` shows."""

    root: str
    path: str
    device: int
    source: str


def mounted(file_system: str) -> tuple[Mounted, ...]:
    """Return the mounts of one type of file system, in mount order.

    Of two mounts on one path the later one hides the other. Raises ``KernelError`` if
    the table cannot be read.
    """
    try:
        with open(TABLE, encoding="utf-8", errors="surrogateescape", newline="\n") as file:
            lines = file.readlines()
    except OSError as error:
        raise KernelError.from_errno(
            f"{TABLE} could not be read", why=error.strerror or "", errno=error.errno or 0, operation="open"
        ) from None
    return tuple(_of_line(line) for line in lines if _type(line) == file_system)


def unmounted(text: str) -> tuple[str, str] | None:
    """Return the unmounted folder that ``text`` has a path of, and the command to mount it."""
    for folder, (file, command) in FOLDERS.items():
        if f"{folder}/" in text and not os.path.exists(file):
            return folder, command
    return None


def _type(line: str) -> str:
    return line.partition(" - ")[2].partition(" ")[0]


def _of_line(line: str) -> Mounted:
    left, _, right = line.partition(" - ")
    _, _, device, root, path = left.split(" ")[:5]  # no other blank is escaped
    major, minor = device.split(":")
    return Mounted(
        _unescape(root), _unescape(path), os.makedev(int(major), int(minor)), _unescape(right.split(" ")[1])
    )


def _unescape(path: str) -> str:
    for code, char in ESCAPES:
        path = path.replace(code, char)
    return path
