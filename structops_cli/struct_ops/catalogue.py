"""The struct_ops types in a kernel's BTF.

A type ``X`` has a ``struct X`` and a ``struct bpf_struct_ops_X`` that holds it (``bpf_struct_ops_desc_init`` of
kernel/bpf/bpf_struct_ops.c). So ``bpf_struct_ops_value``, ``_map``, ``_link`` and the like are no types. Only
MAP_CREATE proves that a subsystem registered a type; BTF does not.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from structops_cli.btf.btf import Btf
from structops_cli.btf.kernel_types import KernelTypes
from structops_cli.btf.layout import innermost, pointee_proto, resolve, size_of
from structops_cli.btf.types import FuncProto, Struct, UnknownKind
from structops_cli.errors import BtfError, UnsupportedError
from structops_cli.syscall.uapi import BtfKind

VALUE_PREFIX = "bpf_struct_ops_"
UNREAD = "unknown"
"""The name of an unread type."""
WORD_BYTES = 4
"""The size of state and of refcnt (``enum bpf_struct_ops_state``, ``refcount_t``)."""
LOAD_FIRST = "; if a module brings it, load it first"
LARGEST_VALUE = 1 << 20
"""Bytes. Real values have a few hundred; damaged BTF must not cost memory."""


class KernelMember(NamedTuple):
    """A member of the kernel's ``struct X``; ``proto`` is that of a function pointer.

    A program for the member is loaded with ``member_index`` as its expected_attach_type.
    """

    name: str
    member_index: int
    offset_bytes: int
    size_bytes: int
    type_id: int
    proto: FuncProto | None


class StructOpsType(NamedTuple):
    """A struct_ops type of a kernel.

    ``struct`` is ``struct X`` and ``value`` is ``struct bpf_struct_ops_X``, both of ``btf``. Offsets are
    bytes from the start of the value. ``module`` is the kernel module with the BTF, "" for vmlinux.
    ``members`` follow the kernel's order. ``unread`` is the reason why the type could not be read, None for
    a type that was read; only state and refcnt of an unread type are known.
    """

    name: str
    module: str
    btf: Btf
    struct: Struct
    value: Struct
    data_offset: int
    state_offset: int
    refcnt_offset: int
    members: tuple[KernelMember, ...]
    unread: str | None = None


def offered_types(kernel: KernelTypes) -> tuple[StructOpsType, ...]:
    """Return the types of a kernel and its modules by name; ``kernel.skipped`` gets damaged ones."""
    found = [_describe(kernel.vmlinux, type_id, "") for type_id in _value_ids(kernel.vmlinux)]
    for module in kernel.modules():
        try:
            found += [_describe(module.btf, type_id, module.name) for type_id in _value_ids(module.btf)]
        except BtfError as error:
            kernel.skip(module, error)
    return tuple(sorted((item for item in found if item), key=lambda item: (item.name, item.module)))


def _value_ids(btf: Btf) -> tuple[int, ...]:
    return btf.with_prefix(VALUE_PREFIX, BtfKind.STRUCT)


def find_type(kernel: KernelTypes, name: str) -> StructOpsType:
    """Return a type by name, from vmlinux or the first module; ``UnsupportedError`` for none."""
    hit = kernel.find(VALUE_PREFIX + name, BtfKind.STRUCT)
    if hit:
        module, value_id = hit
        found = _describe(module.btf if module else kernel.vmlinux, value_id, module.name if module else "")
        if found:
            return found
    known = ", ".join(dict.fromkeys(item.name for item in offered_types(kernel))) or "none"
    if kernel.skipped:
        unread = kernel.skipped[0]
        raise UnsupportedError(
            f"it cannot be told whether this kernel has the struct_ops type {name}",
            why=f"the BTF of module {unread.name} cannot be read: {unread.error}",
            hint=unread.error.hint,
            type_name=name,
            unread_modules=[item.name for item in kernel.skipped],
        )
    why, hint = absence(kernel, name)
    nowhere = f"its BTF has no struct {name} with a struct {VALUE_PREFIX}{name} that holds it"
    raise UnsupportedError(
        f"this kernel has no struct_ops type {name}",
        why=why or nowhere,
        hint=hint or f"it offers: {known}{LOAD_FIRST if kernel.absent else ''}",
        type_name=name,
    )


def absence(kernel: KernelTypes, name: str) -> tuple[str, str]:
    """Return cause and remedy of a type that a module may have, else empty texts."""
    absent = kernel.absent(VALUE_PREFIX + name) if kernel.absent else ()
    unloaded = [module.name for module in absent if not module.loaded]
    if unloaded:
        return f"module {unloaded[0]} has it, and is not loaded", f"modprobe {unloaded[0]}"
    if absent:
        names = ", ".join(module.name for module in absent)
        hint = "build it with BTF, against the vmlinux of this kernel; the kernel log (dmesg) may say more"
        return f"no BTF in sight has it, and modules are loaded without types: {names}", hint
    return "", ""


def type_of_value(btf: Btf, value_type_id: int, module: str = "") -> StructOpsType:
    """Return the type of a live map from its ``btf_vmlinux_value_type_id``."""
    found = _describe(btf, value_type_id, module)
    if found is None:
        raise BtfError(
            f"type {value_type_id} of {btf.origin} is no struct_ops value",
            why="it holds no struct of its own name",
        )
    return found


def unread_type(btf: Btf, value_size: int, reason: str) -> StructOpsType:
    """Return a type with refcnt and state only: every value begins with them since 5.6."""
    value = Struct(0, "", value_size, (), False)
    empty = Struct(0, "", 0, (), False)
    return StructOpsType(UNREAD, "", btf, empty, value, value_size, WORD_BYTES, 0, (), reason)


def _describe(btf: Btf, value_id: int, module: str) -> StructOpsType | None:
    value = btf.type(value_id)
    if not isinstance(value, Struct) or not value.name.startswith(VALUE_PREFIX):
        return None
    name = value.name.removeprefix(VALUE_PREFIX)
    data = _data_member(btf, value, name)
    state, refcnt = _find_offset(btf, value, "state"), _find_offset(btf, value, "refcnt")
    if data is None or state is None or refcnt is None:
        return None
    struct, offset = data
    members = tuple(_member(btf, struct, index) for index in range(len(struct.members)))
    words = (state + WORD_BYTES, refcnt + WORD_BYTES)
    _check_size(btf, value)
    _check_extents(btf, value, (offset + struct.size_bytes, *words))
    _check_extents(btf, struct, [member.offset_bytes + member.size_bytes for member in members])
    return StructOpsType(name, module, btf, struct, value, offset, state, refcnt, members)


def _check_size(btf: Btf, value: Struct) -> None:
    if value.size_bytes > LARGEST_VALUE:
        raise BtfError(
            f"{btf.origin}: struct {value.name} is damaged",
            why=f"it has {value.size_bytes} bytes, and no struct_ops has more than {LARGEST_VALUE}",
            type_id=value.id,
            type_name=value.name,
        )


def _check_extents(btf: Btf, whole: Struct, ends: Iterable[int]) -> None:
    """Refuse BTF with a part that ends behind the whole."""
    end = max(ends, default=0)
    if end > whole.size_bytes:
        raise BtfError(
            f"{btf.origin}: struct {whole.name} is damaged",
            why=f"it has {whole.size_bytes} bytes, and one of its members ends at byte {end}",
            type_id=whole.id,
            type_name=whole.name,
        )


def _data_member(btf: Btf, value: Struct, name: str) -> tuple[Struct, int] | None:
    """Find the member of type ``struct X``; its name and its place differ between kernels."""
    for member in value.members:
        held = resolve(btf, member.type)
        if isinstance(held, Struct) and held.name == name:
            return held, member.bit_offset // 8
    return None


def _find_offset(btf: Btf, value: Struct, name: str) -> int | None:
    """Return the byte offset of ``state`` or ``refcnt``: since 6.9 they are in ``common``."""
    for member in value.members:
        if member.name == name:
            return member.bit_offset // 8
        held = resolve(btf, member.type)
        if member.name == "common" and isinstance(held, Struct):
            inner = next((item for item in held.members if item.name == name), None)
            return None if inner is None else (member.bit_offset + inner.bit_offset) // 8
    return None


def _member(btf: Btf, struct: Struct, index: int) -> KernelMember:
    member = struct.members[index]
    return KernelMember(
        member.name,
        index,
        member.bit_offset // 8,
        _size(btf, struct, index),
        member.type,
        pointee_proto(btf, member.type),
    )


def _size(btf: Btf, struct: Struct, index: int) -> int:
    """Return the size of a member; a member of an unknown BTF kind reaches to the next member."""
    member = struct.members[index]
    if not isinstance(innermost(btf, member.type), UnknownKind):
        return size_of(btf, member.type)
    ends = [item.bit_offset // 8 for item in struct.members[index + 1 :]]
    return min((*ends, struct.size_bytes)) - member.bit_offset // 8
