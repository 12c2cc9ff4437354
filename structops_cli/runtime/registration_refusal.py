"""Explain a refused registration: a broken rule, a taken pin or an unknown subsystem."""

from __future__ import annotations

import os
from contextlib import suppress
from errno import EEXIST

from structops_cli.btf.kernel_types import KernelTypes
from structops_cli.errors import KernelError, StructopsError
from structops_cli.runtime.loaded import Loaded
from structops_cli.shell_words import shell_words
from structops_cli.struct_ops.explain import explained
from structops_cli.struct_ops.kinds import kind_of
from structops_cli.struct_ops.plan import MapPlan
from structops_cli.struct_ops.rules.causes import Cause


def refusal(error: KernelError, plan: MapPlan, loaded: Loaded, path: str | None = None) -> KernelError:
    """Add the broken rule, or the struct_ops pinned at ``path``, to the kernel's answer."""
    error.add(object=loaded.spec.name, variable=plan.variable)
    from structops_cli.runtime.probes import flag_masks
    from structops_cli.struct_ops.capabilities import capabilities_of  # only a refusal needs them
    from structops_cli.struct_ops.rules.diagnose import refused_update, subsystem_refusal
    from structops_cli.struct_ops.rules.model import World

    logged = error.fields.get("kernel_log")
    cause = Cause(str(logged), "the kernel log (dmesg) may say more") if logged else None
    if error.operation == "MAP_UPDATE_ELEM":
        capabilities = capabilities_of(KernelTypes(plan.type.btf))
        world = World(capabilities, fds=None, flag_masks=flag_masks(plan.type))
        cause = refused_update(
            plan.type,
            loaded.value_of(plan),
            errno=error.errno or 0,
            variable=plan.variable,
            world=world,
        )
    cause = (
        cause
        or _of_a_taken_pin(error, plan, path)
        or subsystem_refusal(plan.type, error.operation, error.errno or 0)
    )
    return explained(error, f"{plan.registered_name} could not be registered", plan.type.name, cause)


def _of_a_taken_pin(error: KernelError, plan: MapPlan, path: str | None) -> Cause | None:
    """Return the cause that names the struct_ops map pinned at the path of a link.

    Returns None for another object, or the pin of another user. Names are unique within
    a type, but the path of a pin has no type.
    """
    if (error.operation, error.errno) != ("OBJ_PIN", EEXIST) or error.why or path is None:
        return None
    from structops_cli.runtime.inventory import list_maps
    from structops_cli.runtime.kernel import live_kernel  # only a refusal needs them
    from structops_cli.runtime.selection import matching

    with suppress(StructopsError):
        for live in matching(list_maps(live_kernel()), path):
            name_member = kind_of(plan.type.name).naming.member
            other = (
                f"; or choose another name: --set {plan.variable}.{name_member}=NAME" if name_member else ""
            )
            elsewhere = shell_words("--pin-dir", f"{os.path.dirname(path)}/{plan.type.name}")
            return Cause(
                f"the path exists: {path} is the pin of {live.type.name} {live.name} (id:{live.info.id})",
                f"pin this one elsewhere: {elsewhere}{other}",
            )
    return None
