"""Register a loaded object, and read the state back.

The kernel can report success and register nothing. Each step pushes its undo before it
acts, so that an exception at any point, Ctrl-C included, can be undone.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack, nullcontext, suppress
from errno import EBUSY, EEXIST
from typing import NamedTuple, TypeAlias

from structops_cli.errors import KernelError, StateError, StructopsError, UsageError
from structops_cli.runtime import sched_ext
from structops_cli.runtime.live_map import MapState
from structops_cli.runtime.loaded import Loaded
from structops_cli.runtime.pins import pin_link, pin_path
from structops_cli.runtime.registration_refusal import refusal
from structops_cli.runtime.shared_maps import pin_maps
from structops_cli.struct_ops.kinds import kind_of
from structops_cli.struct_ops.plan import MapPlan
from structops_cli.struct_ops.value import KEY, read_state, state_name
from structops_cli.syscall import bpf, bpf_maps
from structops_cli.syscall.fd import Fd
from structops_cli.syscall.info import ProgInfo, link_info, map_info, prog_info
from structops_cli.syscall.uapi import StructOpsState


class Registered(NamedTuple):
    """One registered struct_ops map. The caller owns ``link``, None for a map without a link.

    ``changed`` is False if an equal map was registered before. ``replaced_pin`` tells whether
    ``pin`` replaced a dead pin.
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
"""Returns the live map that equals a plan, None if the name is free. Raises for another."""


def register(
    loaded: Loaded, pin_dir: str | None, undo: ExitStack, existing: FindExisting | None = None
) -> tuple[Registered, ...]:
    """Register every struct_ops map of a loaded object, and pin its new shared maps.

    Links are pinned in ``pin_dir``, an existing directory of a bpffs. With None the
    caller owns the link fds of the result instead. Every effect is pushed on ``undo``:
    ``undo.pop_all()`` keeps the registration. Raises ``UsageError`` before any effect
    for a type that exists for test runs only.
    """
    for plan in loaded.plan.maps:
        refuse_unregisterable(plan)
    pin_maps(loaded, undo)
    return tuple(register_map(loaded, plan, pin_dir, undo, existing) for plan in loaded.plan.maps)


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
    loaded: Loaded, plan: MapPlan, pin_dir: str | None, undo: ExitStack, existing: FindExisting | None = None
) -> Registered:
    """Register one struct_ops map of a loaded object; arguments as in ``register``."""
    path = pin_path(plan.registered_name, pin_dir) if pin_dir is not None else None
    try:
        return _by_link(loaded, plan, path, undo) if plan.link else _by_value(loaded, plan, undo)
    except StructopsError as error:
        if existing is not None and _is_taken(error) and (there := existing(loaded, plan)) is not None:
            return there
        raise _explained(error, loaded, plan, path) from None


def _by_link(loaded: Loaded, plan: MapPlan, path: str | None, undo: ExitStack) -> Registered:
    """Set the value, create the link, and pin it at ``path``."""
    map_fd = loaded.struct_ops[plan.variable]
    _update(plan, loaded, map_fd, StructOpsState.READY)
    with watch_for_ejection(plan):
        link = undo.enter_context(bpf.link_create(map_fd))
    _check_link(plan, map_fd, link)
    replaced = path is not None and pin_link(link, path, undo)
    return registered_map(loaded, plan, map_fd, link, path)._replace(replaced_pin=replaced)


def _by_value(loaded: Loaded, plan: MapPlan, undo: ExitStack) -> Registered:
    """Set the value of a map without a link, which registers it."""
    map_fd = loaded.struct_ops[plan.variable]
    undo.callback(_delete_quietly, map_info(map_fd).id)
    _update(plan, loaded, map_fd, StructOpsState.INUSE)
    return registered_map(loaded, plan, map_fd, None, None)


def set_ready(loaded: Loaded, plan: MapPlan) -> Fd:
    """Set the value of a link map, without registering it; return the fd of ``loaded``."""
    map_fd = loaded.struct_ops[plan.variable]
    try:
        _update(plan, loaded, map_fd, StructOpsState.READY)
    except StructopsError as error:
        raise _explained(error, loaded, plan) from None
    return map_fd


def _is_taken(error: StructopsError) -> bool:
    """Tell whether the error is about a taken name or a second map, not about a pin."""
    return isinstance(error, KernelError) and error.errno in (EEXIST, EBUSY) and error.operation != "OBJ_PIN"


def _explained(
    error: StructopsError, loaded: Loaded, plan: MapPlan, path: str | None = None
) -> StructopsError:
    """Add the object and the variable to an error, and the cause to the kernel's refusal."""
    if isinstance(error, KernelError):
        return refusal(error, plan, loaded, path)
    error.add(object=loaded.spec.name, variable=plan.variable)
    return error


def _update(plan: MapPlan, loaded: Loaded, map_fd: Fd, expected: StructOpsState) -> None:
    """Set the value of a map and check the resulting state."""
    bpf_maps.map_update_elem(map_fd, KEY, loaded.value_of(plan))
    state, _ = read_state(plan.type, bpf_maps.map_lookup_elem(map_fd, KEY, plan.type.value.size_bytes))
    if state != expected:
        raise StateError(
            f"{plan.registered_name} is not registered, though the kernel reported success",
            why=f"the map's state is {state_name(state)} and not {state_name(expected)}",
            hint="a member that the kernel owns, such as owner, must be zero in the object",
            type_name=plan.type.name,
        )


def watch_for_ejection(plan: MapPlan) -> AbstractContextManager[None]:
    """Watch for a scheduler that the kernel ejects right after LINK_CREATE.

    Does nothing for other types.
    """
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
    """Unregister a map without a link by its id: at an undo its fd is closed already."""
    with suppress(KernelError), bpf.map_get_fd_by_id(map_id) as fd:
        bpf_maps.map_delete_elem(fd, KEY)


def registered_map(
    loaded: Loaded, plan: MapPlan, map_fd: Fd, link: Fd | None, pin: str | None, *, changed: bool = True
) -> Registered:
    """Describe a registered map and its loaded programs from the kernel's info."""
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
