"""The bytes of a map's value, ``struct bpf_struct_ops_X``, for updates and lookups.

An update has the fd of a program where the struct has a function pointer; a lookup has the program's id
(kernel/bpf/bpf_struct_ops.c, ``bpf_struct_ops_map_update_elem`` and ``bpf_struct_ops_map_sys_lookup_elem``).
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

from structops_cli.btf.btf import Btf
from structops_cli.btf.layout import resolve, size_of
from structops_cli.btf.types import Ptr, Struct
from structops_cli.errors import BtfError
from structops_cli.struct_ops.catalogue import KernelMember, StructOpsType
from structops_cli.struct_ops.kinds import kind_of
from structops_cli.syscall.uapi import StructOpsState

if TYPE_CHECKING:
    from structops_cli.struct_ops.member_text import MemberValue
    from structops_cli.struct_ops.plan import MapPlan

KEY = struct.pack("<I", 0)
"""The only key of a struct_ops map."""
POINTER = struct.Struct("<Q")
WORD = struct.Struct("<I")


class DecodedMember(NamedTuple):
    """A member of a looked-up value: ``program_id`` (0: none) or ``value``."""

    member: KernelMember
    program_id: int
    value: MemberValue


class StructOpsValue(NamedTuple):
    """A looked-up value. ``state`` is a ``StructOpsState``, or an unknown number."""

    state: int
    refcnt: int
    members: tuple[DecodedMember, ...]


def encode_value(plan: MapPlan, program_fds: Mapping[str, int]) -> bytes:
    """Return the value for MAP_UPDATE_ELEM; state, refcnt and holes are zero."""
    value = bytearray(plan.type.value.size_bytes)
    for item in plan.members:
        start = plan.type.data_offset + item.member.offset_bytes
        data = POINTER.pack(program_fds[item.program]) if item.program else item.data
        value[start : start + len(data)] = data
    return bytes(value)


def read_state(kernel_type: StructOpsType, raw: bytes) -> tuple[int, int]:
    """Return state and refcnt of a value; ``BtfError`` for a value of another size."""
    _check_size(kernel_type, raw)
    state: int = WORD.unpack_from(raw, kernel_type.state_offset)[0]
    refcnt: int = WORD.unpack_from(raw, kernel_type.refcnt_offset)[0]
    return state, refcnt


def read_programs(kernel_type: StructOpsType, raw: bytes) -> dict[int, list[str]]:
    """Return the programs of a looked-up value: the names of the members by program id."""
    found: dict[int, list[str]] = {}
    for member in kernel_type.members:
        if member.proto is not None:
            program_id = POINTER.unpack_from(raw, kernel_type.data_offset + member.offset_bytes)[0]
            if program_id:
                found.setdefault(program_id, []).append(member.name)
    return found


def read_name(kernel_type: StructOpsType, raw: bytes) -> str:
    """Return the name of a value for users; "" for a type without names."""
    return _name_bytes(kernel_type, raw).decode(errors="replace")


def decode_value(kernel_type: StructOpsType, raw: bytes) -> StructOpsValue:
    """Decode a looked-up value; ``BtfError`` for a value of another size."""
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
    """Return the kernel's name of a state, in lower case."""
    try:
        return StructOpsState(state).name.lower()
    except ValueError:
        return f"state {state}"


# Parts of a value


def member_bytes(kernel_type: StructOpsType, raw: bytes, member: KernelMember) -> bytes:
    """Return a member's bytes."""
    start = kernel_type.data_offset + member.offset_bytes
    return raw[start : start + member.size_bytes]


def program_fd(kernel_type: StructOpsType, raw: bytes, member: KernelMember) -> int:
    """Return the program fd of a function member; the kernel keeps 4 of its 8 bytes."""
    word: int = POINTER.unpack(member_bytes(kernel_type, raw, member))[0]
    return (word & 0xFFFFFFFF ^ 0x80000000) - 0x80000000


def kernel_name(kernel_type: StructOpsType, raw: bytes) -> str:
    """Return the name of a value byte by byte as Latin-1; "" for a type without names."""
    return _name_bytes(kernel_type, raw).decode("latin-1")


def _name_bytes(kernel_type: StructOpsType, raw: bytes) -> bytes:
    wanted = kind_of(kernel_type.name).naming.member
    for member in kernel_type.members if wanted else ():
        if member.name == wanted:
            return member_bytes(kernel_type, raw, member).partition(b"\0")[0]
    return b""


def is_module_pointer(kernel_type: StructOpsType, member: KernelMember) -> bool:
    """Tell whether a member points at ``struct module``: the kernel fills it with the owner."""
    pointer = resolve(kernel_type.btf, member.type_id)
    if not isinstance(pointer, Ptr):
        return False
    target = resolve(kernel_type.btf, pointer.type)
    return isinstance(target, Struct) and target.name == "module"


def first_hole_byte(btf: Btf, struct: Struct, raw: bytes) -> int | None:
    """Return the first non-zero byte outside of all members (``check_zero_holes``)."""
    end = 0
    for member in struct.members:
        start = member.bit_offset // 8
        found = _first_set(raw, end, start)
        if found is not None:
            return found
        end = start + size_of(btf, member.type)
    return _first_set(raw, end, struct.size_bytes)


def first_inner_hole_byte(kernel_type: StructOpsType, raw: bytes) -> int | None:
    """Return the first such byte of ``struct X`` within the value, counted from its own start."""
    inner = raw[kernel_type.data_offset : kernel_type.data_offset + kernel_type.struct.size_bytes]
    return first_hole_byte(kernel_type.btf, kernel_type.struct, inner)


def _first_set(raw: bytes, start: int, end: int) -> int | None:
    return next((at for at in range(start, min(end, len(raw))) if raw[at]), None)
