"""Load an object file with bpftool or with structops for the length of a block."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from structops_cli.core.target import Target
from structops_cli.errors import KernelError
from structops_cli.obj.reader import read_object
from structops_cli.runtime.inventory import type_of_map
from structops_cli.runtime.kernel import live_kernel
from structops_cli.runtime.loader import load
from structops_cli.runtime.registration import register
from structops_cli.struct_ops.plan import plan_object
from structops_cli.struct_ops.value import KEY, read_name
from structops_cli.syscall import bpf, bpf_maps, bpffs
from structops_cli.syscall.fd import Fd
from structops_cli.syscall.info import MapInfo, ProgInfo, map_info, prog_info
from structops_cli.syscall.uapi import BPF_F_LINK, BpfMapType, BpfProgType
from tests.compile import bpftool

__all__ = ["Held", "Refused", "by_bpftool", "by_structops"]

TIMEOUT_S = 60
SETTLE_S = 0.3
"""Time for the kernel to clear closed program arrays.

If an array is opened and its last fd closed again before, it leaks a reference:
``prog_array_map_clear`` finds its work already queued. So each is opened only once.
"""


class Held(NamedTuple):
    """Ids of loaded programs and maps, from which everything else can be reached."""

    programs: tuple[int, ...]
    maps: tuple[int, ...]


class Refused(Exception):  # noqa: N818 -- an answer, not an error
    """bpftool did not load the object; the text is its stderr."""


@contextmanager
def by_bpftool(path: Path, folder: Path, *, registers: bool) -> Iterator[Held]:
    """Load with bpftool, and register if asked to; ``folder`` is a new one on a bpffs."""
    folder.mkdir()
    with _registered_by_bpftool(path, folder) if registers else _loaded_by_bpftool(path, folder) as held:
        yield held


@contextmanager
def _registered_by_bpftool(path: Path, folder: Path) -> Iterator[Held]:
    before = frozenset(bpf.map_ids())
    said = _run("struct_ops", "register", path, folder)
    data = path.read_bytes()
    if any(one.map_type == BpfMapType.PROG_ARRAY for one in read_object(data, path.name).maps):
        time.sleep(SETTLE_S)
    with ExitStack() as stack:
        fds = [stack.enter_context(fd) for fd in _opened(frozenset(bpf.map_ids()) - before)]
        struct_ops = [fd for fd in fds if map_info(fd).map_type == BpfMapType.STRUCT_OPS]
        maps = [fd for fd in struct_ops if _is_set(fd) and _name(fd).encode() in data]
        stack.callback(_unregister, folder, maps)
        if not maps:  # not by the exit code: bpftool 7.5 ends with 255 if there are optional variables
            raise Refused(said)
        yield Held((), tuple(map_info(fd).id for fd in maps))


@contextmanager
def _loaded_by_bpftool(path: Path, folder: Path) -> Iterator[Held]:
    said = _run("prog", "loadall", path, folder / "programs", "pinmaps", folder / "maps")
    pins = bpffs.pins(str(folder))
    with ExitStack() as stack:
        for pin in pins:
            stack.callback(os.unlink, pin)
        if not pins:
            raise Refused(said)
        yield Held(
            tuple(_pinned(folder / "programs", prog_info, BpfProgType.STRUCT_OPS)),
            tuple(_pinned(folder / "maps", map_info, BpfMapType.STRUCT_OPS)),
        )


@contextmanager
def by_structops(path: Path, target: Target, *, registers: bool) -> Iterator[Held]:
    """Load with this project's loader, and register if asked to."""
    spec = read_object(path.read_bytes(), path.name)
    plan = plan_object(spec, target.kernel)
    with load(spec, plan, target) as loaded, ExitStack() as undo:
        if registers:
            done = register(loaded, None, undo)
            yield Held((), tuple(one.map_id for one in done))
            for one in done:
                if one.link is not None:
                    bpf.link_detach(one.link)
        else:
            programs, maps = loaded.programs.values(), loaded.struct_ops.values()
            yield Held(tuple(prog_info(fd).id for fd in programs), tuple(map_info(fd).id for fd in maps))


def _run(*arguments: str | Path) -> str:
    command = [bpftool(), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=TIMEOUT_S)
    return done.stderr


def _opened(ids: Iterable[int]) -> Iterator[Fd]:
    """Open the maps that still exist. The caller keeps all of them open (``SETTLE_S``)."""
    for map_id in ids:
        with suppress(KernelError):
            yield bpf.map_get_fd_by_id(map_id)


def _is_set(map_fd: Fd) -> bool:
    return any(bpf_maps.map_lookup_elem(map_fd, KEY, map_info(map_fd).value_size))


def _name(map_fd: Fd) -> str:
    """Return the registered name or the map's own, which other processes do not have."""
    info = map_info(map_fd)
    value = bpf_maps.map_lookup_elem(map_fd, KEY, info.value_size)
    return read_name(type_of_map(live_kernel(), info), value) or info.name


def _pinned(folder: Path, info_of: Callable[[Fd], MapInfo | ProgInfo], wanted: int) -> Iterator[int]:
    """Yield the ids of pinned struct_ops objects; programs lead to the other maps."""
    for path in bpffs.pins(str(folder)):
        with bpf.obj_get(path) as fd:
            info = info_of(fd)
        if (info.map_type if isinstance(info, MapInfo) else info.prog_type) == wanted:
            yield info.id


def _unregister(folder: Path, maps: Iterable[Fd]) -> None:
    """Undo the registration by bpftool.

    A worker unregisters an unpinned link later, so links are detached first.
    """
    for path in bpffs.pins(str(folder)):
        with bpf.obj_get(path) as link:
            bpf.link_detach(link)
        os.unlink(path)
    for fd in maps:
        if not map_info(fd).map_flags & BPF_F_LINK:
            bpf_maps.map_delete_elem(fd, KEY)
