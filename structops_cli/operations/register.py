"""Register objects, all of them or none. A registered object stays as it is."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack, suppress
from errno import EEXIST
from functools import partial
from typing import NamedTuple

from structops_cli.core.target import Target
from structops_cli.errors import KernelError, StructopsError
from structops_cli.obj.spec import ObjectSpec
from structops_cli.operations.existing import find_existing, refuse_existing
from structops_cli.operations.ready_map import ReadyMap, is_registered
from structops_cli.operations.transaction import Caller, Change, Held, Step, Transaction, transaction
from structops_cli.runtime.loaded import Loaded
from structops_cli.runtime.objects import RegisteredObject, describe, load_object
from structops_cli.runtime.pin_directory import Writers, open_pin, remove_if_empty
from structops_cli.runtime.pins import (
    absent_directories,
    check_pin_dir,
    is_dead,
    is_mounted,
    map_pin_path,
    pin_path,
    prepare_pin_dir,
    remove_pin,
)
from structops_cli.runtime.registration import (
    Registered,
    refuse_unregisterable,
    register_map,
    registered_map,
    set_ready,
)
from structops_cli.runtime.registration_refusal import refusal
from structops_cli.runtime.shared_maps import new_shared_maps, pin_maps
from structops_cli.struct_ops.plan import MapPlan, Selection
from structops_cli.struct_ops.value import KEY
from structops_cli.syscall import bpf_maps, bpffs
from structops_cli.syscall.fd import Fd
from structops_cli.syscall.info import link_info, map_info


class PinDirs(NamedTuple):
    """The pin directories of links (None: this process holds them) and of shared maps."""

    links: str | None
    maps: str = bpffs.DEFAULT


class Registration(NamedTuple):
    """The registered objects, and the changes that were made or, in a dry run, would be made."""

    objects: tuple[RegisteredObject, ...]
    changes: tuple[Change, ...]


def register(
    specs: Iterable[ObjectSpec],
    target: Target,
    selection: Selection,
    pin_dirs: PinDirs,
    owner: ExitStack,
    *,
    check: bool = True,
    dry_run: bool = False,
    caller: Caller | None = None,
) -> Registration:
    """Load and register objects.

    ``owner`` owns the descriptors of the loaded objects. Without a pin directory for
    links it owns the registration too, and unregisters when it closes. ``check`` refuses
    an object that breaks a rule of this kernel before it is loaded.
    """
    loaded = [
        owner.enter_context(load_object(spec, target, selection, map_pin_dir=pin_dirs.maps, check=check))
        for spec in specs
    ]
    with transaction(dry_run=dry_run, caller=caller) as run:
        if pin_dirs.links is None:
            return hold_registered(run, loaded, pin_dirs, owner)[0]
        maps = _planned(loaded, pin_dirs, held=False)
        steps = _steps(loaded, maps, pin_dirs)
        commit = max(index for index, step in enumerate(steps) if step.change is not None)
        changes = run.steps(steps, commit=commit)
        _close_links(maps)
        return Registration(_objects(loaded, maps, held=False), changes)


def hold_registered(
    run: Transaction, loaded: Sequence[Loaded], pin_dirs: PinDirs, owner: ExitStack, *, lasts: bool = False
) -> tuple[Registration, Held]:
    """Register loaded objects for as long as ``owner`` is open and this process lives.

    ``lasts`` announces that the caller will keep the registration. Raises if a name is
    taken, even by an equal map.
    """
    maps = _planned(loaded, pin_dirs, held=True)
    held = run.hold(_steps(loaded, maps, pin_dirs), owner, keeping=_lasting(loaded, pin_dirs))

    def keep() -> None:
        held.keep()
        _close_links(maps)

    return Registration(_objects(loaded, maps, held=not lasts), held.changes), held._replace(keep=keep)


def _lasting(loaded: Sequence[Loaded], pin_dirs: PinDirs) -> list[int]:
    """Return the descriptors of maps that stay registered or pinned when this process dies."""
    fds = [
        one.struct_ops[plan.variable]
        for one in loaded
        for plan in one.plan.maps
        if not plan.link or pin_dirs.links is not None
    ]
    fds += [one.maps[spec.name] for one in loaded for spec in new_shared_maps(one)]
    return [fd.fileno() for fd in fds]


def _planned(loaded: Sequence[Loaded], pin_dirs: PinDirs, *, held: bool) -> list[_PlannedMap]:
    mine = frozenset(map_info(fd).id for one in loaded for fd in one.struct_ops.values())
    existing = partial(refuse_existing if held else find_existing, mine=mine)
    return [_PlannedMap(one, plan, pin_dirs.links, existing) for one in loaded for plan in one.plan.maps]


def _steps(loaded: Sequence[Loaded], maps: Sequence[_PlannedMap], pin_dirs: PinDirs) -> list[Step]:
    directories = [
        pin_dir_step(pin_dirs.links)
        for _ in maps[:1]
        if pin_dirs.links is not None and any(one.plan.link for one in maps)
    ]
    shared = {id(one): shared_map_steps(one) for one in loaded}
    steps = [*directories]
    for one in loaded:
        steps += shared[id(one)]
        steps += [item.step() for item in maps if item.loaded is one]
    for one in loaded:
        own = [item for item in maps if item.loaded is one]
        steps += [_undo_unless_used(step, own) for step in shared[id(one)]]
    return steps + [_undo_unless_used(step, maps) for step in directories]


def _undo_unless_used(step: Step, maps: Sequence[_PlannedMap]) -> Step:
    """Return the step that undoes an auxiliary step if all maps were registered already."""

    def do() -> None:
        if not any(one.is_changed for one in maps):
            step.undo()

    return Step(do, lambda: True)


def _objects(
    loaded: Sequence[Loaded], maps: Sequence[_PlannedMap], *, held: bool
) -> tuple[RegisteredObject, ...]:
    return tuple(
        describe(one, tuple(item.registered for item in maps if item.loaded is one), held=held)
        for one in loaded
    )


def _close_links(maps: Iterable[_PlannedMap]) -> None:
    """Close the links: their pins hold them."""
    for one in maps:
        if one.registered.link is not None:
            one.registered.link.close()


class _PlannedMap:
    """One map of a loaded object. Registers it, and undoes that."""

    def __init__(
        self, loaded: Loaded, plan: MapPlan, pin_dir: str | None, existing: Callable[..., Registered | None]
    ) -> None:
        refuse_unregisterable(plan)
        self.loaded = loaded
        self.plan = plan
        self._fd = loaded.struct_ops[plan.variable]
        self._pin_dir = pin_dir
        self._pin = pin_path(plan.registered_name, pin_dir) if plan.link and pin_dir is not None else None
        self._existing = existing
        self._made = ExitStack()
        self._registered: Registered | None = None

    @property
    def registered(self) -> Registered:
        """The registered map, after ``do`` or ``check``."""
        assert self._registered is not None
        return self._registered

    @property
    def is_changed(self) -> bool:
        """Whether ``do`` registered the map."""
        return self._registered is not None and self._registered.changed

    def step(self) -> Step:
        """Return the step that registers the map."""
        after = {"state": "registered", "map_id": None}
        before = {"state": None, "map_id": None}
        change = Change(f"{self.plan.type.name} {self.plan.registered_name}", before, after)
        atomic = not self.plan.link
        return Step(self._do, self._is_done, self._undo, change, self._check, atomic=atomic)

    def _do(self) -> Change:
        self._registered = register_map(
            self.loaded,
            self.plan,
            self._pin_dir,
            self._made,
            partial(self._existing, refused=True),
        )
        return _change(self._registered)

    def _is_done(self) -> bool:
        value = b"" if self.plan.link else self.loaded.value_of(self.plan)
        return is_registered(ReadyMap(self.plan.type, self._fd, value), [self._pin] if self._pin else [])

    def _undo(self) -> None:
        self._made.close()
        if not self.plan.link:
            with suppress(KernelError):  # it was never registered
                bpf_maps.map_delete_elem(self._fd, KEY)
        elif self._pin is not None:
            _unpin(self._pin, map_info(self._fd).id, lambda pin: link_info(pin).map_id)

    def _check(self) -> Change:
        """Do the part of ``_do`` that changes nothing on the system."""
        if (existing := self._existing(self.loaded, self.plan)) is not None:
            self._registered = existing
            return _change(existing)
        dead = self._pin is not None and is_dead(self._pin, Writers.CALLER)
        _refuse_taken(self.loaded, self.plan, None if dead else self._pin)
        if self.plan.link:
            set_ready(self.loaded, self.plan)
        one = registered_map(self.loaded, self.plan, self._fd, None, self._pin)
        self._registered = without_ids(one)._replace(replaced_pin=dead)
        return _change(self._registered)


def _change(one: Registered) -> Change:
    """Return the change of a registration; the id of a map that does not exist yet is None."""
    after = {"state": one.state, "map_id": one.map_id or None}
    before = {"state": None, "map_id": None} if one.changed else after
    return Change(f"{one.type_name} {one.name}", before, after)


def without_ids(one: Registered) -> Registered:
    """Return the description of a loaded map for a dry run: the ids go with the loaded object."""
    programs = tuple((name, info._replace(id=0)) for name, info in one.programs)
    return one._replace(map_id=0, programs=programs)


def _refuse_taken(loaded: Loaded, plan: MapPlan, path: str | None) -> None:
    """Raise the kernel's answer if the name or the path of the pin is taken."""
    from structops_cli.runtime.checking import taken_names  # only a dry run needs it

    operation = ""
    if (plan.type.name, plan.registered_name) in taken_names():
        operation = "LINK_CREATE" if plan.link else "MAP_UPDATE_ELEM"
    elif path is not None and os.path.lexists(path):
        operation = "OBJ_PIN"
    if operation:
        raise refusal(
            KernelError(f"{operation} failed", errno=EEXIST, operation=operation), plan, loaded, path
        )


# Auxiliary steps


def pin_dir_step(path: str, writers: Writers = Writers.CALLER) -> Step:
    """Return the step that makes a pin directory, and mounts the bpffs of the default one."""
    absent, mounted = absent_directories(path), is_mounted(path)
    made = ExitStack()

    def undo() -> None:
        made.close()
        for folder in absent:
            remove_if_empty(folder)
        if not mounted:
            with suppress(KernelError):  # it was not mounted
                bpffs.unmount()

    return Step(
        lambda: prepare_pin_dir(path, made, writers),
        lambda: not absent_directories(path),
        undo,
        check=lambda: check_pin_dir(path, writers),
    )


def shared_map_steps(loaded: Loaded) -> list[Step]:
    """Return the step that pins an object's new shared maps; none without such maps."""
    maps = new_shared_maps(loaded)
    if not maps:
        return []
    directory = pin_dir_step(loaded.map_pin_dir, Writers.TRUSTED)
    made = ExitStack()

    def undo() -> None:
        made.close()
        for spec in maps:
            path = map_pin_path(spec.name, loaded.map_pin_dir)
            _unpin(path, map_info(loaded.maps[spec.name]).id, lambda pin: map_info(pin).id)
        directory.undo()

    return [Step(lambda: pin_maps(loaded, made), lambda: True, undo)]


def _unpin(path: str, map_id: int, map_of: Callable[[Fd], int]) -> None:
    """Remove a pin if it is of the map ``map_id``."""
    with suppress(StructopsError, OSError):
        with open_pin(path, Writers.ANYBODY) as fd:
            mine = map_of(fd) == map_id
        if mine:
            remove_pin(path)
