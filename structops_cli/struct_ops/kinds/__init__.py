"""What BTF cannot say of one subsystem's struct_ops type: one file and one registry line each.

A type that no file here knows still registers: its layout comes from BTF. A
kind adds which members the subsystem requires or refuses, which member holds
the name that users know, and what its flags are called. A kind is imported when
somebody asks for it.
"""

from __future__ import annotations

from functools import cache
from importlib import import_module

from structops_cli.struct_ops.kinds.kind import Kind, Need

__all__ = ["REGISTRY", "Kind", "Need", "kind_of"]

REGISTRY = {
    "tcp_congestion_ops": "tcp_congestion_ops",
    "bpf_dummy_ops": "bpf_dummy_ops",
    "sched_ext_ops": "sched_ext_ops",
    "sched_ext_ops_cid": "sched_ext_ops_cid",
    "Qdisc_ops": "qdisc_ops",
    "hid_bpf_ops": "hid_bpf_ops",
    "io_uring_bpf_ops": "io_uring_bpf_ops",
    "smc_hs_ctrl": "smc_hs_ctrl",
}
"""Type to the module of this package that knows it."""


@cache
def kind_of(type_name: str) -> Kind:
    """Return what is known of a struct_ops type; an empty ``Kind`` when nothing is."""
    if type_name not in REGISTRY:
        return Kind(type_name)
    module = import_module(f"structops_cli.struct_ops.kinds.{REGISTRY[type_name]}")
    kind: Kind = module.KIND
    return kind
