"""Create the maps of an object, and those that its data sections become."""

from __future__ import annotations

from collections.abc import Collection

from structops_cli.errors import FitError, KernelError
from structops_cli.obj.spec import DataSection, MapSpec
from structops_cli.runtime.loaded import Loaded
from structops_cli.struct_ops.explain import explained
from structops_cli.struct_ops.value import KEY
from structops_cli.syscall import bpf
from structops_cli.syscall.fd import Fd
from structops_cli.syscall.uapi import BPF_F_MMAPABLE, BPF_F_RDONLY_PROG, BPF_OBJ_NAME_LEN, BpfMapType

__all__ = ["create_maps", "data_map_name"]

OBJECT_PREFIX_LEN = 8
"""Characters of the object's name before a data section's in the name of its map: the accepted convention."""
WITHOUT_BTF = frozenset({
    BpfMapType.PROG_ARRAY, BpfMapType.PERF_EVENT_ARRAY, BpfMapType.STACK_TRACE, BpfMapType.CGROUP_ARRAY,
    BpfMapType.ARRAY_OF_MAPS, BpfMapType.HASH_OF_MAPS, BpfMapType.DEVMAP, BpfMapType.DEVMAP_HASH, BpfMapType.SOCKMAP,
    BpfMapType.SOCKHASH, BpfMapType.CPUMAP, BpfMapType.XSKMAP, BpfMapType.RINGBUF, BpfMapType.USER_RINGBUF,
    BpfMapType.REUSEPORT_SOCKARRAY, BpfMapType.QUEUE, BpfMapType.STACK, BpfMapType.BLOOM_FILTER,
})  # fmt: skip
"""Map types for which the kernel takes no key and value types (``map_check_btf`` is absent)."""


def create_maps(loaded: Loaded, btf_fd: Fd, used: Collection[str]) -> None:
    """Create the maps and data sections of these names, and fill in what they hold at first."""
    for spec in loaded.spec.maps:
        if spec.name in used:
            loaded.maps[spec.name] = loaded.own(_create_map(spec, btf_fd))
    for section in loaded.spec.data:
        if section.name in used:
            loaded.maps[section.name] = loaded.own(_create_data_map(loaded.spec.name, section, btf_fd))


def _create_map(spec: MapSpec, btf_fd: Fd) -> Fd:
    if spec.pinned_by_name:
        raise FitError(
            f"map {spec.name} wants to be pinned by name",
            why="shared pinned maps are not supported yet",
            map=spec.name,
        )
    typed = spec.map_type not in WITHOUT_BTF and spec.value_type_id
    try:
        return bpf.map_create(
            spec.map_type,
            key_size=spec.key_size,
            value_size=spec.value_size,
            max_entries=spec.max_entries,
            name=spec.name,
            map_flags=spec.map_flags,
            numa_node=spec.numa_node or 0,
            map_extra=spec.map_extra,
            btf_fd=btf_fd.fileno() if typed else 0,
            btf_key_type_id=spec.key_type_id if typed else 0,
            btf_value_type_id=spec.value_type_id if typed else 0,
        )
    except KernelError as error:
        error.add(map=spec.name)
        raise explained(error, f"map {spec.name} could not be created") from None


def _create_data_map(object_name: str, section: DataSection, btf_fd: Fd) -> Fd:
    flags = BPF_F_MMAPABLE | (BPF_F_RDONLY_PROG if section.read_only else 0)
    name = data_map_name(object_name, section.name)
    typed = bool(section.type_id)
    try:
        fd = bpf.map_create(
            BpfMapType.ARRAY,
            key_size=4,
            value_size=len(section.contents),
            max_entries=1,
            name=name,
            map_flags=flags,
            btf_fd=btf_fd.fileno() if typed else 0,
            btf_value_type_id=section.type_id,
        )
        _fill(fd, section)
    except KernelError as error:
        error.add(map=name, section=section.name)
        raise explained(error, f"the data section {section.name} could not be created") from None
    return fd


def _fill(fd: Fd, section: DataSection) -> None:
    try:
        if any(section.contents):
            bpf.map_update_elem(fd, KEY, section.contents)
        if section.read_only:
            bpf.map_freeze(fd)
    except BaseException:
        fd.close()
        raise


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
