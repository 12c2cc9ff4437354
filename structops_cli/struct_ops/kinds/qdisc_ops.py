"""Queueing disciplines: ``Qdisc_ops`` (net/sched/bpf_qdisc.c)."""

from __future__ import annotations

from structops_cli.struct_ops.kinds.kind import Kind

__all__ = ["KIND"]

KIND = Kind(
    "Qdisc_ops",
    # bpf_qdisc_validate(); 6.16.0 itself did not ask yet
    required=frozenset({"enqueue", "dequeue", "init", "reset", "destroy"}),
    # the functions without a stub
    unsupported=frozenset(
        {
            "peek",
            "change",
            "attach",
            "change_tx_queue_len",
            "change_real_num_tx",
            "dump",
            "dump_stats",
            "ingress_block_set",
            "egress_block_set",
            "ingress_block_get",
            "egress_block_get",
        }
    ),
    # priv_size is the kernel's own data's
    reserved=frozenset({"next", "cl_ops", "priv_size", "static_flags", "owner"}),
    settable=frozenset({"id"}),
    name_member="id",
    chosen_by_devices=True,
    held_by="queueing discipline",
    replaceable=False,
    proven=True,
)
