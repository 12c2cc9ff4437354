"""Why the kernel refuses to create or to fill a map, where its errno says no more than that something is wrong."""

from __future__ import annotations

from errno import EINVAL

from structops_cli.errors import KernelError
from structops_cli.obj.spec import MapSpec
from structops_cli.struct_ops.explain import Cause, explained
from structops_cli.struct_ops.rules.definitions import map_faults
from structops_cli.syscall.uapi import BPF_F_NUMA_NODE

__all__ = ["explained_map"]

OTHER_SHAPE = Cause(
    "it is of another type or size than the inner map that values describes",
    "define both through one named struct; an array may differ in max_entries with the flag BPF_F_INNER_MAP",
)
"""``bpf_map_meta_equal``."""
OTHER_PROGRAM = Cause(
    "a program array takes programs of one kind, that of the program which calls through it: "
    "the same prototype, and since 6.18 the same member",
    "keep an array for each member",
)
"""``bpf_prog_map_compatible``."""


def explained_map(error: KernelError, spec: MapSpec, what: str) -> KernelError:
    """Return the error with the rule that the definition breaks, when it is one that can be told."""
    if error.operation == "MAP_CREATE":
        return explained(error, what, "", _broken_rule(spec, error.errno))
    if (error.operation, error.errno) == ("MAP_UPDATE_ELEM", EINVAL):
        return explained(error, what, "", OTHER_SHAPE if spec.inner else OTHER_PROGRAM)
    return explained(error, what)


def _broken_rule(spec: MapSpec, errno: int | None) -> Cause | None:
    for fault in map_faults(spec):
        if fault.errno == errno:
            return Cause(fault.why, fault.hint)
    if errno == EINVAL and spec.numa_node and spec.map_flags & BPF_F_NUMA_NODE:
        return Cause(f"this machine may have no NUMA node {spec.numa_node}", f"--map {spec.name}.numa_node=0")
    return None
