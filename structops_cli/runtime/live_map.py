"""One live struct_ops map: its state, links, pins and programs."""

from __future__ import annotations

from enum import StrEnum
from errno import ENOENT
from typing import NamedTuple

from structops_cli.btf.btf import Btf
from structops_cli.errors import BtfError, KernelError, StructopsError
from structops_cli.struct_ops.catalogue import StructOpsType
from structops_cli.struct_ops.value import StructOpsValue, decode_value, read_programs
from structops_cli.syscall import bpf, bpffs
from structops_cli.syscall.info import MapInfo, ProgInfo, btf_bytes, prog_func_type, prog_info
from structops_cli.syscall.uapi import BPF_F_LINK, BPF_OBJ_NAME_LEN


class MapState(StrEnum):
    """The state of a struct_ops map, from the kernel's state, links and reference count."""

    UNSET = "unset"
    """The map has no value yet."""
    READY = "ready"
    """The map has a value, and no link has registered it yet."""
    REGISTERED = "registered"
    RETIRED = "retired"
    """The map is not registered any more, and references remain."""
    EJECTED = "ejected"
    """The map has a link, and the kernel has ended the registration."""
    UNKNOWN = "unknown"
    """The kernel's state is a number that this project does not know."""


class LiveLink(NamedTuple):
    """A link, and the paths of its pins."""

    id: int
    pins: tuple[str, ...]


class LiveProgram(NamedTuple):
    """A program of a map, and the members that it implements."""

    members: tuple[str, ...]
    info: ProgInfo


class LiveMap(NamedTuple):
    """A struct_ops map at one moment; ``raw`` is its value, decoded on demand.

    ``reason`` is the kernel's reason to eject it, "" if the kernel log lacks it. ``refcnt``
    is the kernel's count of references (since 6.4 an estimate). ``pins`` are pins of the
    map itself. A map whose type cannot be read (``type.unread``) has the name of its pin,
    or ``id:N``.
    """

    info: MapInfo
    type: StructOpsType
    raw: bytes
    kernel_state: int
    refcnt: int
    state: MapState
    name: str
    links: tuple[LiveLink, ...]
    pins: tuple[str, ...]
    reason: str = ""

    @property
    def value(self) -> StructOpsValue:
        """The whole value, member by member."""
        return decode_value(self.type, self.raw)

    @property
    def program_ids(self) -> tuple[int, ...]:
        """The ids of its programs, each once, in member order."""
        return tuple(read_programs(self.type, self.raw))

    @property
    def is_link_map(self) -> bool:
        """Tell whether it was created with BPF_F_LINK."""
        return bool(self.info.map_flags & BPF_F_LINK)


def programs_of(live: LiveMap) -> tuple[LiveProgram, ...]:
    """Return the programs of a map that still exist."""
    found = []
    for program_id, members in read_programs(live.type, live.raw).items():
        try:
            found.append(LiveProgram(tuple(members), _program(program_id)))
        except KernelError as error:
            if error.errno != ENOENT:
                raise
    return tuple(found)


def _program(program_id: int) -> ProgInfo:
    """Return the info of a program, with its whole name from its BTF."""
    with bpf.prog_get_fd_by_id(program_id) as fd:
        info = prog_info(fd)
        if len(info.name) < BPF_OBJ_NAME_LEN - 1 or not info.btf_id:
            return info
        func_type = prog_func_type(fd)
    with bpf.btf_get_fd_by_id(info.btf_id) as btf_fd:
        data = btf_bytes(btf_fd)
    try:
        name = Btf(data, origin=f"BTF {info.btf_id}", partial=True).name(func_type)
    except BtfError:  # newer BTF than structops reads: return the short name
        return info
    return info._replace(name=name) if name.startswith(info.name) else info


def kernel_rendering(map_id: int) -> str:
    """Return the kernel's own text of a map's value, read through a pin in a private bpffs."""
    with bpf.map_get_fd_by_id(map_id) as fd, bpffs.detached() as root:
        path = f"/proc/self/fd/{root.fileno()}/value"
        bpf.obj_pin(fd, path)
        try:
            with open(path, encoding="utf-8", errors="replace") as pinned:
                return pinned.read()
        except OSError as error:
            raise StructopsError(
                f"the kernel does not render map {map_id}",
                why=error.strerror or "",
                hint="leave out --kernel",
            ) from None
