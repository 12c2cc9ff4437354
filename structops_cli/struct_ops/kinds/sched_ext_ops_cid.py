"""Schedulers that know CPUs by their place in the topology: ``sched_ext_ops_cid`` (kernel/sched/ext.c, Linux 7.2)."""

from __future__ import annotations

from structops_cli.struct_ops.kinds.kind import Kind
from structops_cli.struct_ops.kinds.sched_ext_ops import (
    AT_LEAST,
    AT_MOST,
    BEYOND,
    HELPERS,
    REFUSALS,
    SETTABLE,
)

__all__ = ["KIND"]

KIND = Kind(
    "sched_ext_ops_cid",
    settable=SETTABLE,
    at_most=AT_MOST,
    at_least=AT_LEAST,
    beyond=BEYOND,
    reserved=frozenset({"priv"}),
    name_member="name",
    names_listed_in="/sys/kernel/sched_ext/root/ops",
    flag_mask={"flags": ("scx_ops_flags", "SCX_OPS_ALL_FLAGS")},
    # as bpf_scx_check_member() allows; 7.3 calls cpuctl_ what was cgroup_ in 7.2
    sleepable=frozenset(
        {
            "init_task",
            "cgroup_init",
            "cgroup_exit",
            "cgroup_prep_move",
            "cpuctl_init",
            "cpuctl_exit",
            "cpuctl_prep_move",
            "cpuctl_set_bandwidth",
            "cid_online",
            "cid_offline",
            "init_cids",
            "init",
            "exit",
            "sub_attach",
            "sub_detach",
        }
    ),
    helpers=HELPERS,
    replaceable=False,
    one_at_a_time=True,
    ejected_by="sched_ext",
    refusals=REFUSALS,
    wants="one of its programs uses an arena map",
    proven=True,
)
