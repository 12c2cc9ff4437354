"""Read and decode the maps and global variables behind registered programs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from errno import ENOENT
from typing import NamedTuple

from structops_cli.errors import KernelError
from structops_cli.obj.spec import MapSpec, ObjectSpec
from structops_cli.runtime.data_maps import DataMapValue, data_map_name
from structops_cli.runtime.maps import possible_cpus
from structops_cli.runtime.maps_by_id import open_map_by_id
from structops_cli.struct_ops.member_text import MOST_ELEMENTS, MemberValue, decode_bytes, decode_part
from structops_cli.syscall import bpf_maps
from structops_cli.syscall.fd import Fd
from structops_cli.syscall.info import MapInfo, ProgInfo
from structops_cli.syscall.uapi import BPF_OBJ_NAME_LEN, BpfMapType

READABLE = frozenset(
    {BpfMapType.ARRAY, BpfMapType.HASH, BpfMapType.LRU_HASH, BpfMapType.PERCPU_ARRAY, BpfMapType.PERCPU_HASH}
)
PER_CPU = frozenset({BpfMapType.PERCPU_ARRAY, BpfMapType.PERCPU_HASH})
MOST_ENTRIES = 16
"""The largest number of entries that are read from one map."""


class MapContents(NamedTuple):
    """The contents of a map or data section: (key, value), or (variable, value) of a section."""

    name: str
    map_id: int
    entries: tuple[tuple[MemberValue, MemberValue], ...]


def read_contents(spec: ObjectSpec, programs: Iterable[ProgInfo]) -> tuple[MapContents, ...]:
    """Return the contents of the maps and writable globals of an object's live programs."""
    found = []
    for map_id in sorted({map_id for info in programs for map_id in info.map_ids}):
        with open_map_by_id(map_id) as (fd, info):
            if info.map_type in READABLE:
                found.append(_contents(spec, fd, info))
    return tuple(item for item in found if item)


def _contents(spec: ObjectSpec, fd: Fd, info: MapInfo) -> MapContents | None:
    known = next((item for item in spec.maps if _kernel_name(item.name) == info.name), None)
    if known is not None and known.value_type_id and known.key_type_id:
        return MapContents(known.name, info.id, tuple(_entries(spec, fd, info, known)))
    for section in spec.data:
        if _kernel_name(data_map_name(spec.name, section.name)) == info.name and not section.read_only:
            raw = DataMapValue(fd, info)
            values = tuple(
                (v.name, decode_part(spec.btf, v.type_id, raw, v.offset_bytes, MOST_ELEMENTS))
                for v in section.variables
            )
            return MapContents(section.name, info.id, values)
    return None


def _kernel_name(name: str) -> str:
    return name[: BPF_OBJ_NAME_LEN - 1]


def _entries(
    spec: ObjectSpec, fd: Fd, info: MapInfo, known: MapSpec
) -> Iterator[tuple[MemberValue, MemberValue]]:
    key: bytes | None = None
    for _ in range(MOST_ENTRIES):
        try:
            key = bpf_maps.map_get_next_key(fd, key, info.key_size)
            value = _value(spec, fd, info, known, key)
        except KernelError as error:
            if error.errno == ENOENT:  # no next key, or a program removed this one
                return
            raise
        yield decode_bytes(spec.btf, known.key_type_id, key), value


def _value(spec: ObjectSpec, fd: Fd, info: MapInfo, known: MapSpec, key: bytes) -> MemberValue:
    if info.map_type not in PER_CPU:
        return decode_bytes(spec.btf, known.value_type_id, bpf_maps.map_lookup_elem(fd, key, info.value_size))
    stride = -(-info.value_size // 8) * 8
    raw = bpf_maps.map_lookup_elem(fd, key, stride * possible_cpus())
    return [
        decode_bytes(spec.btf, known.value_type_id, raw[at : at + info.value_size])
        for at in range(0, len(raw), stride)
    ]
