"""Wrappers of the bpf(2) commands that create a map and access its elements."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from structops_cli.errors import KernelError
from structops_cli.syscall._native import ffi, lib
from structops_cli.syscall.command import address_of, call, object_name, token_fields
from structops_cli.syscall.fd import Fd
from structops_cli.syscall.uapi import BpfCmd

if TYPE_CHECKING:
    from mmap import mmap


def map_create(
    map_type: int,
    *,
    key_size: int,
    value_size: int,
    max_entries: int,
    name: str = "",
    map_flags: int = 0,
    inner_map_fd: int = 0,
    numa_node: int = 0,
    btf_fd: int = 0,
    btf_key_type_id: int = 0,
    btf_value_type_id: int = 0,
    btf_vmlinux_value_type_id: int = 0,
    map_extra: int = 0,
    value_type_btf_obj_fd: int = 0,
) -> Fd:
    """Create a map and own its fd. The kernel's limit cuts ``name``."""
    attr = ffi.new("struct so_map_create *", {
        "map_type": map_type,
        "key_size": key_size,
        "value_size": value_size,
        "max_entries": max_entries,
        "map_name": object_name(name),
        **token_fields("map_flags", "map_token_fd", map_flags),
        "inner_map_fd": inner_map_fd,
        "numa_node": numa_node,
        "btf_fd": btf_fd,
        "btf_key_type_id": btf_key_type_id,
        "btf_value_type_id": btf_value_type_id,
        "btf_vmlinux_value_type_id": btf_vmlinux_value_type_id,
        "map_extra": map_extra,
        "value_type_btf_obj_fd": value_type_btf_obj_fd,
    })  # fmt: skip
    return Fd(call(BpfCmd.MAP_CREATE, attr))


def _elem(map_fd: Fd, key: Any, value: Any, flags: int = 0) -> Any:
    return ffi.new("struct so_elem *", {
        "map_fd": map_fd.fileno(), "key": address_of(key), "value": address_of(value), "flags": flags,
    })  # fmt: skip


def map_lookup_elem(map_fd: Fd, key: bytes, value_size: int) -> bytes:
    """Return the value at a key.

    ``value_size`` is the size of the whole answer: a per-CPU map returns one value for
    each possible CPU.
    """
    key_buffer, value = ffi.from_buffer(key), ffi.new("uint8_t[]", value_size)
    call(BpfCmd.MAP_LOOKUP_ELEM, _elem(map_fd, key_buffer, value))
    return bytes(ffi.buffer(value))


def map_lookup_into(map_fd: Fd, key: bytes, value: mmap) -> None:
    """Read the value at a key into ``value``, so that a large one is in memory once."""
    key_buffer = ffi.from_buffer(key)
    call(BpfCmd.MAP_LOOKUP_ELEM, _elem(map_fd, key_buffer, ffi.from_buffer(value)))


def map_update_elem(map_fd: Fd, key: bytes, value: bytes | memoryview | mmap, flags: int = 0) -> int:
    """Set the value at a key. Return the kernel's answer, above 0 for some struct_ops maps."""
    key_buffer, value_buffer = ffi.from_buffer(key), ffi.from_buffer(value)
    return call(BpfCmd.MAP_UPDATE_ELEM, _elem(map_fd, key_buffer, value_buffer, flags))


def map_delete_elem(map_fd: Fd, key: bytes) -> None:
    """Delete the value at a key."""
    key_buffer = ffi.from_buffer(key)
    call(BpfCmd.MAP_DELETE_ELEM, _elem(map_fd, key_buffer, ffi.NULL))


def map_get_next_key(map_fd: Fd, key: bytes | None, key_size: int) -> bytes:
    """Return the key after ``key``, or the first for None; ENOENT after the last."""
    key_buffer = ffi.NULL if key is None else ffi.from_buffer(key)
    following = ffi.new("uint8_t[]", key_size)
    call(BpfCmd.MAP_GET_NEXT_KEY, _elem(map_fd, key_buffer, following))
    return bytes(ffi.buffer(following))


def map_freeze(map_fd: Fd) -> None:
    """Make a map read-only for user space. There is no way back."""
    call(BpfCmd.MAP_FREEZE, ffi.new("struct so_word *", [map_fd.fileno()]))


def write_arena(fd: Fd, address: int, size_bytes: int, data: bytes | memoryview | mmap) -> None:
    """Write the first bytes of an arena that has ``size_bytes``, mapped at ``address``.

    Address 0 lets the kernel choose one. An arena created with ``map_extra`` 0 gets its
    address by this mapping; the kernel needs it before it loads a program that uses the
    arena (``kernel/bpf/arena.c``).
    """
    result = lib.so_write_arena(fd.fileno(), address, size_bytes, ffi.from_buffer(data), len(data))
    if result < 0:
        why = os.strerror(-result)
        raise KernelError.from_errno(
            "the arena could not be mapped", why=why, errno=-result, operation="mmap"
        )
