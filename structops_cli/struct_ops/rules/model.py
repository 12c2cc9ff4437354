"""The values of the model: maps, links, operations on them, and the world around them.

The caller chooses the handles of maps and links; "" is a handle that is not open.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple, TypeAlias

from structops_cli.struct_ops.capabilities import Capabilities
from structops_cli.struct_ops.catalogue import StructOpsType
from structops_cli.syscall.uapi import BPF_F_LINK, StructOpsState

# Maps, links and the world


class MapModel(NamedTuple):
    """A struct_ops map; ``value`` is that of a lookup, without state and refcnt."""

    type: StructOpsType
    map_flags: int = 0
    state: int = StructOpsState.INIT
    value: bytes = b""

    @property
    def is_link_map(self) -> bool:
        """Whether the map was created with BPF_F_LINK."""
        return bool(self.map_flags & BPF_F_LINK)


class Model(NamedTuple):
    """The caller's maps and links by handle; a detached link has the map ""."""

    maps: Mapping[str, MapModel] = {}
    links: Mapping[str, str] = {}


class ProgramFacts(NamedTuple):
    """The parts of a program that an update reads; ``member_index`` is None if unknown."""

    id: int
    prog_type: int
    attach_btf_id: int
    member_index: int | None


class BtfFacts(NamedTuple):
    """The BTF object behind an fd; ``is_module``: it is that of a kernel module."""

    is_kernel: bool
    is_module: bool = False


FdFacts: TypeAlias = ProgramFacts | BtfFacts | None
"""The object behind an open fd; None for an object that no operation accepts."""


class World(NamedTuple):
    """The facts of a case besides its maps."""

    capabilities: Capabilities = Capabilities()
    fds: Mapping[int, FdFacts] | None = {}
    """All open fds. None: unknown, and each fd counts as the right one."""
    taken: frozenset[tuple[str, str]] = frozenset()
    """The (type, name) pairs that others have registered, the kernel included."""
    offered: frozenset[int] | None = None
    """The value type ids of registered types. None: all of BTF."""
    trampoline_bytes: Mapping[int, int] = {}
    """The size of a trampoline by member index, if known."""
    flag_masks: Mapping[tuple[str, str], int] = {}
    """The bits that this kernel accepts by (type, member), if it was asked."""
    capable: bool = True
    """The caller has CAP_BPF and the capabilities beside it."""


# Operations


class CreateMap(NamedTuple):
    """MAP_CREATE of a struct_ops map; all fields but the first two are those of the attribute."""

    map: str
    type: StructOpsType
    key_size: int
    value_size: int
    max_entries: int
    map_flags: int
    btf_vmlinux_value_type_id: int
    btf_fd: int
    btf_key_type_id: int = 0
    btf_value_type_id: int = 0
    map_extra: int = 0
    value_type_btf_obj_fd: int = 0


class GetNextKey(NamedTuple):
    """MAP_GET_NEXT_KEY; None asks for the first key."""

    map: str
    key: int | None


class Lookup(NamedTuple):
    """MAP_LOOKUP_ELEM."""

    map: str
    key: int = 0


class Update(NamedTuple):
    """MAP_UPDATE_ELEM; ``value`` has program fds in place of functions."""

    map: str
    value: bytes
    key: int = 0
    flags: int = 0


class Delete(NamedTuple):
    """MAP_DELETE_ELEM."""

    map: str
    key: int = 0


class Freeze(NamedTuple):
    """MAP_FREEZE."""

    map: str


class CreateLink(NamedTuple):
    """LINK_CREATE. The kernel ignores ``flags``."""

    link: str
    map: str
    flags: int = 0


class UpdateLink(NamedTuple):
    """LINK_UPDATE; ``old`` is None for an old_map_fd of 0."""

    link: str
    map: str
    old: str | None = None
    flags: int = 0


class DetachLink(NamedTuple):
    """LINK_DETACH."""

    link: str


class CloseLink(NamedTuple):
    """close() of the last fd of a link without a pin."""

    link: str


class LoadProgram(NamedTuple):
    """PROG_LOAD of a struct_ops program, before the verifier reads an instruction."""

    type: StructOpsType
    attach_btf_id: int
    member_index: int
    licence: str = "GPL"
    sleepable: bool = False


class RunProgram(NamedTuple):
    """PROG_TEST_RUN of a program with the arguments of its member."""

    type: StructOpsType
    member_index: int
    argument_count: int


Operation: TypeAlias = (
    CreateMap
    | GetNextKey
    | Lookup
    | Update
    | Delete
    | Freeze
    | CreateLink
    | UpdateLink
    | DetachLink
    | CloseLink
    | LoadProgram
    | RunProgram
)

COMMANDS: dict[type, str] = {
    CreateMap: "MAP_CREATE",
    GetNextKey: "MAP_GET_NEXT_KEY",
    Lookup: "MAP_LOOKUP_ELEM",
    Update: "MAP_UPDATE_ELEM",
    Delete: "MAP_DELETE_ELEM",
    Freeze: "MAP_FREEZE",
    CreateLink: "LINK_CREATE",
    UpdateLink: "LINK_UPDATE",
    DetachLink: "LINK_DETACH",
    CloseLink: "close",
    LoadProgram: "PROG_LOAD",
    RunProgram: "PROG_TEST_RUN",
}
"""The bpf(2) command of each operation."""
