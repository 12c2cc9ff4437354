"""The answers of BPF_OBJ_GET_INFO_BY_FD as immutable values."""

from __future__ import annotations

import os
from enum import StrEnum
from errno import E2BIG
from typing import NamedTuple

from structops_cli.errors import KernelError
from structops_cli.syscall import bpf
from structops_cli.syscall._native import ffi
from structops_cli.syscall.fd import Fd
from structops_cli.syscall.uapi import BpfLinkType


class ObjectType(StrEnum):
    """The type of a BPF object, as ``/proc/self/fd`` names its file."""

    MAP = "bpf-map"
    PROG = "bpf-prog"
    LINK = "bpf-link"
    BTF = "btf"


def object_type(fd: Fd) -> ObjectType | None:
    """Return the type of the BPF object behind an fd, None for another file."""
    name = os.readlink(f"/proc/self/fd/{fd.fileno()}").rpartition(":")[2].replace("_", "-")
    return next((item for item in ObjectType if item == name), None)


class MapInfo(NamedTuple):
    """``struct bpf_map_info``. ``btf_vmlinux_value_type_id`` is 0 except for struct_ops maps.

    The ids of key and value belong to the BTF object ``btf_id``, 0 for none.
    """

    id: int
    map_type: int
    name: str
    key_size: int
    value_size: int
    max_entries: int
    map_flags: int
    map_extra: int
    btf_id: int
    btf_vmlinux_id: int
    btf_vmlinux_value_type_id: int
    btf_key_type_id: int
    btf_value_type_id: int


class ProgInfo(NamedTuple):
    """``struct bpf_prog_info``. Sizes are bytes; ``map_ids`` are the maps that it uses.

    ``verified_insns`` is 0 on kernels before 5.16. ``loaded_ns`` is the time of the load,
    in nanoseconds of CLOCK_BOOTTIME.
    """

    id: int
    prog_type: int
    name: str
    tag: str
    jited_bytes: int
    xlated_bytes: int
    verified_insns: int
    gpl_compatible: bool
    map_ids: tuple[int, ...]
    btf_id: int
    attach_btf_obj_id: int
    attach_btf_id: int
    run_time_ns: int
    run_count: int
    loaded_ns: int = 0


class LinkInfo(NamedTuple):
    """``struct bpf_link_info``. ``map_id`` is 0 for a detached link and for other link types."""

    id: int
    link_type: int
    map_id: int


class BtfInfo(NamedTuple):
    """``struct bpf_btf_info``. ``name`` is ``vmlinux``, a module, or "" for a program's BTF."""

    id: int
    name: str
    size_bytes: int
    is_kernel: bool


def _text(field: object) -> str:
    raw: bytes = ffi.string(field)
    return raw.decode(errors="replace")


def map_info(fd: Fd) -> MapInfo:
    """Return the info of a map."""
    info = ffi.new("struct so_map_info *")
    bpf.obj_get_info_by_fd(fd, info)
    return MapInfo(
        info.id,
        info.type,
        _text(info.name),
        info.key_size,
        info.value_size,
        info.max_entries,
        info.map_flags,
        info.map_extra,
        info.btf_id,
        info.btf_vmlinux_id,
        info.btf_vmlinux_value_type_id,
        info.btf_key_type_id,
        info.btf_value_type_id,
    )


def prog_info(fd: Fd) -> ProgInfo:
    """Return the info of a program, its map ids included."""
    info = ffi.new("struct so_prog_info *")
    bpf.obj_get_info_by_fd(fd, info)
    ids: tuple[int, ...] = ()
    if info.nr_map_ids:
        buffer = ffi.new("uint32_t[]", info.nr_map_ids)
        again = ffi.new("struct so_prog_info *", {
            "nr_map_ids": info.nr_map_ids, "map_ids": int(ffi.cast("uintptr_t", buffer)),
        })  # fmt: skip
        bpf.obj_get_info_by_fd(fd, again)
        ids = tuple(buffer[0 : min(again.nr_map_ids, info.nr_map_ids)])
    return ProgInfo(
        info.id,
        info.type,
        _text(info.name),
        bytes(info.tag).hex(),
        info.jited_prog_len,
        info.xlated_prog_len,
        info.verified_insns,
        bool(info.gpl_compatible & 1),
        ids,
        info.btf_id,
        info.attach_btf_obj_id,
        info.attach_btf_id,
        info.run_time_ns,
        info.run_cnt,
        info.load_time,
    )


def prog_func_type(fd: Fd) -> int:
    """Return the type id, in the program's BTF, of its first function; 0 if hidden."""
    record = ffi.new("uint32_t[2]")
    info = ffi.new("struct so_prog_info *", {
        "nr_func_info": 1, "func_info_rec_size": 8, "func_info": int(ffi.cast("uintptr_t", record)),
    })  # fmt: skip
    bpf.obj_get_info_by_fd(fd, info)
    return int(record[1]) if info.nr_func_info else 0


def btf_bytes(fd: Fd) -> bytes:
    """Return the bytes of a loaded BTF object."""
    size = btf_info(fd).size_bytes
    buffer = ffi.new("uint8_t[]", size)
    info = ffi.new("struct so_btf_info *", {"btf": int(ffi.cast("uintptr_t", buffer)), "btf_size": size})
    bpf.obj_get_info_by_fd(fd, info)
    return bytes(ffi.buffer(buffer))


def link_info(fd: Fd) -> LinkInfo:
    """Return the info of a link."""
    info = ffi.new("struct so_link_info *")
    bpf.obj_get_info_by_fd(fd, info)
    return LinkInfo(info.id, info.type, info.map_id if info.type == BpfLinkType.STRUCT_OPS else 0)


def btf_info(fd: Fd) -> BtfInfo:
    """Return the info of a BTF object."""
    name = ffi.new("char[]", 64)
    info = ffi.new("struct so_btf_info *", {"name": int(ffi.cast("uintptr_t", name)), "name_len": 64})
    try:
        bpf.obj_get_info_by_fd(fd, info)
    except KernelError as error:
        if error.errno != E2BIG:
            raise
        # kernels before 5.11 have no BTF names, and refuse the request for one
        info = ffi.new("struct so_btf_info *")
        bpf.obj_get_info_by_fd(fd, info)
    return BtfInfo(info.id, _text(name), info.btf_size, bool(info.kernel_btf))
