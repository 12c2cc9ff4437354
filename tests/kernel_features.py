"""Skip tests on a kernel without a feature, and fail them on a newer kernel that lacks it.

Use ``@needs(LINKS)`` on a test, or ``pytestmark = needs(LINKS)`` in a module. A probe
decides; the release only guards against a wrong probe.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from functools import cache
from typing import NamedTuple

import pytest

from structops_cli.btf.types import Enum, Struct
from structops_cli.errors import UnsupportedError
from structops_cli.runtime.holders import AlgorithmReader
from structops_cli.runtime.kernel import live_kernel
from structops_cli.runtime.kernel_config import read_config
from structops_cli.struct_ops.capabilities import capabilities_of, has_links
from structops_cli.syscall import bpf
from structops_cli.syscall.info import btf_info
from structops_cli.syscall.uapi import BtfKind

__all__ = [
    "ARENA",
    "CGRP_STORAGE",
    "DUMMY_OPS",
    "FEW_REQUIRED",
    "HID_BPF",
    "INSN_ARRAY",
    "IO_URING_OPS",
    "KERNEL_BTF",
    "KFUNCS",
    "LINKS",
    "LINK_DETACH",
    "MODULE_TYPES",
    "MPTCP",
    "OPEN_FILE_ITERATOR",
    "OWNED_ARGUMENTS",
    "QDISC_OPS",
    "RESCUES",
    "SCHED_EXT",
    "SCHED_EXT_CID",
    "SLEEPABLE",
    "TOKENS",
    "Feature",
    "needs",
    "require",
    "require_absence",
]


class Feature(NamedTuple):
    """A feature since a kernel release; ``option`` is the build option that enables it."""

    what: str
    since: tuple[int, int]
    present: Callable[[], bool]
    option: str = ""
    symbol: str = ""
    """A function of the option, for a kernel that does not show its configuration."""


def _knows_struct(name: str) -> bool:
    return live_kernel().vmlinux.find(name, BtfKind.STRUCT) is not None


def _names(enum: str, name: str) -> bool:
    btf = live_kernel().vmlinux
    type_id = btf.find(enum, BtfKind.ENUM)
    found = btf.type(type_id) if type_id else None
    return isinstance(found, Enum) and any(one.name == name for one in found.values)


def _knows_map_type(name: str) -> bool:
    return _names("bpf_map_type", name)


def _is_kernels(btf_id: int) -> bool:
    with bpf.btf_get_fd_by_id(btf_id) as fd:
        return btf_info(fd).is_kernel


def _has_member(struct: str, member: str) -> bool:
    vmlinux = live_kernel().vmlinux
    type_id = vmlinux.find(struct, BtfKind.STRUCT)
    found = vmlinux.type(type_id) if type_id else None
    return isinstance(found, Struct) and any(item.name == member for item in found.members)


def _opens_mptcp() -> bool:
    try:
        socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_MPTCP).close()
    except OSError:
        return False
    return True


def _reads_open_files() -> bool:
    try:
        with AlgorithmReader() as reader:
            reader.open_files()
    except UnsupportedError:
        return False
    return True


LINKS = Feature("links of struct_ops", (6, 4), lambda: has_links(live_kernel()))
LINK_DETACH = Feature("detachable links", (6, 11), lambda: capabilities_of(live_kernel()).link_detach)
KERNEL_BTF = Feature("BTF objects of the kernel's own", (5, 11), lambda: any(map(_is_kernels, bpf.btf_ids())))
FEW_REQUIRED = Feature(
    "functions that need not be there",
    (6, 0),
    lambda: not capabilities_of(live_kernel()).every_member_required,
)
"""Members of tcp_congestion_ops that may be absent, such as cong_avoid."""

SLEEPABLE = Feature("programs that sleep", (6, 3), lambda: capabilities_of(live_kernel()).sleepable)
"""Sleepable struct_ops programs, and the member test_sleepable of bpf_dummy_ops."""

DUMMY_OPS = Feature("bpf_dummy_ops", (5, 17), lambda: _knows_struct("bpf_dummy_ops"))

MPTCP = Feature("MPTCP", (5, 6), _opens_mptcp, "CONFIG_MPTCP")
OPEN_FILE_ITERATOR = Feature("a BPF iterator over descriptors and their sockets", (5, 11), _reads_open_files)
CGRP_STORAGE = Feature("maps of cgroup storage", (6, 2), lambda: _knows_map_type("BPF_MAP_TYPE_CGRP_STORAGE"))
ARENA = Feature("arenas", (6, 9), lambda: _knows_map_type("BPF_MAP_TYPE_ARENA"))
INSN_ARRAY = Feature("instruction arrays", (6, 19), lambda: _knows_map_type("BPF_MAP_TYPE_INSN_ARRAY"))
KFUNCS = Feature(
    "calls of the kernel's functions",
    (5, 13),
    lambda: live_kernel().vmlinux.find("bpf_kfunc_desc_tab", BtfKind.STRUCT) is not None,
)
QDISC_OPS = Feature(
    "Qdisc_ops",
    (6, 16),
    lambda: _knows_struct("bpf_struct_ops_Qdisc_ops"),
    "CONFIG_NET_SCH_BPF",
    "bpf_qdisc_reg",
)
SCHED_EXT = Feature("sched_ext", (6, 16), lambda: _knows_struct("sched_ext_ops"), "CONFIG_SCHED_CLASS_EXT")
"""Linux has it since 6.12, and Debian's kernels since 6.16."""

HID_BPF = Feature(
    "hid_bpf_ops",
    (6, 11),
    lambda: _knows_struct("bpf_struct_ops_hid_bpf_ops"),
    "CONFIG_HID_BPF",
    "hid_bpf_reg",
)
SCHED_EXT_CID = Feature(
    "sched_ext_ops_cid",
    (7, 2),
    lambda: _knows_struct("bpf_struct_ops_sched_ext_ops_cid"),
    "CONFIG_SCHED_CLASS_EXT",
    "bpf_scx_reg_cid",
)
RESCUES = Feature(
    "rescues of sched_ext",
    (7, 3),
    lambda: _has_member("sched_ext_ops", "rescue_quantum_us"),
    "CONFIG_SCHED_CLASS_EXT",
)
IO_URING_OPS = Feature(
    "io_uring_bpf_ops",
    (7, 1),
    lambda: _knows_struct("bpf_struct_ops_io_uring_bpf_ops"),
    "CONFIG_IO_URING_BPF_OPS",
    "bpf_io_reg",
)

MODULE_TYPES = Feature(
    "struct_ops types of modules",
    (6, 9),
    lambda: _knows_struct("bpf_struct_ops_desc") and os.path.exists("/proc/modules"),
    "CONFIG_MODULES",
)
TOKENS = Feature("BPF tokens", (6, 9), lambda: _names("bpf_cmd", "BPF_TOKEN_CREATE"))
OWNED_ARGUMENTS = Feature(
    "arguments that a program owns (__ref)", (6, 16), lambda: _has_member("bpf_ctx_arg_aux", "refcounted")
)


def needs(*features: Feature) -> pytest.MarkDecorator:
    """Mark a test that needs features."""
    return pytest.mark.needs(*features)


def require(feature: Feature) -> None:
    """Skip the running test if a feature is absent; fail it if the kernel must have it."""
    if _is_there(feature):
        return
    _fail_where_it_must_be(feature)
    major, minor = feature.since
    pytest.skip(
        f"waits for Linux {major}.{minor}, which has {feature.what}{f' with {feature.option}' if feature.option else ''}"
    )


def require_absence(feature: Feature) -> None:
    """Skip the running test if a feature is present."""
    if _is_there(feature):
        major, minor = feature.since
        pytest.skip(f"of Linux before {major}.{minor}, which lacks {feature.what}")
    _fail_where_it_must_be(feature)


@cache
def _is_there(feature: Feature) -> bool:
    """Probe once, because some probes start a process."""
    return feature.present()


def _fail_where_it_must_be(feature: Feature) -> None:
    major, minor = feature.since
    release = os.uname().release
    if _version(release) >= feature.since and not _left_out(feature):
        pytest.fail(f"{release} lacks {feature.what}, which came with {major}.{minor}", pytrace=False)


@cache
def _left_out(feature: Feature) -> bool:
    """Tell whether the kernel was built without a feature's option.

    The kernel's configuration decides, or without it the kernel's symbols.
    """
    config = read_config([feature.option]) if feature.option else None
    if config is None or config.found or not feature.symbol:
        return bool(config and config.found and not config.options)
    with open("/proc/kallsyms", encoding="ascii") as file:
        return not any(line.split()[2] == feature.symbol for line in file)


def _version(release: str) -> tuple[int, int]:
    major, minor = release.split(".")[:2]
    return int(major), int("".join(digit for digit in minor if digit.isdigit()) or 0)
