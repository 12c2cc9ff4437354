"""Constants of the kernel's user-space interface, under the kernel's names.

They come from ``include/uapi/linux/bpf.h`` and ``include/uapi/linux/btf.h``; for others the
docstring names the file. Only constants that the project uses are here. Pure data.
"""

from __future__ import annotations

from enum import IntEnum

BPF_OBJ_NAME_LEN = 16
"""Bytes of an object's name in the kernel, the NUL included."""
BPF_F_NO_PREALLOC = 1 << 0
BPF_F_NO_COMMON_LRU = 1 << 1
BPF_F_NUMA_NODE = 1 << 2
BPF_F_RDONLY = 1 << 3
BPF_F_WRONLY = 1 << 4
BPF_F_STACK_BUILD_ID = 1 << 5
BPF_F_ZERO_SEED = 1 << 6
BPF_F_RDONLY_PROG = 1 << 7
BPF_F_WRONLY_PROG = 1 << 8
BPF_F_CLONE = 1 << 9
BPF_F_MMAPABLE = 1 << 10
BPF_F_PRESERVE_ELEMS = 1 << 11
BPF_F_INNER_MAP = 1 << 12
BPF_F_LINK = 1 << 13
BPF_F_VTYPE_BTF_OBJ_FD = 1 << 15
BPF_F_SEGV_ON_FAULT = 1 << 17
BPF_F_NO_USER_CONV = 1 << 18
BPF_F_RB_OVERWRITE = 1 << 19
BPF_F_TOKEN_FD = 1 << 16
"""Flag of MAP_CREATE, PROG_LOAD and BTF_LOAD: use the BPF token of the given fd."""
BPF_F_REPLACE = 1 << 2
BPF_F_SLEEPABLE = 1 << 4
BPF_STRUCT_OPS = 44
"""The attach type of a struct_ops link (``enum bpf_attach_type``)."""
BPF_TRACE_ITER = 28
"""The attach type of an iterator's program and link."""
BPF_STATS_RUN_TIME = 0
BTF_MAGIC = 0xEB9F
CLONE_NEWNET = 0x40000000
"""``include/uapi/linux/sched.h``; ``os.CLONE_NEWNET`` is there from Python 3.12 on."""
SO_NETNS_COOKIE = 71
"""Socket option: the namespace's number, unique until reboot (Linux 5.14)."""
TCP_CA_NAME_MAX = 16
"""Bytes of a congestion control's name, the NUL included (``include/net/tcp.h``)."""
TCP_CA_BUF_MAX = 128 * TCP_CA_NAME_MAX
"""Bytes of the longest list of congestion controls (``include/net/tcp.h``)."""


class BpfCmd(IntEnum):
    """``enum bpf_cmd``."""

    MAP_CREATE = 0
    MAP_LOOKUP_ELEM = 1
    MAP_UPDATE_ELEM = 2
    MAP_DELETE_ELEM = 3
    MAP_GET_NEXT_KEY = 4
    PROG_LOAD = 5
    OBJ_PIN = 6
    OBJ_GET = 7
    PROG_TEST_RUN = 10
    PROG_GET_NEXT_ID = 11
    MAP_GET_NEXT_ID = 12
    PROG_GET_FD_BY_ID = 13
    MAP_GET_FD_BY_ID = 14
    OBJ_GET_INFO_BY_FD = 15
    BTF_LOAD = 18
    BTF_GET_FD_BY_ID = 19
    MAP_FREEZE = 22
    BTF_GET_NEXT_ID = 23
    LINK_CREATE = 28
    LINK_UPDATE = 29
    LINK_GET_FD_BY_ID = 30
    LINK_GET_NEXT_ID = 31
    ENABLE_STATS = 32
    ITER_CREATE = 33
    LINK_DETACH = 34
    TOKEN_CREATE = 36
    PROG_BIND_MAP = 35


class BpfMapType(IntEnum):
    """``enum bpf_map_type``."""

    UNSPEC = 0
    HASH = 1
    ARRAY = 2
    PROG_ARRAY = 3
    PERF_EVENT_ARRAY = 4
    PERCPU_HASH = 5
    PERCPU_ARRAY = 6
    STACK_TRACE = 7
    CGROUP_ARRAY = 8
    LRU_HASH = 9
    LRU_PERCPU_HASH = 10
    LPM_TRIE = 11
    ARRAY_OF_MAPS = 12
    HASH_OF_MAPS = 13
    DEVMAP = 14
    SOCKMAP = 15
    CPUMAP = 16
    XSKMAP = 17
    SOCKHASH = 18
    CGROUP_STORAGE = 19
    REUSEPORT_SOCKARRAY = 20
    PERCPU_CGROUP_STORAGE = 21
    QUEUE = 22
    STACK = 23
    SK_STORAGE = 24
    DEVMAP_HASH = 25
    STRUCT_OPS = 26
    RINGBUF = 27
    INODE_STORAGE = 28
    TASK_STORAGE = 29
    BLOOM_FILTER = 30
    USER_RINGBUF = 31
    CGRP_STORAGE = 32
    ARENA = 33
    INSN_ARRAY = 34


MAPS_OF_MAPS = frozenset({BpfMapType.ARRAY_OF_MAPS, BpfMapType.HASH_OF_MAPS})


class BpfProgType(IntEnum):
    """``enum bpf_prog_type``: the types that this project loads."""

    UNSPEC = 0
    SOCKET_FILTER = 1
    TRACING = 26
    STRUCT_OPS = 27


class BpfLinkType(IntEnum):
    """``enum bpf_link_type``: the type that this project creates."""

    UNSPEC = 0
    STRUCT_OPS = 9


class BtfKind(IntEnum):
    """``BTF_KIND_*``."""

    VOID = 0
    INT = 1
    PTR = 2
    ARRAY = 3
    STRUCT = 4
    UNION = 5
    ENUM = 6
    FWD = 7
    TYPEDEF = 8
    VOLATILE = 9
    CONST = 10
    RESTRICT = 11
    FUNC = 12
    FUNC_PROTO = 13
    VAR = 14
    DATASEC = 15
    FLOAT = 16
    DECL_TAG = 17
    TYPE_TAG = 18
    ENUM64 = 19


class BtfIntEncoding(IntEnum):
    """Bits of a BTF integer: ``BTF_INT_SIGNED`` and others."""

    SIGNED = 1
    CHAR = 2
    BOOL = 4


class BtfFuncLinkage(IntEnum):
    """``enum btf_func_linkage``."""

    STATIC = 0
    GLOBAL = 1
    EXTERN = 2


class BtfVarLinkage(IntEnum):
    """``BTF_VAR_STATIC`` and others."""

    STATIC = 0
    GLOBAL_ALLOCATED = 1
    GLOBAL_EXTERN = 2


class CoreReloKind(IntEnum):
    """``enum bpf_core_relo_kind``."""

    FIELD_BYTE_OFFSET = 0
    FIELD_BYTE_SIZE = 1
    FIELD_EXISTS = 2
    FIELD_SIGNED = 3
    FIELD_LSHIFT_U64 = 4
    FIELD_RSHIFT_U64 = 5
    TYPE_ID_LOCAL = 6
    TYPE_ID_TARGET = 7
    TYPE_EXISTS = 8
    TYPE_SIZE = 9
    ENUMVAL_EXISTS = 10
    ENUMVAL_VALUE = 11
    TYPE_MATCHES = 12


class StructOpsState(IntEnum):
    """``enum bpf_struct_ops_state`` (``include/linux/bpf.h``)."""

    INIT = 0
    INUSE = 1
    TOBEFREE = 2
    READY = 3


class TcpCongFlags(IntEnum):
    """``TCP_CONG_*`` (``include/net/tcp.h``): the flags that a BPF congestion control may set."""

    NON_RESTRICTED = 1
    NEEDS_ECN = 2
