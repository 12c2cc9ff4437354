"""The kernel's own test bed: ``bpf_dummy_ops`` (net/bpf/bpf_dummy_struct_ops.c). It runs, it never registers."""

from __future__ import annotations

from structops_cli.struct_ops.kinds.kind import Kind

__all__ = ["KIND"]

KIND = Kind(
    "bpf_dummy_ops",
    settable=frozenset(),
    # as bpf_dummy_ops_check_member() allows
    sleepable=frozenset({"test_sleepable"}),
    # bpf_dummy_verifier_ops has no get_func_proto
    base_helpers=False,
    registers=False,
    proven=True,
)
