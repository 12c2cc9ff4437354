"""The rules of registering a *type*: why a kernel does not offer a type of its BTF. Pure.

They follow ``bpf_struct_ops_desc_init`` and ``is_valid_value_type`` (kernel/bpf/bpf_struct_ops.c) and
``btf_distill_func_proto`` (kernel/bpf/btf.c). The kernel writes a line to its log and offers no such type.

Since 6.9 the kernel skips functions without a stub, which BTF does not show. Findings about such
functions are not ``certain``.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import NamedTuple

from structops_cli.btf.btf import Btf
from structops_cli.btf.kernel_types import KernelTypes
from structops_cli.btf.layout import pointee_proto, resolve, size_of
from structops_cli.btf.types import Enum, Enum64, FuncProto, Int, Member, Ptr, Struct, Union, Void
from structops_cli.errors import BtfError
from structops_cli.struct_ops.capabilities import Capabilities, capabilities_of
from structops_cli.struct_ops.catalogue import VALUE_PREFIX
from structops_cli.syscall.uapi import BtfKind

MOST_ARGUMENTS = 12
"""MAX_BPF_FUNC_ARGS."""
LARGEST_ARGUMENT = 16
"""Bytes: two registers."""
VALUE_MEMBERS = 2
KERNELS_OWN = frozenset({"value", "map", "link", "desc", "arg_info", "common_value", "state"})
"""The structs ``bpf_struct_ops_*`` of the machinery itself."""


class WhyNot(NamedTuple):
    """One reason why a type cannot be registered. ``certain``: BTF alone proves it."""

    type_name: str
    module: str
    rule: str
    member: str
    why: str
    certain: bool = True


def not_offered(kernel: KernelTypes) -> tuple[WhyNot, ...]:
    """Return the first reason for each type that cannot be registered, by name."""
    capabilities = capabilities_of(kernel)
    found = []
    for module, btf in [("", kernel.vmlinux), *((item.name, item.btf) for item in kernel.modules())]:
        for value_id in btf.with_prefix(VALUE_PREFIX, BtfKind.STRUCT):
            value = btf.type(value_id)
            if isinstance(value, Struct):
                found += list(why_not(btf, value, capabilities, module))[:1]
    return tuple(sorted(found, key=lambda item: (item.type_name, item.module)))


def why_not(btf: Btf, value: Struct, capabilities: Capabilities, module: str = "") -> Iterator[WhyNot]:
    """Yield the reasons why a type cannot be registered, in the kernel's order."""
    name = value.name.removeprefix(VALUE_PREFIX)
    no = partial(WhyNot, name, module)
    if name in KERNELS_OWN:
        yield no("kernels-own", "", "it is the kernel's own machinery")
        return
    struct_id = btf.find(name, BtfKind.STRUCT)
    struct = btf.type(struct_id) if struct_id else None
    if not isinstance(struct, Struct):
        yield no("struct", "", f"there is no struct {name}")
        return
    if len(struct.members) > capabilities.max_members:
        yield no(
            "members",
            "",
            f"struct {name} has {len(struct.members)} members, and this kernel takes {capabilities.max_members}",
        )
    shape = _value_shape(btf, value, struct, capabilities)
    if shape:
        yield no("value", "", shape)
    for member in struct.members:
        yield from _member(btf, member, capabilities, no)


def _value_shape(btf: Btf, value: Struct, struct: Struct, capabilities: Capabilities) -> str:
    """Return the fault of the value struct, "" for none."""
    held = [resolve(btf, member.type) for member in value.members]
    if not any(isinstance(item, Struct) and item.id == struct.id for item in held):
        return f"struct {value.name} does not hold struct {struct.name}"
    if not capabilities.common_value:
        return ""
    if len(value.members) != VALUE_MEMBERS:
        return f"struct {value.name} has {len(value.members)} members and not {VALUE_MEMBERS}"
    first, second = held
    if not (isinstance(first, Struct) and first.name == "bpf_struct_ops_common_value"):
        return f"the first member of struct {value.name} is not struct bpf_struct_ops_common_value"
    if not (isinstance(second, Struct) and second.id == struct.id):
        return f"the second member of struct {value.name} is not struct {struct.name}"
    return ""


def _member(btf: Btf, member: Member, capabilities: Capabilities, no: partial[WhyNot]) -> Iterator[WhyNot]:
    if not member.name:
        yield no("anonymous", "", "it has an anonymous member")
    if member.bit_size:
        yield no("bit-field", member.name, f"{member.name} is a bit-field")
    proto = pointee_proto(btf, member.type)
    why = _prototype(btf, proto, capabilities) if proto else ""
    if why:
        # since 6.9 the kernel skips a function without a stub
        yield no("prototype", member.name, f"{member.name} {why}", not capabilities.module_types)


def _prototype(btf: Btf, proto: FuncProto, capabilities: Capabilities) -> str:
    """Return the reason why a trampoline cannot carry a prototype, "" if it can."""
    if len(proto.params) > MOST_ARGUMENTS:
        return f"takes {len(proto.params)} arguments, and a trampoline carries {MOST_ARGUMENTS}"
    returned = resolve(btf, proto.return_type)
    if not isinstance(returned, Void | Ptr | Int | Enum | Enum64):
        return "returns neither a number nor a pointer"
    if isinstance(returned, Ptr) and capabilities.module_types:
        target = resolve(btf, returned.type)
        if not isinstance(target, Struct):
            return "returns a pointer to something that is no struct"
    for index, param in enumerate(proto.params):
        if param.type == 0:
            return "takes a variable number of arguments"
        why = _argument(btf, param.type)
        if why:
            return f"takes an argument ({index}) that {why}"
    return ""


def _argument(btf: Btf, type_id: int) -> str:
    if not isinstance(resolve(btf, type_id), Ptr | Int | Enum | Enum64 | Struct | Union):
        return "is neither a number, a pointer nor a struct"
    try:
        size = size_of(btf, type_id)
    except BtfError:
        return "has no size"
    return f"has {size} bytes, and a trampoline carries {LARGEST_ARGUMENT}" if size > LARGEST_ARGUMENT else ""
