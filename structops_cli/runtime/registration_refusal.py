"""The cause of a refused registration: a broken rule, a taken pin, or a subsystem without rules here."""

from __future__ import annotations

import os
from contextlib import suppress
from errno import E2BIG, EACCES, EBADF, EBUSY, EEXIST, ENOMEM, EPERM

from structops_cli.btf.kernel_types import KernelTypes
from structops_cli.errors import ENOTSUPP, KernelError, StructopsError
from structops_cli.runtime.loaded import Loaded
from structops_cli.shell_words import shell_words
from structops_cli.struct_ops.explain import Cause, explained
from structops_cli.struct_ops.kinds import REGISTRY, kind_of
from structops_cli.struct_ops.plan import MapPlan

__all__ = ["refusal"]

THE_KERNELS_OWN = frozenset({E2BIG, EACCES, EBADF, ENOMEM, ENOTSUPP, EPERM})
"""What the kernel answers before, or whoever, it asks a subsystem."""


def refusal(error: KernelError, plan: MapPlan, loaded: Loaded, path: str | None = None) -> KernelError:
    """Say which rule the value broke, or what is pinned at ``path``, where the errno alone does not."""
    error.add(object=loaded.spec.name, variable=plan.variable)
    from structops_cli.runtime.probes import flag_masks
    from structops_cli.struct_ops.capabilities import capabilities_of  # only a refusal needs them
    from structops_cli.struct_ops.rules.facts import World
    from structops_cli.struct_ops.rules.refusal import refused_update

    said = error.fields.get("kernel_log")
    cause = Cause(str(said), "the kernel log (dmesg) may say more") if said else None
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
    cause = cause or _of_a_taken_pin(error, plan, path) or _of_an_unknown_subsystem(error, plan)
    return explained(error, f"{plan.registered_name} could not be registered", plan.type.name, cause)


def _of_a_taken_pin(error: KernelError, plan: MapPlan, path: str | None) -> Cause | None:
    """Name the struct_ops that is pinned where a link is to go; None where it is none, or another user's.

    Names are unique within a type, and pins go by name.
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


def _of_an_unknown_subsystem(error: KernelError, plan: MapPlan) -> Cause | None:
    """Say whose answer it is where nobody here knows the subsystem's rules; None for the kernel's own answers."""
    asked = error.operation in ("MAP_UPDATE_ELEM", "LINK_CREATE") and error.errno not in THE_KERNELS_OWN
    if not asked or plan.type.name in REGISTRY:
        return None
    who = f"module {plan.type.module}" if plan.type.module else f"the subsystem of {plan.type.name}"
    why = {
        EEXIST: f"{who} has one like it already",
        EBUSY: f"{who} takes no more of them",
    }.get(error.errno or 0, f"{who} refuses it by a rule of its own")
    hint = "see structops types TYPE for its members, and the kernel log (dmesg) for what it says"
    return Cause(why, hint)
