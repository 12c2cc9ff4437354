"""Pins: where they go, and making one together with its undoing."""

from __future__ import annotations

import os
from contextlib import ExitStack, suppress
from errno import EEXIST

from structops_cli.errors import KernelError, NotPermittedError, UsageError
from structops_cli.runtime.interrupts import uninterrupted
from structops_cli.shell_words import shell_words
from structops_cli.struct_ops.explain import explained
from structops_cli.syscall import bpf, bpffs
from structops_cli.syscall.fd import Fd
from structops_cli.syscall.mount_table import mounted

__all__ = [
    "DEFAULT_PIN_DIR",
    "KEPT_FOLDER",
    "PIN_FOLDER",
    "check_lasting",
    "check_pin_dir",
    "is_of_this_project",
    "pin_path",
    "pin_with_undo",
    "pins_out_of_sight",
    "prepare_pin_dir",
    "remove_pin",
]

PIN_FOLDER = "structops"
"""The directory of a bpffs that holds the pins of this project's links."""
KEPT_FOLDER = "kept"
"""The directory, beside the pins of links, that holds those of the versions that they had before."""
DEFAULT_PIN_DIR = f"{bpffs.DEFAULT}/{PIN_FOLDER}"
"""Where links are pinned when the caller names no place; always the same, so that runbooks can rely on it."""


def is_of_this_project(path: str) -> bool:
    """Tell whether a path in a bpffs is a place of this project's, by the names of its directories."""
    return not {PIN_FOLDER, KEPT_FOLDER}.isdisjoint(path.split("/"))


def prepare_pin_dir(path: str, undo: ExitStack) -> None:
    """Make a directory for pins, mounting the bpffs of the default place when there is none; ``check_lasting`` first."""
    path = os.path.abspath(path)
    check_lasting(path)
    if not _is_mounted(path):
        with uninterrupted():
            bpffs.mount()
            undo.callback(_unmount_quietly)
    check_pin_dir(path)
    missing = []
    while not os.path.isdir(path):
        missing.append(path)
        path = os.path.dirname(path)
    for folder in reversed(missing):
        undo.callback(_rmdir_quietly, folder)
        _mkdir(folder)


def check_lasting(path: str) -> None:
    """Refuse the default place under ``ip netns exec``: a pin would go with the command, and be no pin at all.

    It mounts a new ``/sys`` for its command, under the name of the namespace, and the
    machine's bpffs is not in it (ip-netns(8)).
    """
    if _is_mounted(path) or not (name := _sys_of_ip_netns()):
        return
    raise UsageError(
        f"{path} would not outlive this command",
        why=f"ip netns exec {name} gives it a /sys of its own, without the machine's bpffs and what is pinned there",
        hint=f"run it outside, with {shell_words('--netns', name)} where a command takes that, "
        f"or with {shell_words('nsenter', f'--net=/run/netns/{name}')}",
    )


def _is_mounted(path: str) -> bool:
    """Tell whether a path is not of the default bpffs, or that one is mounted."""
    return not f"{path}/".startswith(f"{bpffs.DEFAULT}/") or bpffs.DEFAULT in (
        mount.path for mount in bpffs.mounts()
    )


def _sys_of_ip_netns() -> str:
    """Return the namespace whose name ``/sys`` is mounted under, "" for the machine's own."""
    sources = [item.source for item in mounted("sysfs") if item.path == "/sys"]
    source = sources[-1] if sources else ""
    return source if source and os.path.exists(f"/run/netns/{source}") else ""


def pins_out_of_sight() -> str:
    """Say why pins of the machine may be out of this process's sight; "" where it sees what process 1 does."""
    if name := _sys_of_ip_netns():
        return f"ip netns exec {shell_words(name)} gives this a /sys of its own, without the machine's bpffs"
    with suppress(OSError):  # not ours to look at: then it is not ours to say
        if os.stat(f"/proc/1/root{bpffs.DEFAULT}").st_dev != os.stat(bpffs.DEFAULT).st_dev:
            return f"process 1 has another {bpffs.DEFAULT}: this is a mount namespace of its own"
    return ""


def check_pin_dir(path: str) -> None:
    """Raise ``UsageError`` for a place where nothing can be pinned, or nothing would last."""
    check_lasting(path)
    if _is_mounted(path) and not bpffs.is_bpffs(path):
        raise UsageError(
            f"{path} is not on a bpffs",
            why="links and maps can be pinned nowhere else",
            hint="mount -t bpf bpf DIR, or leave the option out",
        )


def _mkdir(folder: str) -> None:
    try:
        os.mkdir(folder, 0o700)
    except OSError as error:
        if error.errno == EEXIST and os.path.isdir(folder):
            return  # somebody else was faster
        kind = NotPermittedError if error.errno in NotPermittedError.ERRNOS else KernelError
        refused = kind("mkdir failed", why=error.strerror or "", errno=error.errno or 0, operation="mkdir")
        raise explained(refused, f"{folder} could not be made") from None


def pin_with_undo(fd: Fd, path: str, undo: ExitStack) -> None:
    """Pin a map or link, and push its unpinning on ``undo``; no signal comes between the two."""
    with uninterrupted():
        bpf.obj_pin(fd, path)
        undo.callback(_unlink_quietly, path)


def remove_pin(path: str) -> bool:
    """Take a pin away and tell whether it was there. Raises ``KernelError`` for what the kernel refuses."""
    try:
        os.unlink(path)
    except FileNotFoundError:
        return False
    except OSError as error:
        kind = NotPermittedError if error.errno in NotPermittedError.ERRNOS else KernelError
        raise kind(
            f"the pin {path} could not be removed",
            why=error.strerror or "",
            errno=error.errno or 0,
            operation="unlink",
        ) from None
    return True


def pin_path(name: str, folder: str) -> str:
    """Return where something of this name is pinned in a folder."""
    return f"{folder}/{_pin_name(name)}"


def _pin_name(name: str) -> str:
    """Return a name as a pin may be called; bpffs itself refuses a dot."""
    return "".join(c if (c.isascii() and c.isalnum()) or c in "_-" else "_" for c in name)


def _unlink_quietly(path: str) -> None:
    for _ in range(2):  # what a moment's want of memory refuses is done the second time
        try:
            os.unlink(path)
        except FileNotFoundError:
            return
        except OSError:
            continue
        return


def _rmdir_quietly(path: str) -> None:
    with suppress(OSError):
        os.rmdir(path)


def _unmount_quietly() -> None:
    with suppress(KernelError):
        bpffs.unmount()
