"""Give the kernel the BTF of an object."""

from __future__ import annotations

from structops_cli.errors import KernelError
from structops_cli.obj.datasec import loadable_btf
from structops_cli.obj.spec import ObjectSpec
from structops_cli.struct_ops.explain import explained
from structops_cli.syscall import bpf
from structops_cli.syscall.fd import Fd

__all__ = ["load_object_btf"]


def load_object_btf(spec: ObjectSpec) -> Fd:
    """BTF_LOAD what an object says of its types, and own the fd."""
    try:
        return bpf.btf_load(loadable_btf(spec.btf))
    except KernelError as error:
        raise explained(error, f"the kernel refused the BTF of {spec.name}") from None
