"""The rules of MAP_CREATE for maps besides struct_ops maps.

Each rule is a check of ``map_create`` (kernel/bpf/syscall.c), or of a map type's ``map_alloc_check`` or
``map_alloc`` in ``kernel/bpf``. The kernel decides all that depends on its version, the machine or the caller.
"""

from __future__ import annotations

from collections.abc import Iterator
from errno import EINVAL
from typing import NamedTuple

from structops_cli.errors import ENOTSUPP
from structops_cli.obj.spec import MapSpec
from structops_cli.syscall.uapi import (
    BPF_F_CLONE,
    BPF_F_INNER_MAP,
    BPF_F_MMAPABLE,
    BPF_F_NO_COMMON_LRU,
    BPF_F_NO_PREALLOC,
    BPF_F_NO_USER_CONV,
    BPF_F_NUMA_NODE,
    BPF_F_PRESERVE_ELEMS,
    BPF_F_RB_OVERWRITE,
    BPF_F_RDONLY,
    BPF_F_RDONLY_PROG,
    BPF_F_SEGV_ON_FAULT,
    BPF_F_STACK_BUILD_ID,
    BPF_F_WRONLY,
    BPF_F_WRONLY_PROG,
    BPF_F_ZERO_SEED,
    MAPS_OF_MAPS,
)
from structops_cli.syscall.uapi import BpfMapType as Type

STORAGE = frozenset({Type.SK_STORAGE, Type.INODE_STORAGE, Type.TASK_STORAGE, Type.CGRP_STORAGE})
CGROUP_STORAGE = frozenset({Type.CGROUP_STORAGE, Type.PERCPU_CGROUP_STORAGE})
RING_BUFFERS = frozenset({Type.RINGBUF, Type.USER_RINGBUF})
WITHOUT_VALUE = frozenset({*RING_BUFFERS, Type.ARENA})
WITHOUT_KEY = frozenset({Type.QUEUE, Type.STACK, Type.BLOOM_FILTER, *WITHOUT_VALUE})
ARRAYS = frozenset({
    Type.ARRAY, Type.PERCPU_ARRAY, Type.PROG_ARRAY, Type.PERF_EVENT_ARRAY, Type.CGROUP_ARRAY, Type.ARRAY_OF_MAPS,
    Type.REUSEPORT_SOCKARRAY,
})  # fmt: skip
BY_INDEX = ARRAYS | {Type.STACK_TRACE, Type.DEVMAP, Type.DEVMAP_HASH, Type.CPUMAP, Type.XSKMAP, Type.SOCKMAP}
OF_FDS = frozenset({Type.PROG_ARRAY, Type.PERF_EVENT_ARRAY, Type.CGROUP_ARRAY, Type.XSKMAP, *MAPS_OF_MAPS})
UNSIZED = STORAGE | CGROUP_STORAGE
LRU = frozenset({Type.LRU_HASH, Type.LRU_PERCPU_HASH})
LPM_KEY_BYTES = range(5, 261)
"""A prefix length of 4 bytes, and 1 to 256 bytes (LPM_KEY_SIZE_MIN, LPM_KEY_SIZE_MAX)."""
TAKES_EXTRA = frozenset({Type.BLOOM_FILTER, Type.ARENA})
MOST_HASHES = 15
"""The most hash functions of a Bloom filter, in its map_extra."""
PAGE_BYTES = 4096
OF_TWO_SIZES = frozenset({
    Type.DEVMAP, Type.DEVMAP_HASH, Type.CPUMAP, Type.SOCKMAP, Type.SOCKHASH, Type.REUSEPORT_SOCKARRAY,
})  # fmt: skip
"""Types with a value of 4 bytes (an index or an fd) or 8 bytes."""
CGROUP_KEY_BYTES = (8, 16)
"""The id of a cgroup, or ``struct bpf_cgroup_storage_key``."""

_USER = BPF_F_RDONLY | BPF_F_WRONLY
_ACCESS = _USER | BPF_F_RDONLY_PROG | BPF_F_WRONLY_PROG
_HASH = BPF_F_NUMA_NODE | _ACCESS | BPF_F_ZERO_SEED
KNOWN_FLAGS: dict[int, int] = {
    Type.HASH: _HASH | BPF_F_NO_PREALLOC, Type.PERCPU_HASH: _HASH & ~BPF_F_NUMA_NODE | BPF_F_NO_PREALLOC,
    Type.LRU_HASH: _HASH | BPF_F_NO_COMMON_LRU, Type.LRU_PERCPU_HASH: _HASH & ~BPF_F_NUMA_NODE | BPF_F_NO_COMMON_LRU,
    Type.HASH_OF_MAPS: _HASH | BPF_F_NO_PREALLOC, Type.BLOOM_FILTER: _HASH,
    Type.ARRAY: BPF_F_NUMA_NODE | _ACCESS | BPF_F_MMAPABLE | BPF_F_INNER_MAP, Type.PERCPU_ARRAY: _ACCESS,
    Type.PROG_ARRAY: BPF_F_NUMA_NODE | _USER, Type.CGROUP_ARRAY: BPF_F_NUMA_NODE | _USER,
    Type.ARRAY_OF_MAPS: BPF_F_NUMA_NODE | _USER, Type.PERF_EVENT_ARRAY: BPF_F_NUMA_NODE | _USER | BPF_F_PRESERVE_ELEMS,
    Type.STACK_TRACE: BPF_F_NUMA_NODE | _USER | BPF_F_STACK_BUILD_ID,
    Type.LPM_TRIE: BPF_F_NUMA_NODE | _ACCESS | BPF_F_NO_PREALLOC, Type.CPUMAP: BPF_F_NUMA_NODE,
    **dict.fromkeys((Type.DEVMAP, Type.DEVMAP_HASH, Type.SOCKMAP, Type.SOCKHASH, Type.XSKMAP), BPF_F_NUMA_NODE | _USER),
    **dict.fromkeys(
        (Type.CGROUP_STORAGE, Type.PERCPU_CGROUP_STORAGE, Type.REUSEPORT_SOCKARRAY, Type.QUEUE, Type.STACK),
        BPF_F_NUMA_NODE | _ACCESS,
    ),
    **dict.fromkeys((Type.RINGBUF, Type.USER_RINGBUF), BPF_F_NUMA_NODE | BPF_F_RB_OVERWRITE),
    **dict.fromkeys(STORAGE, BPF_F_NO_PREALLOC | BPF_F_CLONE),
    Type.ARENA: BPF_F_MMAPABLE | BPF_F_SEGV_ON_FAULT | BPF_F_NO_USER_CONV,
}  # fmt: skip
"""The flags of each type that some kernel accepts; a newer kernel may accept others."""


class MapFault(NamedTuple):
    """The cause of a refused definition. ``certain``: no kernel accepts it."""

    errno: int
    why: str
    hint: str
    certain: bool = True


def map_faults(spec: MapSpec) -> Iterator[MapFault]:
    """Yield every rule that a definition breaks, the certain ones first."""
    if spec.map_type not in KNOWN_FLAGS:
        return
    yield from _flags(spec)
    yield from _entries(spec)
    yield from _sizes(spec)
    if spec.inner is not None:
        for fault in map_faults(spec.inner):
            yield fault._replace(why=f"of the maps that it holds: {fault.why}")
    other = spec.map_flags & ~KNOWN_FLAGS[spec.map_type]
    if other:
        why = f"this type has no use for the flags {other:#x} in any kernel that is known here"
        yield MapFault(EINVAL, why, "leave them out", certain=False)


def _fault(why: str, hint: str, errno: int = EINVAL) -> MapFault:
    return MapFault(errno, why, hint)


def _flags(spec: MapSpec) -> Iterator[MapFault]:
    kind = spec.map_type
    if kind in STORAGE | {Type.LPM_TRIE} and not spec.map_flags & BPF_F_NO_PREALLOC:
        yield _needs_flag("BPF_F_NO_PREALLOC")
    if kind == Type.ARENA and not spec.map_flags & BPF_F_MMAPABLE:
        yield _needs_flag("BPF_F_MMAPABLE")
    if kind in ARRAYS and spec.map_flags & BPF_F_NO_PREALLOC:
        yield _fault("an array is always allocated as a whole", "leave BPF_F_NO_PREALLOC out")
    if kind in LRU and spec.map_flags & BPF_F_NO_PREALLOC:
        why = "a map that forgets the least recently used is always allocated as a whole"
        yield _fault(why, "leave BPF_F_NO_PREALLOC out", ENOTSUPP)
    if kind not in LRU and spec.map_flags & BPF_F_NO_COMMON_LRU:
        yield _fault("this type forgets nothing", "leave BPF_F_NO_COMMON_LRU out")
    for one, other in ((BPF_F_RDONLY, BPF_F_WRONLY), (BPF_F_RDONLY_PROG, BPF_F_WRONLY_PROG)):
        if spec.map_flags & one and spec.map_flags & other:
            yield _fault(
                "it would be read-only and write-only", f"leave one of the flags {one:#x} and {other:#x} out"
            )
    if spec.map_extra and kind not in TAKES_EXTRA:
        yield _fault(f"this type has no use for map_extra, which is {spec.map_extra}", "leave it out")
    if kind == Type.BLOOM_FILTER and spec.map_extra > MOST_HASHES:
        why = f"map_extra is the number of hash functions, and is {spec.map_extra}"
        yield _fault(why, f"set it to {MOST_HASHES} or less")
    if kind == Type.ARENA and spec.map_extra % PAGE_BYTES:
        yield _fault(
            "map_extra is the address of the arena, and does not begin a page", "choose another address"
        )


def _needs_flag(name: str) -> MapFault:
    return _fault(f"this type needs the flag {name}", f"add __uint(map_flags, {name})")


def _sizes(spec: MapSpec) -> Iterator[MapFault]:
    kind, key, value = spec.map_type, spec.key_size, spec.value_size
    if kind in WITHOUT_KEY and key:
        yield _fault(f"this type has no key, and key_size is {key}", "leave the key out")
    if kind in BY_INDEX and key != 4:
        yield _fault(f"this type is numbered, and key_size is {key}", "give it a key of type __u32")
    if kind == Type.LPM_TRIE and key and key not in LPM_KEY_BYTES:
        why = f"a key is a length of 4 bytes and 1 to 256 bytes, and key_size is {key}"
        yield _fault(why, "begin the key with struct bpf_lpm_trie_key_u8")
    if kind not in WITHOUT_KEY and not key:
        yield _fault("it has no key", "add __type(key, TYPE) or __uint(key_size, BYTES)")
    if kind in OF_FDS and value != 4:
        yield _fault(f"this type holds fds, and value_size is {value}", "give it a value of type __u32")
    if kind in OF_TWO_SIZES and value not in {4, 8}:
        yield _fault(
            f"a value of this type has 4 or 8 bytes, and value_size is {value}",
            "give it a value of type __u32",
        )
    if kind == Type.STACK_TRACE and value % 8:
        yield _fault(
            f"a value is an array of addresses, and value_size is {value}", "make it a multiple of 8"
        )
    if kind in CGROUP_STORAGE and key not in CGROUP_KEY_BYTES:
        yield _fault(f"a key is that of a cgroup, and key_size is {key}", "give it a key of type __u64")
    if kind in WITHOUT_VALUE and value:
        yield _fault(f"this type has no value, and value_size is {value}", "leave the value out")
    if kind not in WITHOUT_VALUE and not value:
        yield _fault("it has no value", "add __type(value, TYPE) or __uint(value_size, BYTES)")
    if kind in STORAGE and not (spec.key_type_id and spec.value_type_id and key == 4):
        yield _fault("local storage wants a key of type int and a value, both by type",
                     "write __type(key, int) and __type(value, TYPE)")  # fmt: skip


def _entries(spec: MapSpec) -> Iterator[MapFault]:
    """Yield the faults of max_entries; a load fills in those of a perf event array."""
    kind, entries = spec.map_type, spec.max_entries
    if kind in UNSIZED and entries:
        yield _fault(f"local storage has no size, and max_entries is {entries}", "leave max_entries out")
    if kind not in UNSIZED | {Type.PERF_EVENT_ARRAY} and not entries:
        yield _fault("max_entries is 0", f"--map {spec.name}.max_entries=N, or say it in the object")
