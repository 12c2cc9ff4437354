"""Schedulers: ``sched_ext_ops`` (kernel/sched/ext.c, ``bpf_scx_init_member`` and ``scx_enable``)."""

from __future__ import annotations

from errno import EBUSY, ENODEV

from structops_cli.struct_ops.kinds.kind import Kind

__all__ = ["AT_LEAST", "AT_MOST", "BEYOND", "HELPERS", "KIND", "REFUSALS", "SETTABLE"]

SETTABLE = frozenset(
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
)
AT_MOST = {
    "dispatch_max_batch": (1 << 31) - 1,
    "timeout_ms": 30_000,
    "rescue_bandwidth_ppt": 250,
    "rescue_quantum_us": 100_000,
}
AT_LEAST = {"rescue_quantum_us": 1000}
BEYOND = {"rescue_bandwidth_ppt": frozenset({0xFFFFFFFF})}
"""All bits set: no bandwidth for rescues."""
REFUSALS = {
    EBUSY: (
        "the kernel runs one scheduler at a time, and has one",
        "unregister that one first: structops list",
    ),
    ENODEV: (
        "no cgroup has the id sub_cgroup_id",
        "--set sub_cgroup_id=N, the inode of a directory of cgroup2",
    ),
}
"""What scx_enable() answers to a sound value."""

HELPERS = frozenset({"task_storage_get", "task_storage_delete"})
"""The helpers of bpf_scx_get_func_proto()."""

KIND = Kind(
    "sched_ext_ops",
    settable=SETTABLE,
    at_most=AT_MOST,
    at_least=AT_LEAST,
    beyond=BEYOND,
    reserved=frozenset({"priv"}),
    # the functions without a stub: sub-schedulers know CPUs by place only
    unsupported=frozenset({"sub_caps_updated", "sub_ecaps_updated"}),
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
            "init_cids",
            "init",
            "exit",
            "sub_attach",
            "sub_detach",
        }
    ),
    # since 7.3, as the other new members there
    sleepable_with={"cgroup_set_bandwidth": "rescue_quantum_us"},
    helpers=HELPERS,
    replaceable=False,
    one_at_a_time=True,
    ejected_by="sched_ext",
    refusals=REFUSALS,
    proven=True,
)
