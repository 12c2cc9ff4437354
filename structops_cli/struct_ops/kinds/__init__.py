"""What BTF cannot say of one subsystem's struct_ops type: one file and one registry line each.

A type that no file here knows still registers: its layout comes from BTF. A
kind adds which members the subsystem requires or refuses, which member holds
the name that users know, and what its flags are called.
"""

from __future__ import annotations

from structops_cli.struct_ops.kinds import bpf_dummy_ops, tcp_congestion_ops
from structops_cli.struct_ops.kinds.kind import Kind, Need

__all__ = ["Kind", "Need", "kind_of"]

REGISTRY = {kind.name: kind for kind in (tcp_congestion_ops.KIND, bpf_dummy_ops.KIND)}


def kind_of(type_name: str) -> Kind:
    """Return what is known of a struct_ops type; an empty ``Kind`` when nothing is."""
    return REGISTRY.get(type_name) or Kind(type_name)
