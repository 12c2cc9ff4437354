"""Register objects, all or none of them whatever ends the process, and leave alone what is registered already."""

from __future__ import annotations

import os
from collections.abc import Callable, Container, Iterable, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext, suppress
from errno import EEXIST
from functools import partial
from typing import NamedTuple

from structops_cli.core.target import Target
from structops_cli.errors import KernelError, StructopsError
from structops_cli.obj.spec import ObjectSpec
from structops_cli.operations.standing import refuse_standing, standing
from structops_cli.operations.transaction import Change
from structops_cli.runtime.dead_pins import is_dead
from structops_cli.runtime.interrupts import from_here_uninterrupted
from structops_cli.runtime.loaded import Loaded
from structops_cli.runtime.objects import RegisteredObject, describe, keep, load_object
from structops_cli.runtime.pin_directory import Writers, open_pin
from structops_cli.runtime.pins import check_pin_dir, map_pin_path, pin_path, prepare_pin_dir, remove_pin
from structops_cli.runtime.registration import (
    Registered,
    described,
    refuse_unregisterable,
    refused,
    register,
    set_ready,
)
from structops_cli.runtime.shared_maps import new_shared_maps
from structops_cli.struct_ops.plan import MapPlan, Selection
from structops_cli.struct_ops.value import KEY
from structops_cli.syscall import bpf_maps, bpffs
from structops_cli.syscall.fd import Fd
from structops_cli.syscall.info import link_info, map_info

__all__ = [
    "Places",
    "changes_of",
    "load_all",
    "register_all",
    "rehearse",
    "undo_begun",
    "undone_at_death",
    "without_ids",
]


class Places(NamedTuple):
    """Where pins go: links (None: they are held by this process) and maps that are shared by name."""

    links: str | None
    maps: str = bpffs.DEFAULT


def load_all(
    specs: Iterable[ObjectSpec],
    target: Target,
    selection: Selection,
    owner: ExitStack,
    *,
    maps: str = bpffs.DEFAULT,
    check: bool = True,
) -> tuple[Loaded, ...]:
    """Load objects, which are the caller's by ``owner``; nothing lasts longer than they do."""
    return tuple(
        owner.enter_context(load_object(spec, target, selection, map_pin_dir=maps, check=check))
        for spec in specs
    )


def register_all(loaded: Sequence[Loaded], places: Places, held: ExitStack) -> tuple[RegisteredObject, ...]:
    """Register loaded objects.

    With a place for links all lasts when this returns, and no signal comes until
    the process ends. Without one, ``held`` gets what unregisters. What fails is
    undone when this raises, under the machine's lock and the guard, if there is one.
    """
    if places.links is None:
        return _register_held(loaded, places, held)
    with ExitStack() as folders:
        if any(plan.link for one in loaded for plan in one.plan.maps):
            prepare_pin_dir(places.links, folders)
        with _guard(loaded, places, folders), folders.pop_all() as undo:
            mine = _maps_of(loaded)
            done = tuple(_register_one(one, places.links, undo, mine) for one in loaded)
            from_here_uninterrupted()
            keep(undo, done)  # before a word is said: a reader that goes away undoes nothing
    return done


def _register_held(loaded: Sequence[Loaded], places: Places, held: ExitStack) -> tuple[RegisteredObject, ...]:
    """Register objects for as long as ``held`` is open, and this process there."""
    held.enter_context(undone_at_death(loaded, places, ExitStack()))
    refuse = partial(refuse_standing, mine=_maps_of(loaded), refused=True)
    with ExitStack() as undo:
        done = tuple(describe(one, register(one, None, undo, refuse), held=True) for one in loaded)
        held.push(undo.pop_all())
    return done


def _maps_of(loaded: Iterable[Loaded]) -> frozenset[int]:
    return frozenset(map_info(fd).id for one in loaded for fd in one.struct_ops.values())


def _register_one(loaded: Loaded, pin_dir: str, undo: ExitStack, mine: Container[int]) -> RegisteredObject:
    """Register one object; nothing of it lasts when all of it was registered before."""
    with ExitStack() as own:
        done = register(loaded, pin_dir, own, partial(standing, mine=mine, refused=True))
        if any(one.changed for one in done):
            undo.push(own.pop_all())
    return describe(loaded, done, held=False)


def _guard(loaded: Sequence[Loaded], places: Places, undo: ExitStack) -> AbstractContextManager[None]:
    """Return what undoes a half of it after SIGKILL; nothing where one effect is all that lasts."""
    effects = sum(len(one.plan.maps) + len(new_shared_maps(one)) for one in loaded)
    if effects < 2:
        return nullcontext()
    from structops_cli.operations.recovery import recovery_process  # rare

    return recovery_process(partial(_undo_all, loaded, places, undo))


def undone_at_death(
    loaded: Sequence[Loaded], places: Places, folders: ExitStack
) -> AbstractContextManager[None]:
    """Return what undoes a registration when this process dies within the block, which may last.

    Nothing where the kernel does that itself: a link that is not pinned goes with the process. ``folders`` is closed as
    well. The machine's lock is not held for it.
    """
    fds = [
        one.struct_ops[plan.variable]
        for one in loaded
        for plan in one.plan.maps
        if not plan.link or places.links is not None
    ]
    fds += [one.maps[spec.name] for one in loaded for spec in new_shared_maps(one)]
    if not fds:
        return nullcontext()
    from structops_cli.operations.recovery import recovery_process  # rare

    return recovery_process(partial(_undo_all, loaded, places, folders), keeping=[fd.fileno() for fd in fds])


def _undo_all(loaded: Iterable[Loaded], places: Places, folders: ExitStack) -> None:
    """Undo a registration of a process that is dead; ``folders`` has what was done before the child was made, whose own it is."""
    undo_begun(loaded, places)
    folders.close()


def undo_begun(loaded: Iterable[Loaded], places: Places) -> None:
    """Take away what of a registration lasts longer than its process: pins, and maps without links. Idempotent."""
    for one in loaded:
        for plan in one.plan.maps:
            fd = one.struct_ops[plan.variable]
            if not plan.link:
                with suppress(KernelError):  # never registered
                    bpf_maps.map_delete_elem(fd, KEY)
            elif places.links is not None:
                map_id = map_info(fd).id
                _unpin(
                    pin_path(plan.registered_name, places.links), map_id, lambda pin: link_info(pin).map_id
                )
        for spec in new_shared_maps(one):
            _unpin(
                map_pin_path(spec.name, one.map_pin_dir),
                map_info(one.maps[spec.name]).id,
                lambda pin: map_info(pin).id,
            )


def _unpin(path: str, map_id: int, map_of: Callable[[Fd], int]) -> None:
    """Remove a pin if it is of that map; another's stays."""
    with suppress(StructopsError, OSError):
        with open_pin(path, Writers.ANYBODY) as fd:
            mine = map_of(fd) == map_id
        if mine:
            remove_pin(path)


# Before and after


def rehearse(loaded: Sequence[Loaded], places: Places) -> tuple[RegisteredObject, ...]:
    """Do what registering does up to where it would be seen, and return what it would say; what will get ids has none."""
    if places.links is not None and any(plan.link for one in loaded for plan in one.plan.maps):
        check_pin_dir(places.links)
    return tuple(
        describe(
            one, tuple(_rehearse_one(one, plan, places) for plan in one.plan.maps), held=places.links is None
        )
        for one in loaded
    )


def _rehearse_one(loaded: Loaded, plan: MapPlan, places: Places) -> Registered:
    refuse_unregisterable(plan)
    if places.links is None:
        refuse_standing(loaded, plan)
    elif (there := standing(loaded, plan)) is not None:
        return there
    path = pin_path(plan.registered_name, places.links) if plan.link and places.links else None
    dead = path is not None and is_dead(path, Writers.CALLER)
    _refuse_taken(loaded, plan, None if dead else path)
    if plan.link:
        set_ready(loaded, plan)
    one = described(loaded, plan, loaded.struct_ops[plan.variable], None, path)
    return without_ids(one)._replace(replaced_pin=dead)


def without_ids(one: Registered) -> Registered:
    """Return a description of what is loaded for a rehearsal: its ids will be those of nothing."""
    programs = tuple((name, info._replace(id=0)) for name, info in one.programs)
    return one._replace(map_id=0, programs=programs)


def _refuse_taken(loaded: Loaded, plan: MapPlan, path: str | None) -> None:
    """Raise what the kernel would answer where a name or a pin's path is taken."""
    from structops_cli.runtime.checking import taken_names

    operation = ""
    if (plan.type.name, plan.registered_name) in taken_names():
        operation = "LINK_CREATE" if plan.link else "MAP_UPDATE_ELEM"
    elif path is not None and os.path.lexists(path):
        operation = "OBJ_PIN"
    if operation:
        raise refused(
            KernelError(f"{operation} failed", errno=EEXIST, operation=operation), plan, loaded, path
        )


def changes_of(done: Iterable[RegisteredObject]) -> list[Change]:
    """Return what each registration changed; a map that is still to be made has the id None."""
    return [_change(one) for item in done for one in item.registered]


def _change(one: Registered) -> Change:
    after = {"state": one.state, "map_id": one.map_id or None}
    before = {"state": None, "map_id": None} if one.changed else after
    return Change(f"{one.type_name} {one.name}", before, after)
