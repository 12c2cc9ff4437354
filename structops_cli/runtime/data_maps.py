"""Data sections: ``.rodata*``, ``.data*`` and ``.bss*`` as array maps of one element, an arena's globals as its first bytes."""

from __future__ import annotations

import os

from structops_cli.btf.btf import Btf
from structops_cli.btf.types import Datasec, Var
from structops_cli.errors import KernelError
from structops_cli.obj.spec import DataSection, MapSpec, ObjectSpec
from structops_cli.struct_ops.explain import Cause, explained
from structops_cli.struct_ops.value import KEY
from structops_cli.syscall import bpf_maps
from structops_cli.syscall.fd import Fd
from structops_cli.syscall.uapi import (
    BPF_F_MMAPABLE,
    BPF_F_RDONLY_PROG,
    BPF_OBJ_NAME_LEN,
    BpfMapType,
    BtfVarLinkage,
)

__all__ = ["create_data_map", "data_map_name", "fill_arena"]

OBJECT_PREFIX_LEN = 8
"""Characters of the object's name before a data section's in the name of its map: the accepted convention."""


def create_data_map(spec: ObjectSpec, section: DataSection, btf_fd: Fd) -> Fd:
    """Create the map of a data section with its initial bytes, frozen if programs only read it; own its fd."""
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
    """Tell whether a section has a variable that other files can see: the accepted convention for mapping it into memory."""
    datasec = btf.type(section.type_id) if section.type_id else None
    variables = (btf.type(entry.type) for entry in datasec.entries) if isinstance(datasec, Datasec) else ()
    return any(isinstance(var, Var) and var.linkage != BtfVarLinkage.STATIC for var in variables)


def _fill(fd: Fd, section: DataSection) -> None:
    try:
        if any(section.contents):
            bpf_maps.map_update_elem(fd, KEY, section.contents)
        if section.read_only:
            bpf_maps.map_freeze(fd)
    except BaseException:
        fd.close()
        raise


def fill_arena(fd: Fd, arena: MapSpec, section: DataSection | None) -> None:
    """Write the global variables of an arena, zeros too: a page that nobody touched is none to a program."""
    if section is None and arena.map_extra:
        return
    from structops_cli.syscall.arena import write_arena  # rare

    try:
        size_bytes = arena.max_entries * os.sysconf("SC_PAGE_SIZE")
        write_arena(fd, arena.map_extra, size_bytes, section.contents if section else b"")
    except KernelError as error:
        error.add(map=arena.name)
        hint = f"max_entries are its pages; --map {arena.name}.map_extra=ADDRESS puts it elsewhere"
        raise explained(error, f"the arena {arena.name} could not be filled", "", Cause("", hint)) from None


def data_map_name(object_name: str, section: str) -> str:
    """Return the name that the accepted convention gives a data section's map, before the kernel cuts it to 15 bytes.

    Up to 8 characters of the object's name and then the section's; a section with
    a name of its own, such as ``.data.mine``, is named by it alone.
    """
    if section.count(".") > 1:
        return section
    room = min(
        OBJECT_PREFIX_LEN, BPF_OBJ_NAME_LEN - 1 - max(len(section), BPF_OBJ_NAME_LEN - 1 - OBJECT_PREFIX_LEN)
    )
    return object_name.rsplit("/", 1)[-1].split(".", 1)[0][: max(room, 0)] + section
