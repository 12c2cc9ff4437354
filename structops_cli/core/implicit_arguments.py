"""Kernel functions that the kernel gives an argument of its own: ``const struct bpf_prog_aux *aux``, the last (since 7.0).

BTF has such a function twice: ``NAME`` as programs call it, and ``NAME_impl`` as it
is. Where a build of the kernel has lost the second, ``NAME`` has the argument, and
the verifier lets no program call it (kernel/bpf/verifier.c, ``find_kfunc_impl_proto``).
Debian's 7.2.12+deb13-cloud-amd64 has lost scx_bpf_create_dsq so.
"""

from __future__ import annotations

from structops_cli.btf.btf import Btf
from structops_cli.btf.layout import resolve
from structops_cli.btf.types import Func, FuncProto, Ptr, Struct
from structops_cli.syscall.uapi import BtfKind

__all__ = ["lacks_implementation"]

ARGUMENT, STRUCT, SUFFIX = "aux", "bpf_prog_aux", "_impl"


def lacks_implementation(btf: Btf, function: Func) -> bool:
    """Tell whether a function has the kernel's own argument and nothing behind it that programs do not see."""
    proto = btf.type(function.type)
    if not isinstance(proto, FuncProto) or not proto.params or function.name.endswith(SUFFIX):
        return False
    last = proto.params[-1]
    pointer = resolve(btf, last.type)
    if last.name != ARGUMENT or not isinstance(pointer, Ptr):
        return False
    target = resolve(btf, pointer.type)
    is_own = isinstance(target, Struct) and target.name == STRUCT
    return is_own and btf.find(function.name + SUFFIX, BtfKind.FUNC) is None
