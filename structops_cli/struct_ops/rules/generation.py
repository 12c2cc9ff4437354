"""How the struct_ops of one kernel differs from that of others, told from its BTF and never from its version.

What BTF shows itself (a struct, a member, the length of an array) is read. Two
things it shows only by what came with them in the same release; ``TOLD_BY``
says so. Fixes that distributions carry back alone can make these two wrong, and
whoever has asked the kernel replaces them: ``generation._replace(...)``.
"""

from __future__ import annotations

from typing import NamedTuple

from structops_cli.btf.btf import Btf
from structops_cli.btf.kernel_types import KernelTypes
from structops_cli.btf.layout import pointee_proto, resolve
from structops_cli.btf.types import Array, Enum, Struct
from structops_cli.struct_ops.catalogue import has_links
from structops_cli.syscall.uapi import BtfKind

__all__ = [
    "TOLD_BY",
    "Generation",
    "confused_indexes",
    "generation_of",
    "has_lazy_globals",
    "refuses_narrow_pointers",
    "tells_generation",
]

MAX_MEMBERS = 64
"""BPF_STRUCT_OPS_MAX_NR_MEMBERS (include/linux/bpf.h), where BTF does not show it."""

CONFUSED_TYPES = frozenset({
    "BPF_TRACE_FENTRY_MULTI", "BPF_TRACE_FEXIT_MULTI", "BPF_TRACE_FSESSION_MULTI",
})  # fmt: skip
"""The attach types of ``is_tracing_multi`` (include/linux/bpf.h)."""

CHECKED_WITHOUT_PROGRAM = 2
"""The parameters of check_member before 6.3: struct and member."""


class Generation(NamedTuple):
    """What a kernel's struct_ops can do and asks for; the default is what today's kernels do.

    ``common_value``: values have two members, ``common`` and ``data``; before, three.
    ``links``: BPF_F_LINK, the state READY and LINK_CREATE; the refcnt of a lookup is an estimate.
    ``link_detach``: LINK_DETACH and EPOLLHUP.
    ``module_types``: types of modules, through BPF_F_VTYPE_BTF_OBJ_FD.
    ``trampoline_pages``: how many pages the trampolines of one map may take.
    ``test_runs``: programs of bpf_dummy_ops can be run on their own.
    ``sleepable``: programs may sleep, where the subsystem lets them.
    ``max_members``: how many members a type may have.
    ``every_member_required``: a congestion control needs each function that is not optional, cong_avoid among them.
    ``name_taken_at_update``: a congestion control's name is looked up when the member is read, of link maps too.
    ``confused_indexes``: indexes of members that this kernel takes for attach types of tracing, and refuses.
    """

    common_value: bool = True
    links: bool = True
    link_detach: bool = True
    module_types: bool = True
    trampoline_pages: int = 8
    max_members: int = MAX_MEMBERS
    test_runs: bool = True
    sleepable: bool = True
    every_member_required: bool = False
    name_taken_at_update: bool = False
    confused_indexes: frozenset[int] = frozenset()


TOLD_BY = {
    "common_value": "BTF has struct bpf_struct_ops_common_value",
    "links": "BTF has struct bpf_struct_ops_link",
    "link_detach": "struct bpf_struct_ops_link has wait_hup, which came with it",
    "module_types": "BTF has struct bpf_struct_ops_desc, which came with it",
    "trampoline_pages": "the length of image_pages in struct bpf_struct_ops_map, one page where there is none",
    "max_members": "the length of func_models in struct bpf_struct_ops",
    "test_runs": "BTF has struct bpf_dummy_ops",
    "sleepable": "check_member of struct bpf_struct_ops is given the program, which came with it (6.3)",
    "every_member_required": "BTF lacks struct btf_id_set8, which came with the kernel that stopped asking (6.0)",
    "name_taken_at_update": "BTF lacks struct bpf_struct_ops_link, which came with the kernel that stopped looking",
    "confused_indexes": "enum bpf_attach_type has the types of is_tracing_multi, which 7.3 refuses by number alone",
}
"""Field of ``Generation`` to how it is told."""


def tells_generation(kernel: KernelTypes) -> bool:
    """Tell whether BTF has the kernel's own struct_ops machinery, as every whole one has and an excerpt may not."""
    return _has(kernel.vmlinux, "bpf_struct_ops_map")


def generation_of(kernel: KernelTypes) -> Generation:
    """Return what a kernel's BTF tells of its struct_ops; of one that does not, ``tells_generation``."""
    btf, links = kernel.vmlinux, has_links(kernel)
    return Generation(
        common_value=_has(btf, "bpf_struct_ops_common_value"),
        links=links,
        link_detach="wait_hup" in _members(btf, "bpf_struct_ops_link"),
        module_types=_has(btf, "bpf_struct_ops_desc"),
        trampoline_pages=_length(btf, "bpf_struct_ops_map", "image_pages") or 1,
        max_members=_length(btf, "bpf_struct_ops", "func_models") or MAX_MEMBERS,
        test_runs=_has(btf, "bpf_dummy_ops"),
        sleepable=_parameters(btf, "bpf_struct_ops", "check_member") != CHECKED_WITHOUT_PROGRAM,
        every_member_required=not links and not _has(btf, "btf_id_set8"),
        name_taken_at_update=not links,
        confused_indexes=confused_indexes(btf),
    )


def confused_indexes(btf: Btf) -> frozenset[int]:
    """Return the member indexes that PROG_LOAD mixes up with attach types.

    A struct_ops program has its member's index where a tracing program has its
    attach type. 7.3 looks at that number without asking which sort of program it
    is (``is_tracing_multi``), and refuses 59 to 61. It compares other attach types,
    BPF_TRACE_KPROBE_MULTI (42) among them, only for programs of their own type.
    """
    type_id = btf.find("bpf_attach_type", BtfKind.ENUM)
    types = btf.type(type_id) if type_id else None
    values = types.values if isinstance(types, Enum) else ()
    return frozenset(item.value for item in values if item.name in CONFUSED_TYPES)


def has_lazy_globals(btf: Btf) -> bool | None:
    """Tell whether the verifier looks at a global function only when it comes to a call of it; None for unknown.

    The commit that made it so (2afae08c9dcb, Linux 6.8) gave ``struct bpf_func_info_aux`` the bit ``called``.
    """
    members = _members(btf, "bpf_func_info_aux")
    return "called" in members if members else None


def refuses_narrow_pointers(btf: Btf) -> bool:
    """Tell whether a program may surely not load a part of a pointer from its arguments (659b9ba7cb2d, Linux 6.13).

    ``struct bpf_subprog_info`` got ``priv_stack_mode`` in the same release. Older kernels may have the fix too.
    """
    return "priv_stack_mode" in _members(btf, "bpf_subprog_info")


def _has(btf: Btf, name: str) -> bool:
    return btf.find(name, BtfKind.STRUCT) is not None


def _members(btf: Btf, name: str) -> dict[str, int]:
    """Return the members of a struct, name to type; none when BTF lacks the struct."""
    type_id = btf.find(name, BtfKind.STRUCT)
    struct = btf.type(type_id) if type_id else None
    return {member.name: member.type for member in struct.members} if isinstance(struct, Struct) else {}


def _parameters(btf: Btf, struct: str, member: str) -> int:
    type_id = _members(btf, struct).get(member)
    proto = pointee_proto(btf, type_id) if type_id else None
    return len(proto.params) if proto else 0


def _length(btf: Btf, struct: str, member: str) -> int:
    type_id = _members(btf, struct).get(member)
    array = resolve(btf, type_id) if type_id else None
    return array.count if isinstance(array, Array) else 0
