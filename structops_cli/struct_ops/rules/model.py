"""The values of the model: maps and links as they are, operations on them, and what the world around holds.

Maps and links have handles of the caller's choice; "" is one that is not open.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple, TypeAlias

from structops_cli.struct_ops.capabilities import Capabilities
from structops_cli.struct_ops.catalogue import StructOpsType
from structops_cli.syscall.uapi import BPF_F_LINK, StructOpsState

__all__ = [
    "COMMANDS",
    "BtfFacts",
    "CloseLink",
    "CreateLink",
    "CreateMap",
    "Delete",
    "DetachLink",
    "FdFacts",
    "Freeze",
    "GetNextKey",
    "LoadProgram",
    "Lookup",
    "MapModel",
    "Model",
    "Operation",
    "ProgramFacts",
    "RunProgram",
    "Update",
    "UpdateLink",
    "World",
]


# What is there


class MapModel(NamedTuple):
    """A struct_ops map. ``value`` is what a lookup would show, but for state and refcnt; empty before it is set."""

    type: StructOpsType
    map_flags: int = 0
    state: int = StructOpsState.INIT
    value: bytes = b""

    @property
    def is_link_map(self) -> bool:
        """Whether it was created with BPF_F_LINK."""
        return bool(self.map_flags & BPF_F_LINK)


class Model(NamedTuple):
    """Every map and link of the caller's, by handle. A link's value is its map's handle, "" once it is detached."""

    maps: Mapping[str, MapModel] = {}
    links: Mapping[str, str] = {}


class ProgramFacts(NamedTuple):
    """What an update looks at in a program. ``member_index`` is its expected_attach_type, None where nobody knows it."""

    id: int
    prog_type: int
    attach_btf_id: int
    member_index: int | None


class BtfFacts(NamedTuple):
    """What is behind the fd of a BTF object; ``is_module`` is of a kernel module's."""

    is_kernel: bool
    is_module: bool = False


FdFacts: TypeAlias = ProgramFacts | BtfFacts | None
"""What an open fd is; None for anything that no operation here takes."""


class World(NamedTuple):
    """What matters beside the maps themselves.

    ``fds`` are all open ones by number, None where
    nobody looked: then each is taken to be the program that it should be. ``taken`` are the names, as (type,
    name), that somebody else has registered, the kernel included. ``offered``
    are the ids of the values whose types a subsystem registered, None for "all
    that BTF has". ``trampoline_bytes`` is the size of one trampoline by member
    index, for those who know it. ``flag_masks`` are the bits that this kernel
    takes by (type, member), where somebody asked it. ``capable``: CAP_BPF and what goes with it.
    """

    capabilities: Capabilities = Capabilities()
    fds: Mapping[int, FdFacts] | None = {}
    taken: frozenset[tuple[str, str]] = frozenset()
    offered: frozenset[int] | None = None
    trampoline_bytes: Mapping[int, int] = {}
    flag_masks: Mapping[tuple[str, str], int] = {}
    capable: bool = True


# Operations


class CreateMap(NamedTuple):
    """MAP_CREATE of a struct_ops map; every field but the first two goes into the attribute as it is."""

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
    """MAP_UPDATE_ELEM; ``value`` has the size of the type's value, program fds where functions are."""

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
    """LINK_CREATE. The kernel does not look at ``flags``."""

    link: str
    map: str
    flags: int = 0


class UpdateLink(NamedTuple):
    """LINK_UPDATE; ``old`` is None where no old_map_fd is given (0)."""

    link: str
    map: str
    old: str | None = None
    flags: int = 0


class DetachLink(NamedTuple):
    """LINK_DETACH."""

    link: str


class CloseLink(NamedTuple):
    """close() of the last fd of a link that has no pin."""

    link: str


class LoadProgram(NamedTuple):
    """PROG_LOAD of a struct_ops program, up to where the verifier reads its instructions."""

    type: StructOpsType
    attach_btf_id: int
    member_index: int
    licence: str = "GPL"
    sleepable: bool = False


class RunProgram(NamedTuple):
    """PROG_TEST_RUN of a program of a type, with the arguments of its member."""

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
"""Operation to the bpf(2) command that it is."""
