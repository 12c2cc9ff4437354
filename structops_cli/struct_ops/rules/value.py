"""What the kernel looks at in the bytes of a value. Pure."""

from __future__ import annotations

from structops_cli.btf.btf import Btf
from structops_cli.btf.layout import resolve, size_of
from structops_cli.btf.types import Ptr, Struct
from structops_cli.struct_ops.catalogue import KernelMember, StructOpsType
from structops_cli.struct_ops.kinds import kind_of
from structops_cli.struct_ops.value import POINTER, WORD

__all__ = [
    "first_hole_byte",
    "first_inner_hole_byte",
    "is_module_pointer",
    "kernel_name",
    "member_bytes",
    "own_fields",
    "program_fd",
]


def member_bytes(kernel_type: StructOpsType, raw: bytes, member: KernelMember) -> bytes:
    """Return a member's bytes."""
    start = kernel_type.data_offset + member.offset_bytes
    return raw[start : start + member.size_bytes]


def program_fd(kernel_type: StructOpsType, raw: bytes, member: KernelMember) -> int:
    """Return the program fd of a function member: the kernel reads 8 bytes and keeps them as an ``int``."""
    word: int = POINTER.unpack(member_bytes(kernel_type, raw, member))[0]
    return (word & 0xFFFFFFFF ^ 0x80000000) - 0x80000000


def own_fields(kernel_type: StructOpsType, raw: bytes) -> tuple[int, int]:
    """Return state and refcnt."""
    return (
        WORD.unpack_from(raw, kernel_type.state_offset)[0],
        WORD.unpack_from(raw, kernel_type.refcnt_offset)[0],
    )


def kernel_name(kernel_type: StructOpsType, raw: bytes) -> str:
    """Return the name under which the subsystem keeps a value, byte by byte as Latin-1; "" when its type has none."""
    wanted = kind_of(kernel_type.name).naming.member
    for member in kernel_type.members if wanted else ():
        if member.name == wanted:
            return member_bytes(kernel_type, raw, member).partition(b"\0")[0].decode("latin-1")
    return ""


def is_module_pointer(kernel_type: StructOpsType, member: KernelMember) -> bool:
    """Tell whether a member points at ``struct module``: the kernel fills it with the owner."""
    pointer = resolve(kernel_type.btf, member.type_id)
    if not isinstance(pointer, Ptr):
        return False
    target = resolve(kernel_type.btf, pointer.type)
    return isinstance(target, Struct) and target.name == "module"


def first_hole_byte(btf: Btf, struct: Struct, raw: bytes) -> int | None:
    """Return the offset of the first byte that lies in no member and is not zero (``check_zero_holes``)."""
    end = 0
    for member in struct.members:
        start = member.bit_offset // 8
        found = _first_set(raw, end, start)
        if found is not None:
            return found
        end = start + size_of(btf, member.type)
    return _first_set(raw, end, struct.size_bytes)


def first_inner_hole_byte(kernel_type: StructOpsType, raw: bytes) -> int | None:
    """Return the same of ``struct X`` within the value, counted from its own start."""
    inner = raw[kernel_type.data_offset : kernel_type.data_offset + kernel_type.struct.size_bytes]
    return first_hole_byte(kernel_type.btf, kernel_type.struct, inner)


def _first_set(raw: bytes, start: int, end: int) -> int | None:
    return next((at for at in range(start, min(end, len(raw))) if raw[at]), None)
