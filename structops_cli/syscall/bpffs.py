"""The BPF file system: where it is mounted, mounting it, and one that nobody sees.

Nothing here creates or removes pins: BPF_OBJ_PIN does, and ``os.unlink``.
"""

from __future__ import annotations

import os

from structops_cli.errors import KernelError, NotPermittedError
from structops_cli.records import NamedTuple
from structops_cli.syscall._native import lib
from structops_cli.syscall.fd import Fd

__all__ = ["DEFAULT", "Mount", "detached", "is_bpffs", "mount", "mounts", "pins", "unmount"]

MOUNTS = "/proc/self/mountinfo"
DEFAULT = "/sys/fs/bpf"
"""Where every distribution mounts it."""


class Mount(NamedTuple):
    """A mounted bpffs: its path, and the device that ``stat`` shows for files in it."""

    path: str
    device: int


def mounts() -> tuple[Mount, ...]:
    """Return the bpffs mounts that this process sees, the usual one first (proc(5), mountinfo).

    Of several on one path the last hides the others.
    """
    found: dict[str, Mount] = {}
    try:
        with open(MOUNTS, encoding="utf-8", errors="surrogateescape") as file:
            table = file.readlines()
    except OSError as error:
        raise _refused(f"{MOUNTS} cannot be read", error.errno or 0, "open") from None
    for line in table:
        left, _, right = line.partition(" - ")
        if right.startswith("bpf "):
            fields = left.split()
            major, minor = fields[2].split(":")
            path = _unescape(fields[4])
            found[path] = Mount(path, os.makedev(int(major), int(minor)))
    return tuple(sorted(found.values(), key=lambda item: item.path != DEFAULT))


def _unescape(path: str) -> str:
    """Undo the octal escapes of mountinfo (blank, tab, newline, backslash)."""
    for code, char in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        path = path.replace(code, char)
    return path


def is_bpffs(path: str) -> bool:
    """Tell whether an existing path, or else its nearest existing parent, lies in a bpffs."""
    path = os.path.abspath(path)
    while not os.path.exists(path):
        path = os.path.dirname(path)
    return os.stat(path).st_dev in {item.device for item in mounts()}


def mount(path: str = DEFAULT) -> None:
    """Mount a bpffs (mode 0700) on a directory; ``KernelError`` when the kernel refuses."""
    result = lib.so_mount_bpffs(os.fsencode(path))
    if result < 0:
        raise _refused(f"no bpffs could be mounted on {path}", -result, "mount")


def unmount(path: str = DEFAULT) -> None:
    """Unmount a bpffs that nobody uses; ``KernelError`` when somebody does."""
    result = lib.so_unmount(os.fsencode(path))
    if result < 0:
        raise _refused(f"the bpffs on {path} could not be unmounted", -result, "umount2")


def detached() -> Fd:
    """Make a bpffs that is mounted nowhere and own an fd of its root.

    Reach into it through ``/proc/self/fd/N/``. With the last fd it goes, and
    all pins in it, whatever happens to the process: nothing can be left.
    """
    result = lib.so_detached_bpffs()
    if result < 0:
        raise _refused("no private bpffs could be made", -result, "fsmount")
    return Fd(result)


def _refused(what: str, errno: int, operation: str) -> KernelError:
    kind = NotPermittedError if errno in NotPermittedError.ERRNOS else KernelError
    hint = "run as root (CAP_SYS_ADMIN)" if kind is NotPermittedError else ""
    return kind(what, why=os.strerror(errno), hint=hint, errno=errno, operation=operation)


def pins(root: str) -> tuple[str, ...]:
    """Return the paths of all pinned objects below a directory of a bpffs, without opening them."""
    found = []
    for folder, _, names in os.walk(root):
        found += [os.path.join(folder, name) for name in names]
    return tuple(sorted(found))
