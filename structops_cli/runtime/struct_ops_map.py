"""Create struct_ops maps: planned maps, and maps for probes and ``map create``."""

from __future__ import annotations

from contextlib import ExitStack, suppress

from structops_cli.asm.insn import RETURN_ZERO
from structops_cli.errors import ENOTSUPP, KernelError
from structops_cli.runtime.loaded import Loaded
from structops_cli.struct_ops.catalogue import StructOpsType
from structops_cli.struct_ops.explain import explained
from structops_cli.struct_ops.plan import MapPlan
from structops_cli.syscall import bpf, bpf_maps
from structops_cli.syscall.fd import Fd
from structops_cli.syscall.uapi import (
    BPF_F_LINK,
    BPF_F_VTYPE_BTF_OBJ_FD,
    BpfMapType,
    BpfProgType,
    BtfIntEncoding,
)


def create_struct_ops_maps(loaded: Loaded, btf_fd: Fd) -> None:
    """Create the map of each planned variable. No map has a value yet."""
    for plan in loaded.plan.maps:
        loaded.struct_ops[plan.variable] = loaded.own(_create_planned(plan, btf_fd))


def _create_planned(plan: MapPlan, btf_fd: Fd) -> Fd:
    try:
        return create_struct_ops_map(plan.type, plan.variable, btf_fd, link=plan.link)
    except KernelError as error:
        error.add(variable=plan.variable, type_name=plan.type.name)
        raise explained(
            error, f"no struct_ops map could be created for {plan.variable}", plan.type.name
        ) from None


def create_struct_ops_map(kernel_type: StructOpsType, name: str, btf_fd: Fd, *, link: bool) -> Fd:
    """Create a struct_ops map of a type, with BPF_F_LINK or without, and own its fd.

    ``btf_fd`` is any BTF but the kernel's: ``map_create`` answers EINVAL for a value type
    without it.
    """
    try:
        return _create_struct_ops_map(kernel_type, name, btf_fd, link=link)
    except KernelError as error:
        if error.errno != ENOTSUPP:
            raise
    _wake_verifier()
    return _create_struct_ops_map(kernel_type, name, btf_fd, link=link)


def _wake_verifier() -> None:
    """Load a trivial program and close it.

    Linux 5.10 parses its own BTF when it verifies the first program after boot
    (``bpf_check``), and knows no struct_ops type before that. 6.1 does not need this.
    """
    with suppress(KernelError):
        bpf.prog_load(BpfProgType.SOCKET_FILTER, RETURN_ZERO, licence="GPL").close()


def _create_struct_ops_map(kernel_type: StructOpsType, name: str, btf_fd: Fd, *, link: bool) -> Fd:
    with ExitStack() as stack:
        module = None
        if kernel_type.module:
            from structops_cli.runtime.kernel import open_module  # only modules need it

            module = stack.enter_context(open_module(kernel_type.module))
        return bpf_maps.map_create(
            BpfMapType.STRUCT_OPS,
            key_size=4,
            value_size=kernel_type.value.size_bytes,
            max_entries=1,
            name=name,
            btf_fd=btf_fd.fileno(),
            map_flags=(BPF_F_LINK if link else 0) | (BPF_F_VTYPE_BTF_OBJ_FD if module else 0),
            btf_vmlinux_value_type_id=kernel_type.value.id,
            value_type_btf_obj_fd=module.fileno() if module else 0,
        )


def least_btf() -> Fd:
    """Load BTF of one integer, for a map without an object, and own its fd."""
    from structops_cli.btf.encode import encode
    from structops_cli.btf.types import Int  # not needed for an object

    return bpf.btf_load(encode([Int(1, "int", 4, BtfIntEncoding.SIGNED, 0, 32)]))
