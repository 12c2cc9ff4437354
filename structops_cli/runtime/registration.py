"""Register a loaded object, all of it or nothing, and prove by reading back that the kernel did.

``register`` reads as the list of what happens to one map; every step pushes
its own undoing *before* it acts, so that an exception at any point, Ctrl-C
included, leaves the kernel as it was.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack, nullcontext, suppress
from errno import E2BIG, EACCES, EBADF, EBUSY, EEXIST, ENOMEM, EPERM
from typing import NamedTuple, TypeAlias

from structops_cli.btf.kernel_types import KernelTypes
from structops_cli.errors import ENOTSUPP, KernelError, StateError, StructopsError, UsageError
from structops_cli.runtime import sched_ext
from structops_cli.runtime.dead_pins import pin_link
from structops_cli.runtime.live_map import MapState
from structops_cli.runtime.loaded import Loaded
from structops_cli.runtime.pins import pin_path
from structops_cli.runtime.shared_maps import pin_maps
from structops_cli.shell_words import shell_words
from structops_cli.struct_ops.explain import Cause, explained
from structops_cli.struct_ops.kinds import REGISTRY, kind_of
from structops_cli.struct_ops.plan import MapPlan
from structops_cli.struct_ops.value import KEY, read_state, state_name
from structops_cli.syscall import bpf, bpf_maps
from structops_cli.syscall.fd import Fd
from structops_cli.syscall.info import ProgInfo, link_info, map_info, prog_info
from structops_cli.syscall.uapi import StructOpsState

__all__ = [
    "FindExisting",
    "Registered",
    "refusal",
    "refuse_unregisterable",
    "register",
    "register_map",
    "registered_map",
    "set_ready",
    "watched",
]

THE_KERNELS_OWN = frozenset({E2BIG, EACCES, EBADF, ENOMEM, ENOTSUPP, EPERM})
"""What the kernel answers before, or whoever, it asks a subsystem."""


class Registered(NamedTuple):
    """One registered struct_ops. ``link`` is owned by whoever made the registration; None for a map without a link.

    ``changed`` is False for one that was registered before, as it should be; ``replaced_pin`` is true where
    ``pin`` was that of a link that registered nothing any more.
    """

    variable: str
    type_name: str
    name: str
    map_id: int
    map_name: str
    link_id: int | None
    pin: str | None
    state: MapState
    programs: tuple[tuple[str, ProgInfo], ...]
    link: Fd | None
    legacy_fallback: bool
    changed: bool = True
    replaced_pin: bool = False


FindExisting: TypeAlias = Callable[[Loaded, MapPlan], Registered | None]
"""What is asked when a name is taken: what has it, if that is the very thing that was to be registered."""


def register(
    loaded: Loaded, pin_dir: str | None, undo: ExitStack, standing: FindExisting | None = None
) -> tuple[Registered, ...]:
    """Register every struct_ops map of a loaded object, and pin its new maps that are shared by name.

    Links are pinned in ``pin_dir`` (an existing directory of a bpffs), or held by
    the fds in the answer when it is None. Whatever is done is pushed on ``undo``:
    the caller keeps the registration by ``undo.pop_all()``, and owns the link fds
    either way. Types that never register are refused before anything is done.
    """
    for plan in loaded.plan.maps:
        refuse_unregisterable(plan)
    pin_maps(loaded, undo)
    return tuple(register_map(loaded, plan, pin_dir, undo, standing) for plan in loaded.plan.maps)


def refuse_unregisterable(plan: MapPlan) -> None:
    """Raise ``UsageError`` for a map of a type that exists for test runs only."""
    if not kind_of(plan.type.name).registration.registers:
        raise UsageError(
            f"{plan.variable} is of type {plan.type.name}, which cannot be registered",
            why="the kernel has this type for test runs only",
            hint="run one of its programs: structops run OBJ PROGRAM",
            variable=plan.variable,
            type_name=plan.type.name,
        )


def register_map(
    loaded: Loaded, plan: MapPlan, pin_dir: str | None, undo: ExitStack, standing: FindExisting | None = None
) -> Registered:
    """Register one struct_ops map of a loaded object; the rest as in ``register``."""
    map_fd = loaded.struct_ops[plan.variable]
    try:
        if plan.link:
            _update(plan, loaded, map_fd, StructOpsState.READY)
            with watched(plan):
                link = undo.enter_context(bpf.link_create(map_fd))
            _check_link(plan, map_fd, link)
            pin, replaced = _pin(plan, link, pin_dir, undo) if pin_dir is not None else (None, False)
        else:
            undo.callback(_delete_quietly, map_info(map_fd).id)
            _update(plan, loaded, map_fd, StructOpsState.INUSE)
            link, pin, replaced = None, None, False
    except KernelError as error:
        taken = error.errno in (EEXIST, EBUSY) and error.operation != "OBJ_PIN"
        if taken and standing is not None and (there := standing(loaded, plan)) is not None:
            return there
        path = pin_path(plan.registered_name, pin_dir) if pin_dir is not None else None
        raise refusal(error, plan, loaded, path) from None
    except StructopsError as error:
        error.add(object=loaded.spec.name, variable=plan.variable)
        raise
    return registered_map(loaded, plan, map_fd, link, pin)._replace(replaced_pin=replaced)


def set_ready(loaded: Loaded, plan: MapPlan) -> Fd:
    """Set the value of a map for a link, which registers nothing yet, and return the map's fd, not the caller's to close."""
    map_fd = loaded.struct_ops[plan.variable]
    try:
        _update(plan, loaded, map_fd, StructOpsState.READY)
    except KernelError as error:
        raise refusal(error, plan, loaded) from None
    except StructopsError as error:
        error.add(object=loaded.spec.name, variable=plan.variable)
        raise
    return map_fd


def _update(plan: MapPlan, loaded: Loaded, map_fd: Fd, expected: StructOpsState) -> None:
    """Set the map's value and read the state back: the kernel can answer 0 and register nothing."""
    bpf_maps.map_update_elem(map_fd, KEY, loaded.value_of(plan))
    state, _ = read_state(plan.type, bpf_maps.map_lookup_elem(map_fd, KEY, plan.type.value.size_bytes))
    if state != expected:
        raise StateError(
            f"{plan.registered_name} is not registered, though the kernel reported success",
            why=f"the map's state is {state_name(state)} and not {state_name(expected)}",
            hint="a member that the kernel owns, such as owner, must be zero in the object",
            type_name=plan.type.name,
        )


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


def watched(plan: MapPlan) -> AbstractContextManager[None]:
    """Watch for a scheduler that the kernel ejects right after LINK_CREATE; for other types do nothing."""
    return sched_ext.watched(plan.registered_name) if plan.type.name in sched_ext.TYPES else nullcontext()


def _check_link(plan: MapPlan, map_fd: Fd, link: Fd) -> None:
    if link_info(link).map_id != map_info(map_fd).id:
        raise StateError(
            f"{plan.registered_name} is not registered, though the kernel made a link",
            why="the link names no map: the subsystem ejected it at once",
            hint="the kernel log (dmesg) says why",
            type_name=plan.type.name,
        )


def _delete_quietly(map_id: int) -> None:
    """Unregister a map without a link, by id: the fds of its object are closed by the time that somebody undoes."""
    with suppress(KernelError), bpf.map_get_fd_by_id(map_id) as fd:
        bpf_maps.map_delete_elem(fd, KEY)


def registered_map(
    loaded: Loaded, plan: MapPlan, map_fd: Fd, link: Fd | None, pin: str | None, *, changed: bool = True
) -> Registered:
    """Return what the kernel says of one map, and of the loaded programs behind it."""
    info = map_info(map_fd)
    names = tuple(dict.fromkeys(item.program for item in plan.members if item.program))
    return Registered(
        variable=plan.variable,
        type_name=plan.type.name,
        name=plan.registered_name,
        map_id=info.id,
        map_name=info.name,
        link_id=link_info(link).id if link else None,
        pin=pin,
        state=MapState.REGISTERED,
        programs=tuple((name, prog_info(loaded.programs[name])) for name in names),
        link=link,
        legacy_fallback=plan.link_wanted and not plan.link,
        changed=changed,
    )


def _pin(plan: MapPlan, link: Fd, pin_dir: str, undo: ExitStack) -> tuple[str, bool]:
    path = pin_path(plan.registered_name, pin_dir)
    return path, pin_link(link, path, undo)
