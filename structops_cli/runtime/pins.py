"""Pin links and maps with an undo, and find dead pins, whose link registers nothing.

Another process, or the kernel, may detach a pinned link. The kernel then frees the map, and
only the path of the pin still has its name.
"""

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
from structops_cli.syscall.info import ObjectType, link_info, object_type
from structops_cli.syscall.mount_table import mounted
from structops_cli.syscall.uapi import BpfLinkType

PIN_FOLDER = "structops"
"""The directory of a bpffs with the pins of this project's links."""
KEPT_FOLDER = "kept"
"""The directory beside these pins with the pins of earlier versions."""
DEFAULT_PIN_DIR = f"{bpffs.DEFAULT}/{PIN_FOLDER}"
"""The default of ``--pin-dir``. It never changes, because runbooks rely on it."""
STATE_NAME = "structops-memory"
"""The pin, beside these pins, of the map that saves defaults and routes."""
RAW_MAP_PREFIX = "map_"
"""The prefix of the pins of ``structops map create``."""
RESERVED = frozenset({KEPT_FOLDER, STATE_NAME})
"""Names in the pin directory that are not pins of links."""


def is_of_this_project(path: str) -> bool:
    """Tell by its directories whether a path in a bpffs belongs to this project."""
    return not {PIN_FOLDER, KEPT_FOLDER}.isdisjoint(path.split("/"))


def prepare_pin_dir(path: str, undo: ExitStack, writers: Writers = Writers.CALLER) -> None:
    """Create and check a directory for pins; mount the default bpffs if it is missing."""
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
    """Refuse the default directory under ``ip netns exec``, where a pin would not last.

    ip-netns(8) mounts a new ``/sys`` for its command, without the machine's bpffs.
    """
    if is_mounted(path) or not (name := _sys_of_ip_netns()):
        return
    raise UsageError(
        f"{path} would not outlive this command",
        why=f"ip netns exec {name} mounts another /sys for it, without the machine's bpffs and its pins",
        hint=f"run it outside, with {shell_words('--netns', name)} where a command takes that, "
        f"or with {shell_words('nsenter', f'--net=/run/netns/{name}')}",
    )


def is_mounted(path: str) -> bool:
    """Tell whether a path is outside the default bpffs, or the default bpffs is mounted."""
    return not f"{path}/".startswith(f"{bpffs.DEFAULT}/") or bpffs.DEFAULT in (
        mount.path for mount in bpffs.mounts()
    )


def _sys_of_ip_netns() -> str | None:
    """Return the ``ip netns`` namespace of ``/sys``, None for the machine's ``/sys``."""
    sources = [item.source for item in mounted("sysfs") if item.path == "/sys"]
    source = sources[-1] if sources else ""
    return source if source and os.path.exists(f"/run/netns/{source}") else None


def unreachable_pins() -> str | None:
    """Return the reason why the machine's pins are unreachable, None if they are reachable."""
    if name := _sys_of_ip_netns():
        return f"ip netns exec {shell_words(name)} mounts another /sys for this command, without the machine's bpffs"
    with suppress(OSError):  # without the permission to read it, assume the same mount
        if os.stat(f"/proc/1/root{bpffs.DEFAULT}").st_dev != os.stat(bpffs.DEFAULT).st_dev:
            return f"process 1 has another {bpffs.DEFAULT}: this process is in another mount namespace"
    return None


def check_pin_dir(path: str, writers: Writers = Writers.CALLER) -> None:
    """Raise the errors of ``prepare_pin_dir`` without creating anything."""
    check_lasting(path)
    if not is_mounted(path):
        return
    try:
        open_directory(path, writers).close()
    except KernelError as error:
        if error.errno != ENOENT:
            raise


def is_safe(path: str) -> bool:
    """Tell whether other users cannot write in the directory of a path."""
    try:
        check_pin_dir(os.path.dirname(path))
    except StructopsError:
        return False
    return True


def pin_with_undo(fd: Fd, path: str, undo: ExitStack, writers: Writers = Writers.CALLER) -> None:
    """Pin a map or link in a checked directory, and push the unpinning on ``undo``.

    Signals are blocked in between.
    """
    with uninterrupted(), pin_parent(path, writers) as place:
        try:
            bpf.obj_pin(fd, place.path)
        except KernelError as error:
            if error.errno == EEXIST:
                error.why = _taken_by_another(place) or ""
            raise
        undo.callback(_unlink_quietly, path)


def _taken_by_another(place: PinPath) -> str | None:
    """Return the foreign owner of the object at a pin's path; None for root and the caller."""
    with suppress(OSError):
        owner = os.stat(place.name, dir_fd=place.folder.fileno(), follow_symlinks=False).st_uid
        if owner not in (0, os.geteuid()):
            return f"the path exists, and belongs to {owner_text(owner)}"
    return None


def pin_again(fd: Fd, path: str) -> None:
    """Pin again at the path of a removed pin; ignore a failure."""
    with suppress(StructopsError), pin_parent(path, Writers.ANYBODY) as place:
        bpf.obj_pin(fd, place.path)


def remove_pin(path: str) -> bool:
    """Remove a pin and tell whether it existed. Raises ``KernelError`` for a refusal."""
    try:
        with pin_parent(path, Writers.ANYBODY) as place:
            os.unlink(place.name, dir_fd=place.folder.fileno())
    except OSError as error:  # or a KernelError, its subclass
        if error.errno == ENOENT:
            return False
        why = error.why if isinstance(error, KernelError) else error.strerror or ""
        raise KernelError.from_errno(
            f"the pin {path} could not be removed", why=why, errno=error.errno or 0, operation="unlink"
        ) from None
    return True


def pin_path(name: str, folder: str) -> str:
    """Return the path of the pin of a link, by registered name.

    Different names have different paths. A name of letters, digits, "_" and "-" is its own
    pin, unless structops reserves it.
    """
    reserved = name in RESERVED or name.startswith(RAW_MAP_PREFIX)
    return f"{folder}/{_hex(name[0]) if reserved else ''}{escaped(name[1:] if reserved else name)}"


def map_pin_path(name: str, folder: str) -> str:
    """Return the path of a shared map's pin, in a directory with pins of other programs."""
    return f"{folder}/{escaped(name)}"


def raw_map_path(name: str) -> str:
    """Return the default path of the pin of ``structops map create``."""
    return map_pin_path(f"{RAW_MAP_PREFIX}{name}", DEFAULT_PIN_DIR)


def pinned_name(path: str) -> str:
    """Return the registered name of a ``pin_path``."""
    from urllib.parse import unquote  # only names from paths need it

    return unquote(os.path.basename(path), errors="surrogateescape")


def escaped(name: str) -> str:
    """Return a name for a file of a bpffs, which refuses dots: other characters become %XX."""
    return "".join(c if (c.isascii() and c.isalnum()) or c in "_-" else _hex(c) for c in name)


def _hex(char: str) -> str:
    return "".join(f"%{byte:02x}" for byte in char.encode("utf-8", "surrogateescape"))


def _unlink_quietly(path: str) -> None:
    for _ in range(2):  # try again after ENOMEM
        with suppress(OSError, StructopsError):
            remove_pin(path)
            return


def _unmount_quietly() -> None:
    with suppress(KernelError):
        bpffs.unmount()


def is_dead(path: str, writers: Writers = Writers.ANYBODY) -> bool:
    """Tell whether a pin is of a struct_ops link without a map.

    A pin that a user outside ``writers`` could have made is not dead.
    """
    try:
        with open_pin(path, writers) as fd:
            if object_type(fd) is not ObjectType.LINK:
                return False
            info = link_info(fd)
    except (StructopsError, OSError):  # no object, or gone
        return False
    return info.link_type == BpfLinkType.STRUCT_OPS and not info.map_id


def dead_pins(name: str) -> tuple[str, ...]:
    """Return the dead pins of a registered name in each bpffs, or of a path."""
    if os.sep in name:
        return (name,) if is_dead(name) else ()
    return tuple(
        path
        for mount in bpffs.mounts()
        for path in bpffs.pins(mount.path)
        if pinned_name(path) == name and is_dead(path)
    )


def pin_link(link: Fd, path: str, undo: ExitStack) -> bool:
    """Pin a link, replacing a dead pin, and push the unpinning on ``undo``.

    Returns whether there was a dead pin. The undo does not restore it: it registered
    nothing.
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
