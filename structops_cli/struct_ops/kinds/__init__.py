"""The catalogue of subsystems: for each struct_ops type the facts that BTF does not hold.

A new subsystem is one file here and one word in ``REGISTRY``. A type without a file
registers as well: its layout comes from BTF.
"""

from __future__ import annotations

from structops_cli.struct_ops.kinds import (
    bpf_dummy_ops,
    hid_bpf_ops,
    io_uring_bpf_ops,
    qdisc_ops,
    sched_ext_ops,
    sched_ext_ops_cid,
    smc_hs_ctrl,
    tcp_congestion_ops,
)
from structops_cli.struct_ops.kinds.kind import Kind

REGISTRY: dict[str, Kind] = {
    module.KIND.name: module.KIND
    for module in (
        tcp_congestion_ops,
        bpf_dummy_ops,
        sched_ext_ops,
        sched_ext_ops_cid,
        qdisc_ops,
        hid_bpf_ops,
        io_uring_bpf_ops,
        smc_hs_ctrl,
    )
}
"""The known types by name."""


def kind_of(type_name: str) -> Kind:
    """Return the facts about a struct_ops type; defaults for an unknown one."""
    return REGISTRY.get(type_name) or Kind(type_name)
