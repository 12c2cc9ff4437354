"""TCP congestion control: ``tcp_congestion_ops`` (net/ipv4/bpf_tcp_ca.c, tcp_cong.c)."""

from __future__ import annotations

from structops_cli.struct_ops.kinds.kind import (
    DataRules,
    Kind,
    MemberRules,
    Naming,
    ProgramRules,
    RegistrationRules,
    words,
)
from structops_cli.syscall.uapi import TcpCongFlags

KIND = Kind(
    "tcp_congestion_ops",
    members=MemberRules(
        # as tcp_validate_congestion_control() does
        required=words("ssthresh undo_cwnd"),
        either=(words("cong_avoid cong_control"),),
        # optional_ops of bpf_tcp_ca.c, until 6.0
        optional_before_6_0=words(
            "init release set_state cwnd_event in_ack_event pkts_acked min_tso_segs sndbuf_expand cong_control"
        ),
        unsupported=words(
            "get_info"
        ),  # unsupported_ops of bpf_tcp_ca.c; later the one function without a stub
        reserved=words("list key owner"),
    ),
    data=DataRules(
        settable=words("name flags"),  # bpf_tcp_ca_init_member()
        flags={"flags": TcpCongFlags},
        flag_prefix="TCP_CONG_",
    ),
    naming=Naming(
        member="name",
        listed_in="net.ipv4.tcp_available_congestion_control",
        chosen_by_name=True,
        unrestricted_by=("flags", TcpCongFlags.NON_RESTRICTED),
    ),
    registration=RegistrationRules(held_by="socket and default"),
    programs=ProgramRules(
        # as bpf_tcp_ca_get_func_proto() does
        helpers=words(
            "tcp_send_ack sk_storage_get sk_storage_delete setsockopt getsockopt ktime_get_coarse_ns"
        ),
        helpers_not_in={"release": words("setsockopt getsockopt")},
        passed_as={"sock": "tcp_sock"},
    ),
    proven=True,
)
