"""The BPF file system: its mounts, mounting it, and a private one.

BPF_OBJ_PIN creates pins and ``os.unlink`` removes them, not this module.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from errno import EACCES, ENOENT, ENOTDIR, EPERM
from typing import NamedTuple

from structops_cli.errors import KernelError
from structops_cli.syscall._native import lib
from structops_cli.syscall.fd import Fd
from structops_cli.syscall.mount_table import mounted

DEFAULT = "/sys/fs/bpf"
"""The usual mount point."""


class Mount(NamedTuple):
    """A mounted bpffs: its path, and the device that ``stat`` shows for its files."""

    path: str
    device: int


def mounts() -> tuple[Mount, ...]:
    """Return the bpffs mounts that this process can reach, the usual one first.

    Of several mounts on one path the last one hides the others.
    """
    found = {item.path: Mount(item.path, item.device) for item in mounted("bpf")}
    return tuple(sorted(found.values(), key=lambda item: item.path != DEFAULT))


def is_bpffs(path: str) -> bool:
    """Tell whether a path, or its nearest existing parent, lies in a bpffs."""
    path = os.path.abspath(path)
    while not os.path.exists(path):
        path = os.path.dirname(path)
    return os.stat(path).st_dev in {item.device for item in mounts()}


def mount(path: str = DEFAULT) -> None:
    """Mount a bpffs (mode 0700) on a directory."""
    result = lib.so_mount_bpffs(os.fsencode(path))
    if result < 0:
        raise _refused(f"no bpffs could be mounted on {path}", -result, "mount")


def unmount(path: str = DEFAULT) -> None:
    """Unmount a bpffs. Raises ``KernelError`` (EBUSY) while it is in use."""
    result = lib.so_unmount(os.fsencode(path))
    if result < 0:
        raise _refused(f"the bpffs on {path} could not be unmounted", -result, "umount2")


def detached() -> Fd:
    """Create a bpffs without a mount point, and own an fd of its root.

    ``/proc/self/fd/N/`` leads into it. The kernel frees it with all its pins when the
    last fd closes, even after SIGKILL.
    """
    result = lib.so_detached_bpffs()
    if result < 0:
        raise _refused("no private bpffs could be made", -result, "fsmount")
    return Fd(result)


def _refused(what: str, errno: int, operation: str) -> KernelError:
    why = os.strerror(errno)
    return KernelError.from_errno(what, why=why, errno=errno, operation=operation, capability="CAP_SYS_ADMIN")


def pins(root: str, must_be_seen: Callable[[str], bool] = lambda _: False) -> tuple[str, ...]:
    """Return the paths of all pins below a directory of a bpffs, without opening them.

    Folders that are gone or not readable for this process are skipped. Raises
    ``OSError`` for an unreadable folder that ``must_be_seen`` names, and for other
    errors.
    """

    def refused(error: OSError) -> None:
        may_be_left_out = error.errno in (EACCES, EPERM) and not must_be_seen(os.fsdecode(error.filename))
        if error.errno not in (ENOENT, ENOTDIR) and not may_be_left_out:
            raise error

    found = []
    for folder, _, names in os.walk(root, onerror=refused):
        found += [os.path.join(folder, name) for name in names]
    return tuple(sorted(found))
