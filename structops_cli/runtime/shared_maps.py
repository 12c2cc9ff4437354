"""Share maps by name: the first object pins a map in a bpffs, other objects open it."""

from __future__ import annotations

from contextlib import ExitStack
from errno import ENOENT

from structops_cli.errors import FitError, KernelError
from structops_cli.obj.spec import MapSpec
from structops_cli.runtime.loaded import Loaded, SharedMap
from structops_cli.runtime.pin_directory import DETACHED, Writers, open_pin
from structops_cli.runtime.pins import is_mounted, map_pin_path, pin_with_undo, prepare_pin_dir
from structops_cli.struct_ops.explain import explained
from structops_cli.syscall.fd import Fd
from structops_cli.syscall.info import MapInfo, ObjectType, map_info, object_type
from structops_cli.syscall.uapi import BPF_F_RDONLY_PROG, BpfMapType

COMPARED = ("map_type", "key_size", "value_size", "max_entries", "map_flags", "map_extra")
RESIZABLE = ("max_entries", "map_flags", "map_extra")
"""Attributes that the command line can change in the object's definition."""
READ_ONLY = frozenset({BpfMapType.DEVMAP, BpfMapType.DEVMAP_HASH})
"""The kernel adds BPF_F_RDONLY_PROG to these types (``dev_map_init_map``)."""


def open_pinned(spec: MapSpec, folder: str) -> Fd | None:
    """Open the map that is pinned under a name and own its fd; None if there is no pin.

    Raises ``FitError`` for a map with another definition, and ``StructopsError`` if another
    user could have pinned it.
    """
    path = map_pin_path(spec.name, folder)
    if not is_mounted(folder):
        return None
    try:
        fd = open_pin(path, Writers.TRUSTED)
    except KernelError as error:
        if error.errno == ENOENT:
            return None
        error.add(map=spec.name)
        raise explained(error, f"the pin {path} of map {spec.name} could not be opened") from None
    try:
        _check(spec, path, fd)
    except BaseException:
        fd.close()
        raise
    return fd


def pin_map(fd: Fd, spec: MapSpec, folder: str, undo: ExitStack) -> None:
    """Pin a new map under its name, and push the undo."""
    path = map_pin_path(spec.name, folder)
    if not folder.startswith(DETACHED):
        prepare_pin_dir(folder, undo, Writers.TRUSTED)
    try:
        pin_with_undo(fd, path, undo, Writers.TRUSTED)
    except KernelError as error:
        error.add(map=spec.name)
        raise explained(error, f"map {spec.name} could not be pinned at {path}") from None


def _check(spec: MapSpec, path: str, fd: Fd) -> None:
    what, hint = f"map {spec.name} cannot be the one that is pinned at {path}", f"unpin that one: rm {path}"
    pinned = object_type(fd)
    if pinned is not ObjectType.MAP:
        raise FitError(what, why=f"it is no map but a {pinned}", hint=hint, map=spec.name)
    wanted, there = _attributes(spec), _attributes(map_info(fd))
    different = [name for name in COMPARED if wanted[name] != there[name]]
    if different:
        why = "; ".join(
            f"{name} is {there[name]} there and {wanted[name]} in the object" for name in different
        )
        if all(name in RESIZABLE for name in different):
            words = " ".join(f"--map {spec.name}.{name}={there[name]}" for name in different)
            hint = f"share it with {words}, or {hint}"
        raise FitError(what, why=why, hint=hint, map=spec.name)


def _attributes(one: MapSpec | MapInfo) -> dict[str, int]:
    found: dict[str, int] = {name: getattr(one, name) for name in COMPARED}
    if one.map_type in READ_ONLY:
        found["map_flags"] |= BPF_F_RDONLY_PROG
    return found


def shared_maps(loaded: Loaded) -> tuple[SharedMap, ...]:
    """Return the maps of a loaded object that are pinned by name."""
    pinned = [spec.name for spec in loaded.spec.maps if spec.pinned_by_name]
    return tuple(
        SharedMap(
            name,
            map_info(loaded.maps[name]).id,
            map_pin_path(name, loaded.map_pin_dir),
            name in loaded.created,
        )
        for name in pinned
    )


def pin_maps(loaded: Loaded, undo: ExitStack) -> None:
    """Pin the new shared maps of an object, and push the undo."""
    for spec in new_shared_maps(loaded):
        pin_map(loaded.maps[spec.name], spec, loaded.map_pin_dir, undo)


def new_shared_maps(loaded: Loaded) -> tuple[MapSpec, ...]:
    """Return the maps to pin by name that had no pin when the object was loaded."""
    return tuple(spec for spec in loaded.spec.maps if spec.pinned_by_name and spec.name in loaded.created)
