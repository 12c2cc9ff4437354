"""Whether two struct_ops are the same thing: the same programs, data and read-only globals, whatever their ids are.

Programs are compared by the kernel's tag, a hash of their instructions. What a
program writes, ``.data`` and ``.bss`` and ordinary maps, is compared by shape
only: a live one's contents are no longer those that it was loaded with.
"""

from __future__ import annotations

from collections.abc import Iterable
from errno import ENOENT
from typing import TYPE_CHECKING

from structops_cli.errors import KernelError
from structops_cli.records import NamedTuple
from structops_cli.runtime.inventory import LiveMap
from structops_cli.runtime.other_maps import opened
from structops_cli.struct_ops.catalogue import StructOpsType
from structops_cli.struct_ops.value import KEY, read_programs
from structops_cli.syscall import bpf, bpf_maps
from structops_cli.syscall.fd import Fd
from structops_cli.syscall.info import MapInfo, ProgInfo, prog_info
from structops_cli.syscall.uapi import BPF_F_RDONLY_PROG, BpfMapType

if TYPE_CHECKING:
    from structops_cli.runtime.loaded import Loaded
    from structops_cli.struct_ops.plan import MapPlan

__all__ = ["Identity", "identity_of_live", "identity_of_planned"]


class Identity(NamedTuple):
    """What makes one struct_ops the same as another. ``data`` is ``struct X`` without its function pointers."""

    type_name: str
    data: bytes
    tags: tuple[tuple[str, str], ...]
    """(member, tag of its program), by member."""
    maps: tuple[tuple[object, ...], ...]
    """The shapes of the maps that the programs use, with the contents of those that only the loader fills."""

    @property
    def digest(self) -> str:
        """Twelve hexadecimal digits, for people and tables."""
        from hashlib import sha256  # only who shows it needs it

        return sha256(repr(tuple(self)).encode()).hexdigest()[:12]


def identity_of_live(live: LiveMap) -> Identity:
    """Return what a live map is."""
    found: dict[str, ProgInfo] = {}
    for program_id, members in read_programs(live.type, live.raw).items():
        with bpf.prog_get_fd_by_id(program_id) as fd:
            info = prog_info(fd)
        found |= dict.fromkeys(members, info)
    return _identity(live.type, live.raw, found)


def identity_of_planned(loaded: Loaded, plan: MapPlan) -> Identity:
    """Return what a loaded and planned map is, or will be."""
    from structops_cli.runtime.registration import planned_value  # who loads something has it already

    infos = {name: prog_info(fd) for name, fd in loaded.programs.items()}
    programs = {item.member.name: infos[item.program] for item in plan.members if item.program}
    return _identity(plan.type, planned_value(plan, loaded), programs)


def _identity(kernel_type: StructOpsType, value: bytes, programs: dict[str, ProgInfo]) -> Identity:
    start = kernel_type.data_offset
    data = bytearray(value[start : start + kernel_type.struct.size_bytes])
    for member in kernel_type.members:
        if member.proto is not None:
            data[member.offset_bytes : member.offset_bytes + member.size_bytes] = bytes(member.size_bytes)
    tags = sorted((name, info.tag) for name, info in programs.items())
    map_ids = {map_id for info in programs.values() for map_id in info.map_ids}
    return Identity(kernel_type.name, bytes(data), tuple(tags), _maps(map_ids))


def _maps(map_ids: Iterable[int]) -> tuple[tuple[object, ...], ...]:
    return tuple(sorted((_map(map_id) for map_id in map_ids), key=repr))


def _map(map_id: int) -> tuple[object, ...]:
    with opened(map_id) as (fd, info):
        shape = (info.name, info.map_type, info.key_size, info.value_size, info.max_entries, info.map_flags)
        return (*shape, _contents(fd, info))


def _contents(fd: Fd, info: MapInfo) -> object:
    """Return what the loader has put into a map that programs cannot write; None for the others."""
    if info.map_type == BpfMapType.ARRAY and info.map_flags & BPF_F_RDONLY_PROG and info.max_entries == 1:
        return bpf_maps.map_lookup_elem(fd, KEY, info.value_size)
    if info.map_type == BpfMapType.PROG_ARRAY:
        return tuple(_program_tag(fd, index) for index in range(info.max_entries))
    return None


def _program_tag(fd: Fd, index: int) -> str:
    """Return the tag of one element of a program array, "" for an empty one; the kernel answers with the program's id."""
    try:
        program_id = int.from_bytes(bpf_maps.map_lookup_elem(fd, index.to_bytes(4, "little"), 4), "little")
        with bpf.prog_get_fd_by_id(program_id) as program:
            return prog_info(program).tag
    except KernelError as error:
        if error.errno == ENOENT:
            return ""
        raise
