"""Pins: where they go, pinning with an undo, and pins of links that register nothing any more."""

from __future__ import annotations

import os
from contextlib import ExitStack, suppress
from errno import EEXIST, ENOENT

from structops_cli.errors import KernelError, StructopsError, UsageError
from structops_cli.runtime.interrupts import uninterrupted
from structops_cli.runtime.pin_directory import (
    PinPath,
    Writers,
    open_directory,
    open_pin,
    owner_text,
    pin_parent,
)
from structops_cli.shell_words import shell_words
from structops_cli.syscall import bpf, bpffs
from structops_cli.syscall.fd import Fd
from structops_cli.syscall.info import link_info
from structops_cli.syscall.mount_table import mounted
from structops_cli.syscall.uapi import BpfLinkType

__all__ = [
    "DEFAULT_PIN_DIR",
    "KEPT_FOLDER",
    "PIN_FOLDER",
    "STATE_NAME",
    "absent_directories",
    "check_lasting",
    "check_pin_dir",
    "dead_pins",
    "escaped",
    "is_dead",
    "is_mounted",
    "is_of_this_project",
    "is_safe",
    "map_pin_path",
    "pin_again",
    "pin_link",
    "pin_path",
    "pin_with_undo",
    "pinned_name",
    "prepare_pin_dir",
    "raw_map_path",
    "remove_pin",
    "unreachable_pins",
]

PIN_FOLDER = "structops"
"""The directory of a bpffs that holds the pins of this project's links."""
KEPT_FOLDER = "kept"
"""The directory, beside the pins of links, that holds those of the versions that they had before."""
DEFAULT_PIN_DIR = f"{bpffs.DEFAULT}/{PIN_FOLDER}"
"""Where links are pinned when the caller names no place; always the same, so that runbooks can rely on it."""
STATE_NAME = "structops-memory"
"""The pin, beside the links, of the map that saves defaults and routes as they were before."""
RAW_MAP_PREFIX = "map_"
"""The pins of ``structops map create``, beside the links, begin so."""
RESERVED = frozenset({KEPT_FOLDER, STATE_NAME})
"""Names beside the links that are none of a link."""


def is_of_this_project(path: str) -> bool:
    """Tell whether a path in a bpffs is a place of this project's, by the names of its directories."""
    return not {PIN_FOLDER, KEPT_FOLDER}.isdisjoint(path.split("/"))


def prepare_pin_dir(path: str, undo: ExitStack, writers: Writers = Writers.CALLER) -> None:
    """Make a directory for pins, and mount the bpffs of the default place when there is none; check who can write there."""
    path = os.path.abspath(path)
    check_lasting(path)
    if not is_mounted(path):
        with uninterrupted():
            bpffs.mount()
            undo.callback(_unmount_quietly)
    open_directory(path, writers, undo).close()


def absent_directories(path: str) -> tuple[str, ...]:
    """Return the directories that ``prepare_pin_dir`` would make, the deepest first."""
    absent = []
    path = os.path.abspath(path)
    while not os.path.lexists(path):
        absent.append(path)
        path = os.path.dirname(path)
    return tuple(absent)


def check_lasting(path: str) -> None:
    """Refuse the default place under ``ip netns exec``: a pin would go with the command, and be no pin at all.

    It mounts a new ``/sys`` for its command, under the name of the namespace, and the
    machine's bpffs is not in it (ip-netns(8)).
    """
    if is_mounted(path) or not (name := _sys_of_ip_netns()):
        return
    raise UsageError(
        f"{path} would not outlive this command",
        why=f"ip netns exec {name} gives it a /sys of its own, without the machine's bpffs and what is pinned there",
        hint=f"run it outside, with {shell_words('--netns', name)} where a command takes that, "
        f"or with {shell_words('nsenter', f'--net=/run/netns/{name}')}",
    )


def is_mounted(path: str) -> bool:
    """Tell whether a path is not of the default bpffs, or that one is mounted."""
    return not f"{path}/".startswith(f"{bpffs.DEFAULT}/") or bpffs.DEFAULT in (
        mount.path for mount in bpffs.mounts()
    )


def _sys_of_ip_netns() -> str:
    """Return the namespace whose name ``/sys`` is mounted under, "" for the machine's own."""
    sources = [item.source for item in mounted("sysfs") if item.path == "/sys"]
    source = sources[-1] if sources else ""
    return source if source and os.path.exists(f"/run/netns/{source}") else ""


def unreachable_pins() -> str:
    """Say why pins of the machine may be out of this process's sight; "" where it sees what process 1 does."""
    if name := _sys_of_ip_netns():
        return f"ip netns exec {shell_words(name)} gives this a /sys of its own, without the machine's bpffs"
    with suppress(OSError):  # not ours to look at: then it is not ours to say
        if os.stat(f"/proc/1/root{bpffs.DEFAULT}").st_dev != os.stat(bpffs.DEFAULT).st_dev:
            return f"process 1 has another {bpffs.DEFAULT}: this is a mount namespace of its own"
    return ""


def check_pin_dir(path: str, writers: Writers = Writers.CALLER) -> None:
    """Raise what ``prepare_pin_dir`` would, without making anything: no bpffs, or others can write there."""
    check_lasting(path)
    if not is_mounted(path):
        return
    try:
        open_directory(path, writers).close()
    except KernelError as error:
        if error.errno != ENOENT:
            raise


def is_safe(path: str) -> bool:
    """Tell whether structops would pin something at a path: nobody else can write in its directory."""
    try:
        check_pin_dir(os.path.dirname(path))
    except StructopsError:
        return False
    return True


def pin_with_undo(fd: Fd, path: str, undo: ExitStack, writers: Writers = Writers.CALLER) -> None:
    """Pin a map or link in a directory that is checked first, and push its unpinning on ``undo``; no signal comes between."""
    with uninterrupted(), pin_parent(path, writers) as place:
        try:
            bpf.obj_pin(fd, place.path)
        except KernelError as error:
            if error.errno == EEXIST:
                error.why = _taken_by_another(place)
            raise
        undo.callback(_unlink_quietly, path)


def _taken_by_another(place: PinPath) -> str:
    """Say who has put another thing at the path of a pin; "" for root and the caller."""
    with suppress(OSError):
        owner = os.stat(place.name, dir_fd=place.folder.fileno(), follow_symlinks=False).st_uid
        if owner not in (0, os.geteuid()):
            return f"the path exists, and belongs to {owner_text(owner)}"
    return ""


def pin_again(fd: Fd, path: str) -> None:
    """Put back a pin that was removed, wherever it was; a failure changes nothing."""
    with suppress(StructopsError), pin_parent(path, Writers.ANYBODY) as place:
        bpf.obj_pin(fd, place.path)


def remove_pin(path: str) -> bool:
    """Remove a pin and tell whether it was there. Raises ``KernelError`` for what the kernel refuses."""
    try:
        with pin_parent(path, Writers.ANYBODY) as place:
            os.unlink(place.name, dir_fd=place.folder.fileno())
    except OSError as error:  # a KernelError is one
        if error.errno == ENOENT:
            return False
        why = error.why if isinstance(error, KernelError) else error.strerror or ""
        raise KernelError.from_errno(
            f"the pin {path} could not be removed", why=why, errno=error.errno or 0, operation="unlink"
        ) from None
    return True


def pin_path(name: str, folder: str) -> str:
    """Return where the link of a registered name is pinned in a folder.

    Different names have different paths. A name that only has letters, digits, "_" and "-" is its own pin, unless
    structops itself puts something else there.
    """
    reserved = name in RESERVED or name.startswith(RAW_MAP_PREFIX)
    return f"{folder}/{_hex(name[0]) if reserved else ''}{escaped(name[1:] if reserved else name)}"


def map_pin_path(name: str, folder: str) -> str:
    """Return where a map that is shared by name is pinned in a folder, which others use, too: no name is reserved."""
    return f"{folder}/{escaped(name)}"


def raw_map_path(name: str) -> str:
    """Return where ``structops map create`` pins a map when the user names no place."""
    return map_pin_path(f"{RAW_MAP_PREFIX}{name}", DEFAULT_PIN_DIR)


def pinned_name(path: str) -> str:
    """Return the registered name that a path of ``pin_path`` is for."""
    from urllib.parse import unquote  # only what is found by its path needs it

    return unquote(os.path.basename(path), errors="surrogateescape")


def escaped(name: str) -> str:
    """Return a name as a file of a bpffs may be called, which refuses dots: other characters become %XX."""
    return "".join(c if (c.isascii() and c.isalnum()) or c in "_-" else _hex(c) for c in name)


def _hex(char: str) -> str:
    return "".join(f"%{byte:02x}" for byte in char.encode("utf-8", "surrogateescape"))


def _unlink_quietly(path: str) -> None:
    for _ in range(2):  # a call that the kernel refused for want of memory is tried once more
        with suppress(OSError, StructopsError):
            remove_pin(path)
            return


def _unmount_quietly() -> None:
    with suppress(KernelError):
        bpffs.unmount()


def is_dead(path: str, writers: Writers = Writers.ANYBODY) -> bool:
    """Tell whether a pin is of a struct_ops link without a map, and in a directory of ``writers``."""
    try:
        with open_pin(path, writers) as fd:
            if not os.readlink(f"/proc/self/fd/{fd.fileno()}").endswith(("bpf_link", "bpf-link")):
                return False
            info = link_info(fd)
    except (StructopsError, OSError):  # no object, or gone
        return False
    return info.link_type == BpfLinkType.STRUCT_OPS and not info.map_id


def dead_pins(name: str) -> tuple[str, ...]:
    """Return the dead pins, in any bpffs, at whose place a link of that name would be; of a path, itself if it is one."""
    if os.sep in name:
        return (name,) if is_dead(name) else ()
    return tuple(
        path
        for mount in bpffs.mounts()
        for path in bpffs.pins(mount.path)
        if pinned_name(path) == name and is_dead(path)
    )


def pin_link(link: Fd, path: str, undo: ExitStack) -> bool:
    """Pin a link, in the place of a dead one if that has the path, and push its unpinning on ``undo``; tell whether one had.

    The dead pin does not come back by the undoing: nothing was registered through it.
    """
    try:
        pin_with_undo(link, path, undo)
    except KernelError as error:
        if error.errno != EEXIST or not is_dead(path, Writers.CALLER):
            raise
    else:
        return False
    with uninterrupted():
        remove_pin(path)
        pin_with_undo(link, path, undo)
    return True
