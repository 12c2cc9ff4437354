"""The rules for the array of arguments that a program gets, and for the structs that its words point to.

``btf_ctx_access`` and ``btf_struct_walk`` (kernel/bpf/btf.c), ``check_ptr_to_btf_access`` (kernel/bpf/verifier.c). A
subsystem that nobody here knows may have an ``is_valid_access`` of its own: what it makes of the array is not certain.
"""

from __future__ import annotations

from typing import NamedTuple

from structops_cli.btf.btf import Btf
from structops_cli.btf.c_declarations import declare
from structops_cli.btf.layout import resolve, size_of
from structops_cli.btf.types import Array, Ptr, Struct, Union
from structops_cli.struct_ops.capabilities import refuses_narrow_pointers
from structops_cli.struct_ops.catalogue import KernelMember, StructOpsType
from structops_cli.struct_ops.kinds import REGISTRY, kind_of
from structops_cli.syscall.uapi import BtfKind

__all__ = ["Refused", "refused_context", "refused_struct"]

WORD_BYTES = 8


class Refused(NamedTuple):
    """Why the verifier refuses an access; ``certain`` says that this kernel does."""

    why: str
    certain: bool


def refused_context(
    kernel_type: StructOpsType, vmlinux: Btf, param_type: int, at: int, size_bytes: int, *, write: bool
) -> Refused | None:
    """Return why an access to a word of the array is refused, None for one that is not.

    ``param_type`` is the type of the argument that is in the word.
    """
    is_known = kernel_type.name in REGISTRY
    if write:
        return Refused("it writes to the array of its arguments, which is read-only", is_known)
    what = f"it loads {size_bytes} bytes at byte {at} of the array of its arguments"
    if at % WORD_BYTES:
        return Refused(f"{what}, and an argument begins at every eighth", is_known)
    if size_bytes != WORD_BYTES and isinstance(resolve(kernel_type.btf, param_type), Ptr):
        certain = is_known and refuses_narrow_pointers(vmlinux)
        return Refused(f"{what}, and {declare(kernel_type.btf, param_type)} has 8", certain)
    return None


def refused_struct(
    kernel_type: StructOpsType, member: KernelMember, position: int, at: int, size_bytes: int
) -> Refused | None:
    """Return why an access to the struct that argument ``position`` (from 1) points to is refused."""
    assert member.proto is not None
    btf, param = kernel_type.btf, member.proto.params[position - 1]
    pointer = resolve(btf, param.type)
    target = resolve(btf, pointer.type) if isinstance(pointer, Ptr) else None
    if not isinstance(target, Struct | Union):
        return None
    target = _as_passed(kernel_type, target)
    where = f"byte {at} behind argument {position}, {declare(btf, param.type, param.name)}"
    if at < 0:
        return Refused(f"it uses {where}, which is before it", certain=True)
    size = size_of(btf, target.id)
    if at + size_bytes <= size or _ends_open(btf, target):
        return None
    is_known = kernel_type.name in REGISTRY
    return Refused(f"it uses {where}, and struct {target.name} has {size} bytes", is_known)


def _as_passed(kernel_type: StructOpsType, target: Struct | Union) -> Struct | Union:
    """Return the struct that the verifier takes a struct for."""
    name = kind_of(kernel_type.name).programs.passed_as.get(target.name)
    type_id = kernel_type.btf.find(name, BtfKind.STRUCT) if name else None
    larger = kernel_type.btf.type(type_id) if type_id is not None else None
    return larger if isinstance(larger, Struct) else target


def _ends_open(btf: Btf, target: Struct | Union) -> bool:
    """Tell whether a struct ends with an array of no length."""
    last = resolve(btf, target.members[-1].type) if target.members else None
    return isinstance(last, Array) and not last.count
