"""Load one object file twice, by bpftool and by structops, each for the length of a block, and say what to look at."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from structops_cli.core.target import Target
from structops_cli.errors import KernelError
from structops_cli.obj.reader import read_object
from structops_cli.runtime.loader import load
from structops_cli.runtime.registration import register
from structops_cli.struct_ops.plan import plan_object
from structops_cli.struct_ops.value import KEY
from structops_cli.syscall import bpf, bpffs
from structops_cli.syscall.info import map_info, prog_info
from structops_cli.syscall.uapi import BPF_F_LINK, BpfMapType
from tests.compile import bpftool

__all__ = ["Held", "Refused", "by_bpftool", "by_structops"]

PATIENCE_S = 60
SETTLE_S = 0.03
"""What the kernel gets to clear the program arrays that bpftool closed: one that is opened by its id meanwhile is
cleared a second time, and the reference that the second clearing takes is lost for ever (``prog_array_map_clear``)."""


class Held(NamedTuple):
    """Ids of what a load left in the kernel, from which all the rest can be reached."""

    programs: tuple[int, ...]
    maps: tuple[int, ...]


class Refused(Exception):  # noqa: N818 -- an answer, not an error
    """bpftool did not load the object; the text is what it said."""


@contextmanager
def by_bpftool(path: Path, folder: Path, *, registers: bool) -> Iterator[Held]:
    """Load with bpftool, and register what can be when asked to; ``folder`` is a new one, on a bpffs."""
    folder.mkdir()
    before = frozenset(bpf.map_ids())
    try:
        if registers:
            said = _run("struct_ops", "register", path, folder)
            time.sleep(SETTLE_S)
            # bpftool 7.5 registers all there is and ends with 255 when the object has optional variables
            held = Held((), tuple(_registered(frozenset(bpf.map_ids()) - before)))
        else:
            said = _run("prog", "loadall", path, folder / "programs", "pinmaps", folder / "maps")
            held = Held(_pinned_programs(folder / "programs"), _pinned_maps(folder / "maps"))
        if not (held.maps or held.programs):
            raise Refused(said)
        yield held
    finally:
        _unregister(folder, frozenset(bpf.map_ids()) - before)


@contextmanager
def by_structops(path: Path, target: Target, *, registers: bool) -> Iterator[Held]:
    """Load with this project's loader, and register when asked to."""
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
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=PATIENCE_S)
    return done.stderr


def _registered(new: frozenset[int]) -> Iterator[int]:
    """Yield the struct_ops maps among new ones whose value is set."""
    for map_id in sorted(new):
        with suppress(KernelError), bpf.map_get_fd_by_id(map_id) as fd:
            info = map_info(fd)
            if info.map_type == BpfMapType.STRUCT_OPS and any(bpf.map_lookup_elem(fd, KEY, info.value_size)):
                yield map_id


def _pinned_programs(folder: Path) -> tuple[int, ...]:
    found = []
    for path in bpffs.pins(str(folder)) if folder.is_dir() else ():
        with bpf.obj_get(path) as fd:
            found.append(prog_info(fd).id)
    return tuple(found)


def _pinned_maps(folder: Path) -> tuple[int, ...]:
    """Return the struct_ops maps among the pinned ones; the others count when a program uses them."""
    found = []
    for path in bpffs.pins(str(folder)) if folder.is_dir() else ():
        with bpf.obj_get(path) as fd:
            info = map_info(fd)
        if info.map_type == BpfMapType.STRUCT_OPS:
            found.append(info.id)
    return tuple(found)


def _unregister(folder: Path, new: frozenset[int]) -> None:
    """Take back what bpftool did; links are detached first, for an unpinned one is given up later, by a worker."""
    for path in bpffs.pins(str(folder)):
        if Path(path).parent == folder:
            with bpf.obj_get(path) as link:
                bpf.link_detach(link)
        os.unlink(path)
    for map_id in _registered(new):
        with suppress(KernelError), bpf.map_get_fd_by_id(map_id) as fd:
            if not map_info(fd).map_flags & BPF_F_LINK:
                bpf.map_delete_elem(fd, KEY)
