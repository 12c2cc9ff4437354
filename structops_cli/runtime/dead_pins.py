"""Pins of links that register nothing any more: somebody detached the link, or the kernel did, and the pin stayed.

The kernel frees the map of a detached link, so that only the path still says what it was of.
"""

from __future__ import annotations

import os
from contextlib import ExitStack
from errno import EEXIST

from structops_cli.errors import KernelError, StructopsError
from structops_cli.runtime.interrupts import uninterrupted
from structops_cli.runtime.pin_directory import Writers, open_pin
from structops_cli.runtime.pins import pin_with_undo, pinned_name, remove_pin
from structops_cli.syscall import bpffs
from structops_cli.syscall.fd import Fd
from structops_cli.syscall.info import link_info
from structops_cli.syscall.uapi import BpfLinkType

__all__ = ["dead_pins", "is_dead", "pin_link"]


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
