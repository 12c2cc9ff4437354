"""Compare struct_ops maps by content: programs, data and read-only globals, not ids.

Programs are compared by the kernel's tag, a hash of their instructions. Writable data
and ordinary maps are compared by shape, because a live map's contents have changed
since its load. Values that the user sets are compared, too.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from errno import ENOENT
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from structops_cli.errors import KernelError
from structops_cli.runtime.data_maps import DataMapValue
from structops_cli.runtime.live_map import LiveMap
from structops_cli.runtime.maps_by_id import open_map_by_id
from structops_cli.struct_ops.catalogue import StructOpsType
from structops_cli.struct_ops.value import read_programs
from structops_cli.syscall import bpf, bpf_maps
from structops_cli.syscall.fd import Fd
from structops_cli.syscall.info import MapInfo, ProgInfo, map_info, prog_info
from structops_cli.syscall.uapi import BPF_F_RDONLY_PROG, BpfMapType

if TYPE_CHECKING:
    from structops_cli.runtime.loaded import Loaded
    from structops_cli.struct_ops.plan import MapPlan

Bits: TypeAlias = "tuple[tuple[int, int], ...]"
"""Parts of a map's value as (first bit, number of bits)."""
NOTHING: Mapping[str, Bits] = {}
BLOCK_BYTES = 1 << 20
"""A larger value is compared by its hash."""


class Identity(NamedTuple):
    """The content of a struct_ops map. ``data`` is ``struct X`` without function pointers."""

    type_name: str
    data: bytes
    tags: tuple[tuple[str, str], ...]
    """(member, tag of its program), by member."""
    maps: tuple[tuple[object, ...], ...]
    """Shapes of the used maps, with the contents that only the loader writes."""

    @property
    def digest(self) -> str:
        """Twelve hexadecimal digits for tables."""
        from hashlib import sha256  # only a display needs it

        return sha256(repr(tuple(self)).encode()).hexdigest()[:12]


def is_same(live: LiveMap, loaded: Loaded, plan: MapPlan) -> bool:
    """Tell whether a live map has the content of a planned one, chosen globals included.

    Chosen globals of an arena never compare equal, because no arena is read.
    """
    chosen = {
        map_info(loaded.maps[one.section]).name: one.bits
        for one in loaded.chosen
        if one.section in loaded.maps
    }
    return identity_of_live(live, chosen) == identity_of_planned(loaded, plan, chosen)


def identity_of_live(live: LiveMap, chosen: Mapping[str, Bits] = NOTHING) -> Identity:
    """Return the identity of a live map; ``chosen`` has the bits to compare by map name."""
    found: dict[str, ProgInfo] = {}
    for program_id, members in read_programs(live.type, live.raw).items():
        with bpf.prog_get_fd_by_id(program_id) as fd:
            info = prog_info(fd)
        found |= dict.fromkeys(members, info)
    return _identity(live.type, live.raw, found, chosen)


def identity_of_planned(loaded: Loaded, plan: MapPlan, chosen: Mapping[str, Bits] = NOTHING) -> Identity:
    """Return the identity of a loaded and planned map."""
    infos = {name: prog_info(fd) for name, fd in loaded.programs.items()}
    programs = {item.member.name: infos[item.program] for item in plan.members if item.program}
    return _identity(plan.type, loaded.value_of(plan), programs, chosen)


def _identity(
    kernel_type: StructOpsType, value: bytes, programs: dict[str, ProgInfo], chosen: Mapping[str, Bits]
) -> Identity:
    start = kernel_type.data_offset
    data = bytearray(value[start : start + kernel_type.struct.size_bytes])
    for member in kernel_type.members:
        if member.proto is not None:
            data[member.offset_bytes : member.offset_bytes + member.size_bytes] = bytes(member.size_bytes)
    tags = sorted((name, info.tag) for name, info in programs.items())
    map_ids = {map_id for info in programs.values() for map_id in info.map_ids}
    return Identity(kernel_type.name, bytes(data), tuple(tags), _maps(map_ids, chosen))


def _maps(map_ids: Iterable[int], chosen: Mapping[str, Bits]) -> tuple[tuple[object, ...], ...]:
    return tuple(sorted((_map(map_id, chosen) for map_id in map_ids), key=repr))


def _map(map_id: int, chosen: Mapping[str, Bits]) -> tuple[object, ...]:
    with open_map_by_id(map_id) as (fd, info):
        shape = (info.name, info.map_type, info.key_size, info.value_size, info.max_entries, info.map_flags)
        return (*shape, _contents(fd, info, chosen.get(info.name)))


def _contents(fd: Fd, info: MapInfo, chosen: Bits | None) -> object:
    """Return the loader's contents of a read-only map, or the chosen bits; else None."""
    if chosen is not None and info.map_type == BpfMapType.ARENA:
        return object()  # equals no other identity
    value = DataMapValue(fd, info)
    if chosen is not None:
        return tuple(_number(value, *bits) for bits in chosen)
    if info.map_type == BpfMapType.ARRAY and info.map_flags & BPF_F_RDONLY_PROG and info.max_entries == 1:
        return value[:] if len(value) <= BLOCK_BYTES else _hash(value, 0, len(value))
    if info.map_type == BpfMapType.PROG_ARRAY:
        return tuple(_program_tag(fd, index) for index in range(info.max_entries))
    return None


def _number(value: DataMapValue, bit_offset: int, bit_size: int) -> int | str:
    """Return a part of a value as a number, or a large part as its hash."""
    first, end = bit_offset // 8, -(-(bit_offset + bit_size) // 8)
    if end - first > BLOCK_BYTES:
        return _hash(value, first, end)
    return int.from_bytes(value[first:end], "little") >> bit_offset % 8 & (1 << bit_size) - 1


def _hash(value: DataMapValue, first: int, end: int) -> str:
    from hashlib import sha256  # rare

    total = sha256()
    for start in range(first, end, BLOCK_BYTES):
        total.update(value[start : min(start + BLOCK_BYTES, end)])
    return total.hexdigest()


def _program_tag(fd: Fd, index: int) -> str:
    """Return the tag of an element of a program array, "" for an empty one."""
    try:
        program_id = int.from_bytes(bpf_maps.map_lookup_elem(fd, index.to_bytes(4, "little"), 4), "little")
        with bpf.prog_get_fd_by_id(program_id) as program:
            return prog_info(program).tag
    except KernelError as error:
        if error.errno == ENOENT:
            return ""
        raise
