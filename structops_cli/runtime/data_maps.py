"""Create array maps of one element for data sections, and fill the globals of an arena."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from structops_cli.btf.btf import Btf
from structops_cli.btf.types import Datasec, Var
from structops_cli.errors import KernelError
from structops_cli.obj.sparse_bytes import SparseBytes
from structops_cli.obj.spec import DataSection, MapSpec, ObjectSpec
from structops_cli.struct_ops.explain import explained
from structops_cli.struct_ops.rules.causes import Cause
from structops_cli.struct_ops.value import KEY
from structops_cli.syscall import bpf_maps
from structops_cli.syscall.fd import Fd
from structops_cli.syscall.info import MapInfo
from structops_cli.syscall.uapi import (
    BPF_F_MMAPABLE,
    BPF_F_RDONLY_PROG,
    BPF_OBJ_NAME_LEN,
    BpfMapType,
    BtfVarLinkage,
)

if TYPE_CHECKING:
    from mmap import mmap

OBJECT_PREFIX_LEN = 8
"""Characters of the object's name in the name of a data section's map, as libbpf does."""
LARGE_BYTES = 1 << 20
"""A larger value is read in parts if the kernel lets it be mapped."""


def create_data_map(spec: ObjectSpec, section: DataSection, btf_fd: Fd) -> Fd:
    """Create the map of a data section with its initial bytes, and own its fd.

    A section that programs only read is frozen.
    """
    name = data_map_name(spec.name, section.name)
    flags = BPF_F_RDONLY_PROG if section.read_only else 0
    flags |= BPF_F_MMAPABLE if _is_shared(spec.btf, section) else 0
    try:
        fd = bpf_maps.map_create(
            BpfMapType.ARRAY,
            key_size=4,
            value_size=len(section.contents),
            max_entries=1,
            name=name,
            map_flags=flags,
            btf_fd=btf_fd.fileno() if section.type_id else 0,
            btf_value_type_id=section.type_id,
        )
        _fill(fd, section)
    except KernelError as error:
        error.add(map=name, section=section.name)
        raise explained(error, f"the data section {section.name} could not be created") from None
    return fd


def _is_shared(btf: Btf, section: DataSection) -> bool:
    """Tell whether a section has a global variable; libbpf makes such a map mappable."""
    datasec = btf.type(section.type_id) if section.type_id else None
    variables = (btf.type(entry.type) for entry in datasec.entries) if isinstance(datasec, Datasec) else ()
    return any(isinstance(var, Var) and var.linkage != BtfVarLinkage.STATIC for var in variables)


def _fill(fd: Fd, section: DataSection) -> None:
    try:
        if section.contents.pieces:  # a new array is zero
            bpf_maps.map_update_elem(fd, KEY, _buffer(section.contents))
        if section.read_only:
            bpf_maps.map_freeze(fd)
    except BaseException:
        fd.close()
        raise


def _buffer(contents: SparseBytes) -> bytes | memoryview | mmap:
    """Return contents for a system call. Sparse zeros take no memory."""
    if len(contents.pieces) == 1 and len(contents.pieces[0][1]) == len(contents):
        return contents.pieces[0][1]
    from mmap import MAP_PRIVATE, mmap  # only contents that the user changed

    memory = mmap(-1, len(contents), MAP_PRIVATE)
    for start, piece in contents.pieces:
        memory[start : start + len(piece)] = piece
    return memory


class DataMapValue:
    """The value of a data section's map; a slice is bytes that are read on demand."""

    def __init__(self, fd: Fd, info: MapInfo) -> None:
        self._fd = fd
        self._info = info
        self._whole: bytes | mmap | None = None

    def __len__(self) -> int:
        return self._info.value_size

    def __getitem__(self, part: slice) -> bytes:
        start, end, _ = part.indices(len(self))
        if len(self) > LARGE_BYTES and self._info.map_flags & BPF_F_MMAPABLE:
            return self._mapped(start, end) if start < end else b""
        if self._whole is None:
            self._whole = self._looked_up()
        return self._whole[start:end]

    def _mapped(self, start: int, end: int) -> bytes:
        from mmap import ALLOCATIONGRANULARITY, MAP_SHARED, PROT_READ, mmap  # only large ones

        first = start // ALLOCATIONGRANULARITY * ALLOCATIONGRANULARITY
        with mmap(self._fd.fileno(), end - first, MAP_SHARED, PROT_READ, offset=first) as memory:
            return memory[start - first : end - first]

    def _looked_up(self) -> bytes | mmap:
        if len(self) <= LARGE_BYTES:
            return bpf_maps.map_lookup_elem(self._fd, KEY, len(self))
        from mmap import MAP_PRIVATE, mmap

        memory = mmap(-1, len(self), MAP_PRIVATE)
        bpf_maps.map_lookup_into(self._fd, KEY, memory)
        return memory


def fill_arena(fd: Fd, arena: MapSpec, section: DataSection | None) -> None:
    """Write the global variables of an arena, zeros too: programs fault on untouched pages."""
    if section is None and arena.map_extra:
        return
    from structops_cli.syscall.bpf_maps import write_arena  # rare

    try:
        size_bytes = arena.max_entries * os.sysconf("SC_PAGE_SIZE")
        write_arena(fd, arena.map_extra, size_bytes, _buffer(section.contents) if section else b"")
    except KernelError as error:
        error.add(map=arena.name)
        hint = f"max_entries are its pages; --map {arena.name}.map_extra=ADDRESS puts it elsewhere"
        raise explained(error, f"the arena {arena.name} could not be filled", "", Cause("", hint)) from None


def data_map_name(object_name: str, section: str) -> str:
    """Return the name of a data section's map as libbpf forms it, before the cut to 15 bytes.

    It has up to 8 characters of the object's name and the section's name. A section with
    a second dot, such as ``.data.mine``, keeps its name.
    """
    if section.count(".") > 1:
        return section
    room = min(
        OBJECT_PREFIX_LEN, BPF_OBJ_NAME_LEN - 1 - max(len(section), BPF_OBJ_NAME_LEN - 1 - OBJECT_PREFIX_LEN)
    )
    return object_name.rsplit("/", 1)[-1].split(".", 1)[0][: max(room, 0)] + section
