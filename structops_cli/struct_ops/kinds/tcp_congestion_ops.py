"""TCP congestion control: ``tcp_congestion_ops`` (net/ipv4/bpf_tcp_ca.c, net/ipv4/tcp_cong.c)."""

from __future__ import annotations

from structops_cli.struct_ops.kinds.kind import Kind
from structops_cli.syscall.uapi import TcpCongFlags

__all__ = ["KIND"]

KIND = Kind(
    "tcp_congestion_ops",
    # as tcp_validate_congestion_control() wants them
    required=frozenset({"ssthresh", "undo_cwnd"}),
    either=(frozenset({"cong_avoid", "cong_control"}),),
    # optional_ops of bpf_tcp_ca.c, which 6.0 took away
    optional_before_6_0=frozenset(
        {
            "init",
            "release",
            "set_state",
            "cwnd_event",
            "in_ack_event",
            "pkts_acked",
            "min_tso_segs",
            "sndbuf_expand",
            "cong_control",
        }
    ),
    # unsupported_ops of bpf_tcp_ca.c, and later the one function without a stub
    unsupported=frozenset({"get_info"}),
    # all that bpf_tcp_ca_init_member() does not take: the kernel's own list entry, hash and owner
    reserved=frozenset({"list", "key", "owner"}),
    settable=frozenset({"name", "flags"}),
    name_member="name",
    names_listed_in="net.ipv4.tcp_available_congestion_control",
    chosen_by_name=True,
    unrestricted_by=("flags", TcpCongFlags.NON_RESTRICTED),
    held_by="socket and default",
    flags={"flags": TcpCongFlags},
    flag_prefix="TCP_CONG_",
    # as bpf_tcp_ca_get_func_proto() gives them
    helpers=frozenset(
        {
            "tcp_send_ack",
            "sk_storage_get",
            "sk_storage_delete",
            "setsockopt",
            "getsockopt",
            "ktime_get_coarse_ns",
        }
    ),
    helpers_not_in={"release": frozenset({"setsockopt", "getsockopt"})},
    passed_as={"sock": "tcp_sock"},
    proven=True,
)
