"""The abilities of one kernel's struct_ops, read from its BTF and never from its version.

BTF shows most of them itself: a struct, a member, the length of an array. It shows three only by
another change of the same release. A distribution that backports one change without the other
makes these wrong; a caller that asked the kernel replaces the field.
"""

from __future__ import annotations

from typing import NamedTuple

from structops_cli.btf.btf import Btf
from structops_cli.btf.kernel_types import KernelTypes
from structops_cli.btf.layout import pointee_proto, resolve
from structops_cli.btf.types import Array, Enum, Enum64, Struct
from structops_cli.syscall.uapi import BtfKind

MAX_MEMBERS = 64
"""BPF_STRUCT_OPS_MAX_NR_MEMBERS (include/linux/bpf.h), where BTF does not show it."""
CONFUSED_TYPES = frozenset({
    "BPF_TRACE_FENTRY_MULTI", "BPF_TRACE_FEXIT_MULTI", "BPF_TRACE_FSESSION_MULTI",
})  # fmt: skip
"""The attach types of ``is_tracing_multi`` (include/linux/bpf.h)."""
CHECKED_WITHOUT_PROGRAM = 2
"""The parameters of check_member before 6.3: struct and member."""


class Capabilities(NamedTuple):
    """The abilities and demands of a kernel's struct_ops; the defaults are today's."""

    common_value: bool = True
    """Values have two members, ``common`` and ``data``; before 6.9 they had three."""
    links: bool = True
    """BPF_F_LINK, the state READY and LINK_CREATE (68b04864ca42, 6.4); a lookup estimates the refcnt."""
    link_detach: bool = True
    """LINK_DETACH and EPOLLHUP (6.11); 1adddc97aa44 added the member wait_hup."""
    module_types: bool = True
    """Types of modules through BPF_F_VTYPE_BTF_OBJ_FD (6.9); struct bpf_struct_ops_desc came with them."""
    trampoline_pages: int = 8
    """The most pages that the trampolines of one map take."""
    max_members: int = MAX_MEMBERS
    """The most members that a type has."""
    test_runs: bool = True
    """PROG_TEST_RUN of bpf_dummy_ops programs (5.17)."""
    sleepable: bool = True
    """Programs may sleep where the subsystem allows it (6.3); check_member gets the program since."""
    every_member_required: bool = False
    """A congestion control needs each function that is not optional, cong_avoid among them.

    Kernels before 6.0 do; struct btf_id_set8 came with the change.
    """
    name_taken_at_update: bool = False
    """The kernel looks up a congestion control's name when it reads the member, for link maps too (before 6.4)."""
    confused_indexes: frozenset[int] = frozenset()
    """The member indexes that PROG_LOAD takes for attach types of tracing programs, and refuses."""


def capabilities_of(kernel: KernelTypes) -> Capabilities:
    """Return the struct_ops abilities of a kernel; see ``shows_struct_ops`` for excerpts of BTF."""
    btf, links = kernel.vmlinux, has_links(kernel)
    return Capabilities(
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


def shows_struct_ops(kernel: KernelTypes) -> bool:
    """Tell whether BTF has the struct_ops machinery; an excerpt of a kernel's BTF may lack it."""
    return _has(kernel.vmlinux, "bpf_struct_ops_map")


def has_links(kernel: KernelTypes) -> bool:
    """Tell whether this kernel registers through links (6.4)."""
    return _has(kernel.vmlinux, "bpf_struct_ops_link")


def confused_indexes(btf: Btf) -> frozenset[int]:
    """Return the member indexes that PROG_LOAD takes for attach types of tracing programs.

    A struct_ops program passes its member's index where a tracing program passes its attach type.
    7.3 tests that number without asking for the program type (``is_tracing_multi``), and refuses 59 to
    61. It compares other attach types, such as BPF_TRACE_KPROBE_MULTI (42), only for their own programs.
    """
    values = _enumerators(btf, "bpf_attach_type")
    return frozenset(number for number, name in values.items() if name in CONFUSED_TYPES)


def has_lazy_globals(btf: Btf) -> bool | None:
    """Tell whether the verifier checks only the called global functions; None: unknown.

    2afae08c9dcb (Linux 6.8) introduced it, with the bit ``called`` of ``struct bpf_func_info_aux``.
    """
    members = _members(btf, "bpf_func_info_aux")
    return "called" in members if members else None


def refuses_narrow_pointers(btf: Btf) -> bool:
    """Tell whether this kernel surely refuses to load a part of a pointer argument.

    659b9ba7cb2d (Linux 6.13) introduced that. ``struct bpf_subprog_info`` got ``priv_stack_mode`` in the same release. Older kernels may have the fix too.
    """
    return "priv_stack_mode" in _members(btf, "bpf_subprog_info")


def map_types_of(btf: Btf) -> dict[int, str]:
    """Return a kernel's map types by number; empty when its BTF does not list them."""
    return _enumerators(btf, "bpf_map_type")


def helpers_of(btf: Btf) -> dict[int, str]:
    """Return a kernel's helpers by number; empty when its BTF does not list them."""
    return _enumerators(btf, "bpf_func_id")


def _has(btf: Btf, name: str) -> bool:
    return btf.find(name, BtfKind.STRUCT) is not None


def _members(btf: Btf, name: str) -> dict[str, int]:
    """Return the type of each member of a struct; empty when BTF lacks the struct."""
    type_id = btf.find(name, BtfKind.STRUCT)
    struct = btf.type(type_id) if type_id else None
    return {member.name: member.type for member in struct.members} if isinstance(struct, Struct) else {}


def _enumerators(btf: Btf, name: str) -> dict[int, str]:
    type_id = btf.find(name, BtfKind.ENUM, BtfKind.ENUM64)
    listed = btf.type(type_id) if type_id else None
    values = listed.values if isinstance(listed, Enum | Enum64) else ()
    return {item.value: item.name for item in values if not item.name.startswith("__")}


def _parameters(btf: Btf, struct: str, member: str) -> int:
    type_id = _members(btf, struct).get(member)
    proto = pointee_proto(btf, type_id) if type_id else None
    return len(proto.params) if proto else 0


def _length(btf: Btf, struct: str, member: str) -> int:
    type_id = _members(btf, struct).get(member)
    array = resolve(btf, type_id) if type_id else None
    return array.count if isinstance(array, Array) else 0
