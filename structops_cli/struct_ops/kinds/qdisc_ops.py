"""Queueing disciplines: ``Qdisc_ops`` (net/sched/bpf_qdisc.c)."""

from __future__ import annotations

from structops_cli.struct_ops.kinds.kind import DataRules, Kind, MemberRules, Naming, RegistrationRules, words

KIND = Kind(
    "Qdisc_ops",
    members=MemberRules(
        required=words("enqueue dequeue init reset destroy"),  # bpf_qdisc_validate(), since 6.16.1
        # the functions without a stub in __bpf_ops_qdisc_ops
        unsupported=words(
            "peek change attach change_tx_queue_len change_real_num_tx dump dump_stats"
            " ingress_block_set egress_block_set ingress_block_get egress_block_get"
        ),
        reserved=words("next cl_ops priv_size static_flags owner"),
    ),
    data=DataRules(settable=words("id")),
    naming=Naming(member="id", chosen_by_devices=True),
    registration=RegistrationRules(replaceable=False, held_by="queueing discipline"),
    proven=True,
)
