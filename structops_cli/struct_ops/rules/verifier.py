"""The verifier's rules for arguments, the structs behind them, and helpers.

They follow ``btf_ctx_access`` and ``btf_struct_walk`` (kernel/bpf/btf.c), ``check_ptr_to_btf_access``
(kernel/bpf/verifier.c) and each subsystem's ``get_func_proto``. An unknown subsystem may have an
``is_valid_access`` of its own, so its rules for the array are not certain.
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
from structops_cli.struct_ops.kinds.kind import Kind
from structops_cli.syscall.uapi import BtfKind

WORD_BYTES = 8


class Refused(NamedTuple):
    """The reason why the verifier refuses an access. ``certain``: this kernel refuses it."""

    why: str
    certain: bool


def refused_context(
    kernel_type: StructOpsType, vmlinux: Btf, param_type: int, at: int, size_bytes: int, *, write: bool
) -> Refused | None:
    """Return the reason to refuse an access to a word of the array, None for none.

    ``param_type`` is the type of the argument in that word.
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
    """Return the reason to refuse an access behind an argument, None for none."""
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
    """Return the larger struct that the verifier takes an argument for."""
    name = kind_of(kernel_type.name).programs.passed_as.get(target.name)
    type_id = kernel_type.btf.find(name, BtfKind.STRUCT) if name else None
    larger = kernel_type.btf.type(type_id) if type_id is not None else None
    return larger if isinstance(larger, Struct) else target


def _ends_open(btf: Btf, target: Struct | Union) -> bool:
    """Tell whether a struct ends with an array without a length."""
    last = resolve(btf, target.members[-1].type) if target.members else None
    return isinstance(last, Array) and not last.count


# Helpers, by their names in enum bpf_func_id without BPF_FUNC_

_BASE = """
    map_lookup_elem map_update_elem map_delete_elem map_push_elem map_pop_elem map_peek_elem map_lookup_percpu_elem
    get_prandom_u32 get_smp_processor_id get_numa_node_id tail_call
    ktime_get_ns ktime_get_boot_ns ktime_get_tai_ns jiffies64
    ringbuf_output ringbuf_reserve ringbuf_submit ringbuf_discard ringbuf_query
    ringbuf_reserve_dynptr ringbuf_submit_dynptr ringbuf_discard_dynptr user_ringbuf_drain
    dynptr_from_mem dynptr_read dynptr_write dynptr_data
    strtol strtoul strncmp snprintf snprintf_btf trace_printk trace_vprintk
    spin_lock spin_unlock per_cpu_ptr this_cpu_ptr for_each_map_elem loop kptr_xchg
    timer_init timer_set_callback timer_start timer_cancel
    get_current_task get_current_task_btf task_pt_regs
    probe_read_user probe_read_user_str probe_read_kernel probe_read_kernel_str
    cgrp_storage_get cgrp_storage_delete
"""
BASE = frozenset(_BASE.split())
"""The helpers that every type may call (``bpf_base_func_proto``); those that 6.16 added are left out."""

_OF_OTHER_PROGRAMS = """
    skb_store_bytes skb_load_bytes skb_load_bytes_relative skb_vlan_push skb_vlan_pop skb_get_tunnel_key skb_set_tunnel_key
    skb_get_tunnel_opt skb_set_tunnel_opt skb_change_proto skb_change_type skb_change_tail skb_change_head skb_under_cgroup
    skb_pull_data skb_adjust_room skb_get_xfrm_state skb_cgroup_id skb_ancestor_cgroup_id skb_ecn_set_ce skb_cgroup_classid
    skb_set_tstamp l3_csum_replace l4_csum_replace csum_update csum_level clone_redirect redirect redirect_map redirect_neigh
    redirect_peer get_route_realm get_hash_recalc set_hash_invalid set_hash get_socket_uid fib_lookup check_mtu
    xdp_adjust_head xdp_adjust_meta xdp_adjust_tail xdp_get_buff_len xdp_load_bytes xdp_store_bytes
    sk_redirect_map sk_redirect_hash sock_map_update sock_hash_update sock_ops_cb_flags_set
    msg_redirect_map msg_redirect_hash msg_apply_bytes msg_cork_bytes msg_pull_data msg_push_data msg_pop_data
    lwt_push_encap lwt_seg6_store_bytes lwt_seg6_adjust_srh lwt_seg6_action rc_repeat rc_keydown rc_pointer_rel
    bind override_return perf_prog_read_value read_branch_records get_local_storage sk_select_reuseport sk_assign
    sk_lookup_tcp sk_lookup_udp skc_lookup_tcp sk_fullsock tcp_sock get_listener_sock tcp_check_syncookie tcp_gen_syncookie
    sysctl_get_name sysctl_get_current_value sysctl_get_new_value sysctl_set_new_value
    load_hdr_opt store_hdr_opt reserve_hdr_opt bprm_opts_set sys_bpf sys_close get_retval set_retval
"""
OF_OTHER_PROGRAMS = frozenset(_OF_OTHER_PROGRAMS.split())
"""Helpers that work on the context, packet or sockets of other program types: no type may call them."""


def is_allowed(kind: Kind, member: str, helper: str) -> bool | None:
    """Tell whether the program of a member may call a helper; None if only the kernel knows."""
    if helper in kind.programs.helpers_not_in.get(member, ()):
        return False
    if helper in kind.programs.helpers or (helper in BASE and kind.programs.base_helpers):
        return True
    return False if helper in OF_OTHER_PROGRAMS and kind.name in REGISTRY else None
