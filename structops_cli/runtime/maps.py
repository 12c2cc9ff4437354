"""Create the maps of an object, open its pinned ones, and write the initial contents."""

from __future__ import annotations

import os
import struct
from errno import EINVAL, EOPNOTSUPP

from structops_cli.errors import ENOTSUPP, KernelError, NotPermittedError
from structops_cli.obj.needed_maps import NeededMaps
from structops_cli.obj.spec import MapSpec
from structops_cli.runtime.data_maps import create_data_map, fill_arena
from structops_cli.runtime.loaded import Loaded
from structops_cli.runtime.maps_by_id import note_created_map
from structops_cli.struct_ops.explain import explained
from structops_cli.struct_ops.rules.causes import OTHER_PROGRAM_OF_ARRAY, OTHER_SHAPE, Cause
from structops_cli.syscall import bpf_maps
from structops_cli.syscall.fd import Fd
from structops_cli.syscall.uapi import BPF_F_NUMA_NODE, BpfMapType

NUMBER = struct.Struct("=I")
WITHOUT_BTF = frozenset({
    BpfMapType.PERF_EVENT_ARRAY, BpfMapType.STACK_TRACE, BpfMapType.CGROUP_ARRAY, BpfMapType.ARRAY_OF_MAPS,
    BpfMapType.HASH_OF_MAPS, BpfMapType.DEVMAP, BpfMapType.DEVMAP_HASH, BpfMapType.SOCKMAP, BpfMapType.SOCKHASH,
    BpfMapType.CPUMAP, BpfMapType.XSKMAP, BpfMapType.QUEUE, BpfMapType.STACK, BpfMapType.ARENA,
})  # fmt: skip
"""Map types that no kernel creates with BTF types (``map_check_btf``)."""
UNTYPED_MAY_DO = frozenset({EINVAL, ENOTSUPP, EOPNOTSUPP})
"""Errnos of a kernel that knows the map type, but not with these BTF types."""
RING_BUFFERS = frozenset({BpfMapType.RINGBUF, BpfMapType.USER_RINGBUF})


def create_maps(loaded: Loaded, btf_fd: Fd, needed: NeededMaps) -> None:
    """Create maps and data sections with their initial contents, except programs."""
    for spec in needed.maps:
        _own_map(loaded, adjusted(spec), btf_fd, needed)
    for section in needed.data:
        loaded.maps[section.name] = loaded.own(create_data_map(loaded.spec, section, btf_fd))
    if needed.arena and needed.arena_data:
        loaded.maps[needed.arena_data.name] = loaded.maps[needed.arena.name]
    for spec in needed.maps:
        if spec.inner and spec.name in loaded.created:
            _fill_slots(loaded, spec, loaded.maps)


def fill_program_arrays(loaded: Loaded, needed: NeededMaps) -> None:
    """Put the programs into program arrays, those of existing pins included."""
    for spec in needed.maps:
        if not spec.inner:
            _fill_slots(loaded, spec, loaded.programs)


def _fill_slots(loaded: Loaded, spec: MapSpec, held: dict[str, Fd]) -> None:
    for slot in spec.slots:
        try:
            key, value = NUMBER.pack(slot.element), NUMBER.pack(held[slot.symbol].fileno())
            bpf_maps.map_update_elem(loaded.maps[spec.name], key, value)
        except KernelError as error:
            error.add(map=spec.name, symbol=slot.symbol)
            what = f"element {slot.element} of map {spec.name} could not be set to {slot.symbol}"
            raise _explained(error, spec, what) from None


def adjusted(spec: MapSpec) -> MapSpec:
    """Return a definition with sizes for this machine: pages of a ring buffer, number of CPUs."""
    if spec.map_type in RING_BUFFERS and spec.max_entries:
        size = os.sysconf("SC_PAGE_SIZE")
        while size < spec.max_entries:
            size *= 2
        return spec._replace(max_entries=size)
    if spec.map_type == BpfMapType.PERF_EVENT_ARRAY and not spec.max_entries:
        return spec._replace(max_entries=possible_cpus())
    return spec


def _own_map(loaded: Loaded, spec: MapSpec, btf_fd: Fd, needed: NeededMaps) -> None:
    """Open a pinned map, or create it."""
    if spec.pinned_by_name:
        from structops_cli.runtime.shared_maps import open_pinned  # rare

        fd = open_pinned(spec, loaded.map_pin_dir)
        if fd is not None:
            loaded.maps[spec.name] = loaded.own(fd)
            return
    loaded.maps[spec.name] = loaded.own(_create_map(spec, btf_fd))
    loaded.created.add(spec.name)
    if spec.map_type == BpfMapType.ARENA:
        fill_arena(loaded.maps[spec.name], spec, needed.arena_data if needed.arena else None)


def creates_map(spec: MapSpec) -> bool:
    """Tell whether the kernel creates a map of a definition, without BTF types.

    Raises ``NotPermittedError`` without the privilege.
    """
    untyped = spec._replace(value_type_id=0, inner=spec.inner and spec.inner._replace(value_type_id=0))
    try:
        _create_map(adjusted(untyped), None).close()
    except NotPermittedError:
        raise
    except KernelError:
        return False
    return True


def _create_map(spec: MapSpec, btf_fd: Fd | None) -> Fd:
    """Create a map. A map of maps takes its shape from an inner map that is closed again."""
    try:
        if spec.inner is None:
            return _map_create(spec, btf_fd, 0)
        with _create_map(adjusted(spec.inner), btf_fd) as inner:
            return _map_create(spec, btf_fd, inner.fileno())
    except KernelError as error:
        error.add(map=spec.name)
        raise _explained(error, spec, f"map {spec.name} could not be created") from None


def _map_create(spec: MapSpec, btf_fd: Fd | None, inner_map_fd: int) -> Fd:
    """Create a map with BTF types, or without them if only they are refused, as libbpf does."""
    if btf_fd is None or not spec.value_type_id or spec.map_type in WITHOUT_BTF:
        return _with_types(spec, 0, inner_map_fd)
    try:
        return _with_types(spec, btf_fd.fileno(), inner_map_fd)
    except KernelError as refused:
        if refused.errno not in UNTYPED_MAY_DO:
            raise
        try:
            return _with_types(spec, 0, inner_map_fd)
        except KernelError:
            raise refused from None


def _with_types(spec: MapSpec, btf_fd: int, inner_map_fd: int) -> Fd:
    fd = bpf_maps.map_create(
        spec.map_type,
        key_size=spec.key_size,
        value_size=spec.value_size,
        max_entries=spec.max_entries,
        name=spec.name,
        map_flags=spec.map_flags,
        inner_map_fd=inner_map_fd,
        numa_node=spec.numa_node or 0,
        map_extra=spec.map_extra,
        btf_fd=btf_fd,
        btf_key_type_id=spec.key_type_id if btf_fd else 0,
        btf_value_type_id=spec.value_type_id if btf_fd else 0,
    )
    if spec.map_type == BpfMapType.PROG_ARRAY:
        note_created_map(fd)
    return fd


def possible_cpus() -> int:
    """Return the number of possible CPUs (``/sys/devices/system/cpu/possible``)."""
    fd = os.open("/sys/devices/system/cpu/possible", os.O_RDONLY | os.O_CLOEXEC)
    try:
        text = os.read(fd, 4096).decode()
    finally:
        os.close(fd)
    ranges = [part.split("-") for part in text.strip().split(",")]
    return sum(int(part[-1]) - int(part[0]) + 1 for part in ranges)


def _explained(error: KernelError, spec: MapSpec, what: str) -> KernelError:
    """Return the error with the broken rule, if it is known."""
    if error.operation == "MAP_CREATE":
        return explained(error, what, "", _broken_rule(spec, error.errno))
    if (error.operation, error.errno) == ("MAP_UPDATE_ELEM", EINVAL):
        return explained(error, what, "", OTHER_SHAPE if spec.inner else OTHER_PROGRAM_OF_ARRAY)
    return explained(error, what)


def _broken_rule(spec: MapSpec, errno: int | None) -> Cause | None:
    from structops_cli.struct_ops.rules.definitions import map_faults  # only a refusal needs it

    for fault in map_faults(spec):
        if fault.errno == errno:
            return Cause(fault.why, fault.hint)
    if errno == EINVAL and spec.numa_node and spec.map_flags & BPF_F_NUMA_NODE:
        return Cause(f"this machine may have no NUMA node {spec.numa_node}", f"--map {spec.name}.numa_node=0")
    return None
