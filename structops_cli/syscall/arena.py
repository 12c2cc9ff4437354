"""The memory of an arena map, which user space reaches through mmap(2) (``kernel/bpf/arena.c``)."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from structops_cli.errors import KernelError
from structops_cli.syscall._native import ffi, lib
from structops_cli.syscall.fd import Fd

if TYPE_CHECKING:
    from mmap import mmap

__all__ = ["write_arena"]


def write_arena(fd: Fd, address: int, size_bytes: int, data: bytes | memoryview | mmap) -> None:
    """Write the first bytes of an arena of ``size_bytes``, which is mapped at ``address`` (0: anywhere) meanwhile.

    An arena that was made without an address (``map_extra`` 0) gets one by this,
    as the kernel wants before it takes a program that uses it.
    """
    result = lib.so_write_arena(fd.fileno(), address, size_bytes, ffi.from_buffer(data), len(data))
    if result < 0:
        why = os.strerror(-result)
        raise KernelError.from_errno(
            "the arena could not be mapped", why=why, errno=-result, operation="mmap"
        )
