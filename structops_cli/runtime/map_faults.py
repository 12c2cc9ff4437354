"""Why the kernel refuses to create a map, where its errno says no more than that something is wrong.

Each rule is one check of a map type's ``map_alloc_check`` or ``map_alloc``, by its source file in ``kernel/bpf``.
"""

from __future__ import annotations

from collections.abc import Iterator
from errno import EINVAL

from structops_cli.errors import KernelError
from structops_cli.obj.spec import MapSpec
from structops_cli.struct_ops.explain import Cause, explained
from structops_cli.syscall.uapi import BPF_F_MMAPABLE, BPF_F_NO_PREALLOC, BPF_F_NUMA_NODE, MAPS_OF_MAPS
from structops_cli.syscall.uapi import BpfMapType as Type

__all__ = ["explained_map"]

STORAGE = frozenset({Type.SK_STORAGE, Type.INODE_STORAGE, Type.TASK_STORAGE, Type.CGRP_STORAGE})
RING_BUFFERS = frozenset({Type.RINGBUF, Type.USER_RINGBUF})
WITHOUT_KEY = frozenset({Type.QUEUE, Type.STACK, Type.BLOOM_FILTER, *RING_BUFFERS, Type.ARENA})
BY_INDEX = frozenset({
    Type.ARRAY, Type.PERCPU_ARRAY, Type.PROG_ARRAY, Type.PERF_EVENT_ARRAY, Type.CGROUP_ARRAY, Type.ARRAY_OF_MAPS,
})  # fmt: skip
OF_FDS = frozenset({Type.PROG_ARRAY, Type.PERF_EVENT_ARRAY, Type.CGROUP_ARRAY, *MAPS_OF_MAPS})
UNSIZED = frozenset({*STORAGE, Type.CGROUP_STORAGE, Type.PERCPU_CGROUP_STORAGE})
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
    if (error.operation, error.errno) == ("MAP_CREATE", EINVAL):
        return explained(error, what, "", next(_faults(spec), None))
    if (error.operation, error.errno) == ("MAP_UPDATE_ELEM", EINVAL):
        return explained(error, what, "", OTHER_SHAPE if spec.inner else OTHER_PROGRAM)
    return explained(error, what)


def _faults(spec: MapSpec) -> Iterator[Cause]:
    kind = spec.map_type
    if kind in STORAGE:
        yield from _storage(spec)
    if kind == Type.LPM_TRIE and not spec.map_flags & BPF_F_NO_PREALLOC:
        yield _flag("BPF_F_NO_PREALLOC")
    if kind == Type.ARENA and not spec.map_flags & BPF_F_MMAPABLE:
        yield _flag("BPF_F_MMAPABLE")
    if kind in WITHOUT_KEY and spec.key_size:
        yield Cause(f"this type has no key, and key_size is {spec.key_size}", "leave the key out")
    if kind in BY_INDEX and spec.key_size != 4:
        yield Cause(f"this type is numbered, and key_size is {spec.key_size}", "give it a key of type __u32")
    if kind in OF_FDS and spec.value_size != 4:
        yield Cause(
            f"this type holds fds, and value_size is {spec.value_size}", "give it a value of type __u32"
        )
    if kind not in WITHOUT_KEY and not spec.key_size:
        yield Cause("it has no key", "add __type(key, TYPE) or __uint(key_size, BYTES)")
    if kind not in RING_BUFFERS | {Type.ARENA} and not spec.value_size:
        yield Cause("it has no value", "add __type(value, TYPE) or __uint(value_size, BYTES)")
    if not spec.max_entries and kind not in UNSIZED:
        yield Cause("max_entries is 0", f"--map {spec.name}.max_entries=N, or say it in the object")
    if spec.numa_node and spec.map_flags & BPF_F_NUMA_NODE:
        yield Cause(f"this machine may have no NUMA node {spec.numa_node}", f"--map {spec.name}.numa_node=0")


def _storage(spec: MapSpec) -> Iterator[Cause]:
    if not spec.map_flags & BPF_F_NO_PREALLOC:
        yield _flag("BPF_F_NO_PREALLOC")
    if spec.max_entries:
        yield Cause(
            f"local storage has no size, and max_entries is {spec.max_entries}", "leave max_entries out"
        )
    if not (spec.key_type_id and spec.value_type_id and spec.key_size == 4):
        yield Cause("local storage wants a key of type int and a value, both by type",
                    "write __type(key, int) and __type(value, TYPE)")  # fmt: skip


def _flag(name: str) -> Cause:
    return Cause(f"this type needs the flag {name}", f"add __uint(map_flags, {name})")
