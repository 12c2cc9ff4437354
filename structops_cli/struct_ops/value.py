"""The bytes of a struct_ops map's value: ``struct bpf_struct_ops_X``, written for an update and read from a lookup.

In an update a function pointer slot holds a program's fd; in a lookup the
kernel answers with the program's id (kernel/bpf/bpf_struct_ops.c,
``bpf_struct_ops_map_update_elem`` and ``bpf_struct_ops_map_sys_lookup_elem``).
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

from structops_cli.errors import BtfError
from structops_cli.struct_ops.catalogue import KernelMember, StructOpsType
from structops_cli.struct_ops.kinds import kind_of
from structops_cli.syscall.uapi import StructOpsState

if TYPE_CHECKING:
    from structops_cli.struct_ops.member_text import MemberValue
    from structops_cli.struct_ops.plan import MapPlan

__all__ = [
    "KEY",
    "DecodedMember",
    "StructOpsValue",
    "decode_value",
    "encode_value",
    "read_name",
    "read_programs",
    "read_state",
]

KEY = struct.pack("<I", 0)
"""The only key of a struct_ops map."""
POINTER = struct.Struct("<Q")
WORD = struct.Struct("<I")


class DecodedMember(NamedTuple):
    """A member of a looked-up value: ``program_id`` (0: none) for a function pointer, else ``value``."""

    member: KernelMember
    program_id: int
    value: MemberValue


class StructOpsValue(NamedTuple):
    """A looked-up value. ``state`` is a ``StructOpsState`` or a number that this project does not know."""

    state: int
    refcnt: int
    members: tuple[DecodedMember, ...]


def encode_value(plan: MapPlan, program_fds: Mapping[str, int]) -> bytes:
    """Return the value for MAP_UPDATE_ELEM; state, refcnt and every hole are zero, as the kernel wants them."""
    value = bytearray(plan.type.value.size_bytes)
    for item in plan.members:
        start = plan.type.data_offset + item.member.offset_bytes
        data = POINTER.pack(program_fds[item.program]) if item.program else item.data
        value[start : start + len(data)] = data
    return bytes(value)


def read_state(kernel_type: StructOpsType, raw: bytes) -> tuple[int, int]:
    """Return state and refcnt of a looked-up value without decoding the rest."""
    _check_size(kernel_type, raw)
    state: int = WORD.unpack_from(raw, kernel_type.state_offset)[0]
    refcnt: int = WORD.unpack_from(raw, kernel_type.refcnt_offset)[0]
    return state, refcnt


def read_programs(kernel_type: StructOpsType, raw: bytes) -> dict[int, list[str]]:
    """Return the programs of a looked-up value, id to the names of their members, without decoding the rest."""
    found: dict[int, list[str]] = {}
    for member in kernel_type.members:
        if member.proto is not None:
            program_id = POINTER.unpack_from(raw, kernel_type.data_offset + member.offset_bytes)[0]
            if program_id:
                found.setdefault(program_id, []).append(member.name)
    return found


def read_name(kernel_type: StructOpsType, raw: bytes) -> str:
    """Return the name under which users know a looked-up value; "" for a type whose instances have none."""
    wanted = kind_of(kernel_type.name).naming.member
    for member in kernel_type.members if wanted else ():
        if member.name == wanted:
            start = kernel_type.data_offset + member.offset_bytes
            return raw[start : start + member.size_bytes].split(b"\0", 1)[0].decode(errors="replace")
    return ""


def decode_value(kernel_type: StructOpsType, raw: bytes) -> StructOpsValue:
    """Decode a looked-up value; ``BtfError`` when it is not of the type's size."""
    state, refcnt = read_state(kernel_type, raw)
    members = tuple(_decode_member(kernel_type, member, raw) for member in kernel_type.members)
    return StructOpsValue(state, refcnt, members)


def _decode_member(kernel_type: StructOpsType, member: KernelMember, raw: bytes) -> DecodedMember:
    from structops_cli.struct_ops.member_text import decode_member  # registering decodes nothing

    start = kernel_type.data_offset + member.offset_bytes
    if member.proto is not None:
        return DecodedMember(member, POINTER.unpack_from(raw, start)[0], None)
    return DecodedMember(
        member, 0, decode_member(kernel_type, member, raw[start : start + member.size_bytes])
    )


def _check_size(kernel_type: StructOpsType, raw: bytes) -> None:
    if len(raw) != kernel_type.value.size_bytes:
        raise BtfError(
            f"the value has {len(raw)} bytes, and struct {kernel_type.value.name} has {kernel_type.value.size_bytes}",
            why="the BTF that was read is not of the kernel that answered",
            type_name=kernel_type.name,
        )


def state_name(state: int) -> str:
    """Return the kernel's word for a state, in lower case."""
    try:
        return StructOpsState(state).name.lower()
    except ValueError:
        return f"state {state}"
