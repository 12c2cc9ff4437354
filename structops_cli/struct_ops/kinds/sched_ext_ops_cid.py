"""Schedulers that know CPUs by their place in the topology: ``sched_ext_ops_cid`` (kernel/sched/ext.c, Linux 7.2)."""

from __future__ import annotations

from structops_cli.struct_ops.kinds.kind import Kind

__all__ = ["KIND"]

# refused without an arena map, with EINVAL from LINK_CREATE
KIND = Kind(
    "sched_ext_ops_cid",
    name_member="name",
    names_listed_in="/sys/kernel/sched_ext/root/ops",
    replaceable=False,
    one_at_a_time=True,
    ejected_by="sched_ext",
)
