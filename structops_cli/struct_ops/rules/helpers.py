"""Which helpers the programs of a struct_ops type may call (``get_func_proto`` of its verifier operations).

Nearly every type takes what ``bpf_base_func_proto`` (kernel/bpf/helpers.c) gives, and its own: ``Kind.helpers``. Names are
those of ``enum bpf_func_id`` without ``BPF_FUNC_``.
"""

from __future__ import annotations

from structops_cli.struct_ops.kinds import REGISTRY, Kind

__all__ = ["BASE", "OF_OTHER_PROGRAMS", "is_allowed"]

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
"""Helpers that every struct_ops type may call where the kernel has them. Those added in 6.16 are left out."""

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
"""Those that work on the context, the packet or the sockets of another program type: no struct_ops type may call them."""


def is_allowed(kind: Kind, member: str, helper: str) -> bool | None:
    """Tell whether the program of a member may call a helper; None where only the kernel knows."""
    if helper in kind.programs.helpers_not_in.get(member, ()):
        return False
    if helper in kind.programs.helpers or (helper in BASE and kind.programs.base_helpers):
        return True
    return False if helper in OF_OTHER_PROGRAMS and kind.name in REGISTRY else None
