"""Change the kernel for the benchmark, and undo the changes."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from errno import EBUSY, ENOENT
from pathlib import Path

from structops_cli.btf.kernel_types import KernelTypes
from structops_cli.core.target import Target
from structops_cli.errors import KernelError
from structops_cli.obj.reader import read_object
from structops_cli.runtime.struct_ops_map import create_struct_ops_map, least_btf
from structops_cli.struct_ops.catalogue import find_type
from structops_cli.struct_ops.plan import Selection
from structops_cli.syscall import bpf, bpffs
from structops_cli.syscall.fd import Fd
from structops_cli.syscall.info import link_info
from tests.registering import register_object

__all__ = [
    "enter_private_mounts",
    "maps_without_value",
    "private_bpffs",
    "registered_maps",
    "unregister_pins",
]

TYPE = "tcp_congestion_ops"
PRIVATE = "STRUCTOPS_BENCH_PRIVATE"
SETTLE_SECONDS = 2.0
POLL_SECONDS = 0.002


def enter_private_mounts(arguments: list[str]) -> None:
    """Execute this program again in a private mount namespace, with ``unshare``.

    A bpffs mounted there ends with the last process in it, together with its pins. So no
    registration is left even after SIGKILL.
    """
    if PRIVATE not in os.environ:
        os.environ[PRIVATE] = "1"
        os.execvp("unshare", ["unshare", "--mount", "--propagation", "private", *arguments])


@contextmanager
def private_bpffs() -> Iterator[Path]:
    """Mount a bpffs on a temporary folder; unregister its pins at the end of the block."""
    with tempfile.TemporaryDirectory(prefix="structops-bench-") as folder:
        bpffs.mount(folder)
        try:
            with ExitStack() as stack:
                stack.callback(unregister_pins, folder)
                yield Path(folder)
        finally:
            _unmount(folder)


def _unmount(folder: str) -> None:
    """Unmount a bpffs; retry while an interrupted child still uses it."""
    deadline = time.monotonic() + SETTLE_SECONDS
    while True:
        try:
            return bpffs.unmount(folder)
        except KernelError as error:
            if error.errno != EBUSY or time.monotonic() > deadline:
                raise
        time.sleep(POLL_SECONDS)


def unregister_pins(folder: str | Path) -> None:
    """Detach and unpin every link below a folder, and wait until the kernel frees their maps.

    The kernel unregisters the map of an unpinned link later, in a worker. The next run
    would find the name taken, so links are detached first.
    """
    maps = [map_id for path in bpffs.pins(os.fspath(folder)) if (map_id := _unregister_pin(path))]
    deadline = time.monotonic() + SETTLE_SECONDS
    while any(_exists(map_id) for map_id in maps) and time.monotonic() < deadline:
        time.sleep(POLL_SECONDS)


def _unregister_pin(path: str) -> int | None:
    """Remove a pinned link and return its map's id.

    Returns None for the iterators that some kernels put into every bpffs.
    """
    try:
        link = bpf.obj_get(path)
    except KernelError as error:
        if error.errno == ENOENT:
            return None
        raise
    with link:
        map_id = link_info(link).map_id
        _detach(link)
    os.unlink(path)
    return map_id


def _detach(link: Fd) -> None:
    with suppress(KernelError):  # LINK_DETACH came with Linux 6.11; before, the last reference unregisters
        bpf.link_detach(link)


def _exists(map_id: int) -> bool:
    try:
        bpf.map_get_fd_by_id(map_id).close()
    except KernelError as error:
        if error.errno == ENOENT:
            return False
        raise
    return True


@contextmanager
def registered_maps(objects: list[bytes], target: Target) -> Iterator[None]:
    """Register objects during the block, each with its own programs and link."""
    with ExitStack() as undo:
        for data in objects:
            done = register_object(read_object(data, "bench.bpf.o"), target, Selection(), None, undo)
            for one in done.registered:
                if one.link is not None:
                    undo.callback(_detach, one.link)
        yield


@contextmanager
def maps_without_value(names: tuple[str, ...], kernel: KernelTypes) -> Iterator[None]:
    """Create struct_ops maps without a value during the block."""
    kernel_type = find_type(kernel, TYPE)
    with ExitStack() as stack:
        btf = stack.enter_context(least_btf())
        for name in names:
            stack.enter_context(create_struct_ops_map(kernel_type, name, btf, link=True))
        yield
