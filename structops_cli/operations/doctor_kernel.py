"""Check the features and settings of this kernel that struct_ops needs."""

from __future__ import annotations

import os
import resource
from collections.abc import Iterator

from structops_cli.btf.kernel_types import KernelTypes
from structops_cli.core.kconfig import version_code
from structops_cli.errors import BtfError, UnsupportedError
from structops_cli.operations.findings import NOTE, OK, PROBLEM, Finding, Tree
from structops_cli.runtime.kernel import BTF_FOLDER, live_kernel
from structops_cli.runtime.kernel_config import config_paths, kernel_version, read_config
from structops_cli.runtime.pins import unreachable_pins
from structops_cli.runtime.probes import ProbeAnswer, is_registered
from structops_cli.struct_ops.capabilities import has_links
from structops_cli.struct_ops.catalogue import offered_types
from structops_cli.syscall import bpffs
from structops_cli.syscall.mount_table import FOLDERS
from structops_cli.syscall.uapi import BtfKind

OPTIONS = {
    "CONFIG_BPF_SYSCALL": "there is no bpf(2) at all",
    "CONFIG_BPF_JIT": "struct_ops programs are machine code that the kernel calls",
    "CONFIG_DEBUG_INFO_BTF": "types of struct_ops are found in the kernel's BTF",
}
"""The options that have to be built in, and the reason."""
CAPABILITIES = {
    39: ("CAP_BPF", "loads programs and maps"),
    38: ("CAP_PERFMON", "lets programs read kernel structures"),
    12: ("CAP_NET_ADMIN", "registers what is of the network, writes its sysctls and routes"),
    21: ("CAP_SYS_ADMIN", "goes through ids (list, show, unregister) and enters other network namespaces"),
}
"""``include/uapi/linux/capability.h``."""
CHARGED_BEFORE = version_code(5, 11, 0)
"""Older kernels charge maps and programs to RLIMIT_MEMLOCK."""
LINK_ABILITIES = {
    "update": "bpf_struct_ops_map_link_update",
    "detach": "bpf_struct_ops_map_link_detach",
}
"""The kernel function of each operation of a link (kernel/bpf/bpf_struct_ops.c)."""


def folders(tree: Tree) -> Iterator[Finding]:
    """Check that the kernel's file systems are mounted; report only missing ones."""
    for folder, (file, command) in FOLDERS.items():
        if not os.path.exists(tree.path(file)):
            why = "it has what a kernel says of itself: types, processes, namespaces, sysctls, mounts"
            yield Finding(folder, PROBLEM, "not mounted", why, command)


def kernel_btf(tree: Tree) -> Iterator[Finding]:
    """Check whether the types of the kernel and of its modules can be read."""
    check, path = "kernel BTF", f"{BTF_FOLDER}/vmlinux"
    try:
        kernel = live_kernel(tree.path(BTF_FOLDER))
    except UnsupportedError as error:
        yield Finding(check, PROBLEM, f"{path} is not there", OPTIONS["CONFIG_DEBUG_INFO_BTF"], error.hint)
        return
    except BtfError as error:
        yield Finding(check, PROBLEM, f"{path} cannot be read", str(error), error.hint)
        return
    yield Finding(check, OK, path)
    if parts := kernel.vmlinux.unknown_parts():
        yield Finding(check, NOTE, f"not known to structops, and skipped: {', '.join(parts)}")
    kernel.modules()
    for name, parts in kernel.unknown_in_modules().items():
        yield Finding(
            check, NOTE, f"not known to structops, and skipped, in module {name}: {', '.join(parts)}"
        )
    for item in kernel.skipped:
        yield Finding(
            check, NOTE, f"the types of module {item.name} cannot be read", str(item.error), item.error.hint
        )


def configuration(tree: Tree, release: str) -> Iterator[Finding]:
    """Check the options that struct_ops needs, if the kernel shows its configuration."""
    config = read_config(list(OPTIONS), [tree.path(place) for place in config_paths(release)])
    if not config.found:
        yield Finding(
            "configuration",
            NOTE,
            "not shown by this kernel",
            f"none of {', '.join(config.sought)} can be read",
        )
        return
    missing = [option for option in OPTIONS if config.options.get(option) != "y"]
    for option in missing:
        yield Finding("configuration", PROBLEM, f"{option} is not set", OPTIONS[option], "run another kernel")
    if not missing:
        yield Finding("configuration", OK, ", ".join(f"{option}=y" for option in OPTIONS))


def offered(kernel: KernelTypes) -> Iterator[Finding]:
    """Probe the types that the kernel offers."""
    answers = {item.name: is_registered(item) for item in offered_types(kernel)}
    names = [name for name, answer in answers.items() if answer is ProbeAnswer.YES]
    unknown = [name for name, answer in answers.items() if answer is ProbeAnswer.UNKNOWN]
    if names:
        yield Finding("types", OK, f"offers {', '.join(names)}")
    if unknown:
        yield Finding(
            "types", NOTE, f"cannot tell whether it offers {', '.join(unknown)}", "asking takes CAP_BPF"
        )
    if not names and not unknown:
        yield Finding(
            "types", PROBLEM, "offers no struct_ops type", "", "run a kernel with CONFIG_BPF_JIT=y and BTF"
        )


def capabilities(tree: Tree) -> Iterator[Finding]:
    """Check the caller's capabilities. A missing one is a note, not a problem of the machine."""
    status = tree.read("/proc/self/status")
    if status is None:
        yield Finding("capabilities", NOTE, "not shown", "/proc/self/status cannot be read")
        return
    effective = next((line.split()[1] for line in status.splitlines() if line.startswith("CapEff:")), "0")
    held = int(effective, 16)
    missing = {name: what for bit, (name, what) in CAPABILITIES.items() if not held >> bit & 1}
    for name, what in missing.items():
        yield Finding("capabilities", NOTE, f"{name} is missing", f"it {what}", "run as root")
    if not missing:
        yield Finding("capabilities", OK, ", ".join(name for name, _ in CAPABILITIES.values()))


def lockdown(tree: Tree) -> Iterator[Finding]:
    """Check the mode of kernel lockdown (kernel_lockdown(7))."""
    text = tree.read("/sys/kernel/security/lockdown")
    mode = text.partition("[")[2].partition("]")[0] if text else ""
    if mode == "confidentiality":
        yield Finding(
            "lockdown",
            NOTE,
            "mode confidentiality",
            "programs may not read kernel memory by the helpers bpf_probe_read_kernel and its like",
            "use objects that read through BTF pointers, as the bundled ones do",
        )
    else:
        yield Finding("lockdown", OK, f"mode {mode}" if mode else "none")


def unprivileged_bpf(tree: Tree) -> Iterator[Finding]:
    """Check whether unprivileged users may load programs of the simplest types."""
    value = (tree.read("/proc/sys/kernel/unprivileged_bpf_disabled") or "").strip()
    if value == "0":
        yield Finding(
            "unprivileged bpf",
            NOTE,
            "allowed",
            "struct_ops does not need it",
            "echo 2 >/proc/sys/kernel/unprivileged_bpf_disabled, where nothing else does either",
        )
    else:
        yield Finding("unprivileged bpf", OK, "disabled" if value else "not shown")


def jit(tree: Tree) -> Iterator[Finding]:
    """Check whether the JIT is on."""
    value = (tree.read("/proc/sys/net/core/bpf_jit_enable") or "").strip()
    if value == "0":
        yield Finding(
            "JIT",
            PROBLEM,
            "net.core.bpf_jit_enable is 0",
            "struct_ops programs are machine code that the kernel calls: none can be registered",
            "echo 1 >/proc/sys/net/core/bpf_jit_enable",
        )
    elif value:
        yield Finding("JIT", OK, f"net.core.bpf_jit_enable is {value}")
    elif os.path.exists(tree.path("/proc/sys/net/core/bpf_jit_enable")):
        yield Finding(
            "JIT", NOTE, "not shown", "the file is for who has CAP_SYS_ADMIN in the initial user namespace"
        )
    else:
        yield Finding(
            "JIT",
            NOTE,
            "not shown",
            "net.core.bpf_jit_enable is not there: only the initial network namespace has it"
            if os.path.exists(tree.path("/proc/sys/net"))
            else "/proc/sys/net is not there",
        )


def bpffs_mounted() -> Iterator[Finding]:
    """Check whether a bpffs is mounted, and whether it is the one of process 1."""
    if unseen := unreachable_pins():
        yield Finding(
            "bpffs",
            NOTE,
            f"what is on {bpffs.DEFAULT} here is not the machine's: pins may be out of sight",
            unseen,
            "nsenter -t 1 -m structops doctor",
        )
    elif bpffs.DEFAULT in (mount.path for mount in bpffs.mounts()):
        yield Finding("bpffs", OK, f"mounted on {bpffs.DEFAULT}")
    else:
        yield Finding(
            "bpffs",
            NOTE,
            f"not mounted on {bpffs.DEFAULT}",
            "pins live there; register mounts one when it needs it",
            f"mount -t bpf bpf {bpffs.DEFAULT}",
        )


def links(kernel: KernelTypes) -> Iterator[Finding]:
    """Report the link operations of this kernel."""
    if not has_links(kernel):
        yield Finding(
            "links",
            NOTE,
            "none before Linux 6.4",
            "a new version cannot take the place of an old one in one step",
            "structops register works without",
        )
        return
    can = [word for word, name in LINK_ABILITIES.items() if kernel.vmlinux.find(name, BtfKind.FUNC)]
    cannot = [word for word in LINK_ABILITIES if word not in can]
    yield Finding("links", OK, ", ".join(["create", *can]))
    if cannot:
        yield Finding(
            "links", NOTE, f"no {' and no '.join(cannot)} in this kernel's BTF", "detach came with Linux 6.11"
        )


def tokens(kernel: KernelTypes) -> Iterator[Finding]:
    """Report whether this kernel has BPF tokens, which delegate BPF to a container."""
    if kernel.vmlinux.find("bpf_token", BtfKind.STRUCT):
        yield Finding("tokens", OK, "this kernel has BPF tokens")
    else:
        yield Finding("tokens", NOTE, "none before Linux 6.9", "a container cannot be allowed to load", "")


def memlock() -> Iterator[Finding]:
    """Check RLIMIT_MEMLOCK, if this kernel charges BPF memory to it."""
    soft, _ = resource.getrlimit(resource.RLIMIT_MEMLOCK)
    if kernel_version() >= CHARGED_BEFORE or soft == resource.RLIM_INFINITY:
        yield Finding("memory limit", OK, "RLIMIT_MEMLOCK does not count here")
    else:
        yield Finding(
            "memory limit",
            NOTE,
            f"RLIMIT_MEMLOCK is {soft >> 10} KiB",
            "maps and programs are charged to it before Linux 5.11; structops lifts it as root",
            "ulimit -l unlimited",
        )
