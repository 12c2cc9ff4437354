"""Load the BTF of an object, rewritten if this kernel does not know all of it."""

from __future__ import annotations

from errno import E2BIG, EINVAL

from structops_cli.btf.btf import Btf
from structops_cli.errors import KernelError
from structops_cli.obj.loadable import loadable_btf
from structops_cli.obj.spec import ObjectSpec
from structops_cli.struct_ops.explain import explained
from structops_cli.syscall import bpf
from structops_cli.syscall.fd import Fd


def load_object_btf(spec: ObjectSpec) -> Fd:
    """Load the BTF of an object and own the fd.

    A kernel that knows all features needs one call. After a refusal, probes find the unknown
    features, and the rest is loaded with the same type ids.
    """
    data = loadable_btf(spec)
    try:
        return bpf.btf_load(data)
    except KernelError as error:
        refusal = explained(error, f"the kernel refused the BTF of {spec.name}")
        if error.errno not in (EINVAL, E2BIG):  # E2BIG: the header is longer than this kernel knows
            raise refusal from None
    sanitised = _sanitised(data)
    if sanitised != data:
        try:
            return bpf.btf_load(sanitised)
        except KernelError as error:
            refusal = explained(error, f"the kernel refused the BTF of {spec.name}, rewritten for it")
    raise refusal


def _sanitised(data: bytes) -> bytes:
    from structops_cli.btf.sanitise import features_used, sanitise  # only an older kernel needs it
    from structops_cli.runtime.btf_probes import accepts
    from structops_cli.runtime.probes import ProbeAnswer

    btf = Btf(data)
    lacking = [feature for feature in features_used(btf) if accepts(feature) is not ProbeAnswer.YES]
    return sanitise(btf, lacking)
