"""Schedulers: ``sched_ext_ops`` (kernel/sched/ext.c, ``bpf_scx_init_member`` and ``scx_enable``)."""

from __future__ import annotations

from structops_cli.struct_ops.kinds.kind import Kind

__all__ = ["KIND"]

KIND = Kind(
    "sched_ext_ops",
    settable=frozenset(
        {
            "dispatch_max_batch",
            "flags",
            "name",
            "timeout_ms",
            "exit_dump_len",
            "hotplug_seq",
            "sub_cgroup_id",
            "cid_shard_size",
            "rescue_bandwidth_ppt",
            "rescue_quantum_us",
        }
    ),
    at_most={"dispatch_max_batch": (1 << 31) - 1, "timeout_ms": 30_000, "rescue_quantum_us": 100_000},
    reserved=frozenset({"priv"}),
    name_member="name",
    names_listed_in="/sys/kernel/sched_ext/root/ops",
    flag_mask={"flags": ("scx_ops_flags", "SCX_OPS_ALL_FLAGS")},
    # as bpf_scx_check_member() allows
    sleepable=frozenset(
        {
            "init_task",
            "cgroup_init",
            "cgroup_exit",
            "cgroup_prep_move",
            "cpu_online",
            "cpu_offline",
            "init",
            "exit",
            "sub_attach",
            "sub_detach",
        }
    ),
    replaceable=False,
    one_at_a_time=True,
    ejected_by="sched_ext",
)
