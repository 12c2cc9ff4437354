"""List the versions of one name, and keep replaced versions by pins.

A kept version is a map of the type and name of the registered one. It is pinned at
``kept/NAME/ID`` below the directory of the link's pin. The path only marks the version as
kept; the id of the pinned map comes from the kernel.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from contextlib import ExitStack, suppress
from errno import EEXIST, ENOENT
from typing import NamedTuple

from structops_cli.errors import KernelError, NotFoundError, StructopsError
from structops_cli.runtime.identity import identity_of_live
from structops_cli.runtime.live_map import LiveMap, LiveProgram, MapState, programs_of
from structops_cli.runtime.pin_directory import Writers, exposure_of, open_pin, remove_if_empty
from structops_cli.runtime.pins import (
    DEFAULT_PIN_DIR,
    KEPT_FOLDER,
    PIN_FOLDER,
    is_safe,
    pin_path,
    pin_with_undo,
    prepare_pin_dir,
    remove_pin,
)
from structops_cli.shell_words import shell_words
from structops_cli.struct_ops.explain import explained
from structops_cli.struct_ops.kinds import kind_of
from structops_cli.syscall import bpf
from structops_cli.syscall.fd import Fd
from structops_cli.syscall.info import map_info, prog_info

KEPT_VERSIONS = 5
"""Default number of replaced versions of a name that stay pinned; older ones are removed."""


class Version(NamedTuple):
    """One version: registered, kept (``pin`` is its path), or referenced by something else.

    ``kept_ns`` is the time of its replacement, in nanoseconds since the epoch, 0 if it is not
    kept. ``loaded_ns`` is the load time of its programs, in nanoseconds of CLOCK_BOOTTIME.
    """

    live: LiveMap
    pin: str
    kept_ns: int
    loaded_ns: int
    digest: str
    programs: tuple[LiveProgram, ...]

    @property
    def is_current(self) -> bool:
        """Whether this version is registered."""
        return self.live.state == MapState.REGISTERED

    @property
    def word(self) -> str:
        """``current``, ``kept``, or the state of a map that is neither."""
        return "current" if self.is_current else "kept" if self.pin else self.live.state


def versions_of(stock: Iterable[LiveMap], type_name: str, name: str) -> tuple[Version, ...]:
    """Return all versions of one name: the registered one, the kept ones, then the others.

    The version that was replaced last is the first of the kept ones. Leaves out a version
    that was freed meanwhile. Raises ``KernelError`` if a version cannot be inspected, because
    without it the order would be wrong.
    """
    alike = [item for item in stock if (item.type.name, item.name) == (type_name, name)]
    found = [version for item in alike if (version := _version(item)) is not None]
    return tuple(
        sorted(found, key=lambda one: (not one.is_current, -one.kept_ns, -one.loaded_ns, -one.live.info.id))
    )


def all_versions(maps: Sequence[LiveMap], name: str | None = None) -> tuple[Version, ...]:
    """Return the versions of one name, or of all registered and kept names, sorted by name.

    Raises ``NotFoundError`` if no map has the name.
    """
    keys = {
        (live.name, live.type.name)
        for live in maps
        if live.name == name or (name is None and (live.state == MapState.REGISTERED or kept_pins(live)))
    }
    found = tuple(one for key, type_name in sorted(keys) for one in versions_of(maps, type_name, key))
    if name is not None and not found:
        raise NotFoundError(f"no version of {name} is here", hint="structops list shows what there is")
    return found


def _version(live: LiveMap) -> Version | None:
    # a pin of another user does not mark a version as kept
    pins = [path for path in kept_pins(live) if not ((found := exposure_of(path)) and found.is_foreign)]
    try:
        programs, digest = programs_of(live), identity_of_live(live).digest
        kept_ns = os.lstat(pins[0]).st_mtime_ns if pins else 0
    except FileNotFoundError:  # no longer kept
        return None
    except KernelError as error:
        if error.errno == ENOENT:  # freed meanwhile
            return None
        raise explained(error, f"version id:{live.info.id} of {live.name} could not be looked at") from None
    # if the programs are unknown, the map id gives the order: later maps have higher ids
    loaded = max((item.info.loaded_ns for item in programs), default=live.info.id if live.type.unread else 0)
    return Version(live, pins[0] if pins else "", kept_ns, loaded, digest, programs)


def loaded_ns(live: LiveMap) -> int:
    """Return the load time of a map's youngest program, in nanoseconds of CLOCK_BOOTTIME."""
    found = [0]
    for program_id in live.program_ids:
        with bpf.prog_get_fd_by_id(program_id) as fd:
            found.append(prog_info(fd).loaded_ns)
    return max(found)


def kept_pins(live: LiveMap) -> tuple[str, ...]:
    """Return the pins ``kept/NAME/ID`` with the id of a map. NAME may be any name."""
    return tuple(path for path in live.pins if path.split("/")[-3::2] == [KEPT_FOLDER, str(live.info.id)])


def pin_folder(live: LiveMap) -> str:
    """Return the directory of the path that ``pin_of`` returns."""
    return os.path.dirname(pin_of(live))


def pin_of(live: LiveMap) -> str:
    """Return the pin of a live map's link, if other users cannot write to its directory.

    Otherwise returns the path of its name in the default pin directory.
    """
    pins = (pin for link in live.links for pin in link.pins)
    return next(filter(is_safe, pins), pin_path(live.name, DEFAULT_PIN_DIR))


def kept_path(live: LiveMap, folder: str) -> str:
    """Return the path that keeps a replaced version; ``folder`` is that of the link's pin."""
    return f"{folder}/{_place(live)}"


def _place(live: LiveMap) -> str:
    return f"{pin_path(live.name, KEPT_FOLDER)}/{live.info.id}"


def keep(map_fd: Fd, path: str, undo: ExitStack) -> None:
    """Pin a map before its replacement, and push the removal on ``undo``.

    Does nothing if the path already pins the map.
    """
    try:
        prepare_pin_dir(os.path.dirname(path), undo)
        pin_with_undo(map_fd, path, undo)
    except KernelError as error:
        if error.errno == EEXIST and holds(path, map_info(map_fd).id):
            return
        raise explained(error, f"the version that is to be replaced could not be kept at {path}") from None


def holds(path: str, map_id: int) -> bool:
    """Tell whether a pin is of the map ``map_id``."""
    with suppress(KernelError), open_pin(path, Writers.TRUSTED) as fd:
        return map_info(fd).id == map_id
    return False


class Dropped(NamedTuple):
    """Removed pins of kept versions, and those that could not be removed."""

    gone: tuple[str, ...] = ()
    still_there: tuple[str, ...] = ()


def drop(pins: Iterable[str]) -> Dropped:
    """Remove pins of kept versions, and then the empty folders.

    Raises no error, because the change before it is already made.
    """
    gone, still_there = [], []
    for path in pins:
        try:
            remove_pin(path)
        except (OSError, StructopsError):
            still_there.append(path)
            continue
        gone.append(path)
        folder = os.path.dirname(path)
        while os.path.basename(os.path.dirname(folder)) == KEPT_FOLDER or os.path.basename(folder) in (
            KEPT_FOLDER,
            PIN_FOLDER,
        ):
            if not remove_if_empty(folder):
                break
            folder = os.path.dirname(folder)
    return Dropped(tuple(gone), tuple(still_there))


def needs_restart(live: LiveMap) -> bool:
    """Tell whether a registered map can only be replaced by unregistering it first."""
    return live.state == MapState.REGISTERED and (
        not live.links or not kind_of(live.type.name).registration.replaceable
    )


def users_of(live: LiveMap) -> int:
    """Return the number of references of a registered map, as ``list_maps`` counted them.

    The registration itself, which counts as one, is not included.
    """
    return max(live.refcnt - 1, 0)


def not_kept(name: str, wanted: int | None, kept: Iterable[Version]) -> NotFoundError:
    """Return the error of a rollback to a version that is not kept."""
    there = ", ".join(f"id:{one.live.info.id}" for one in kept)
    return NotFoundError(
        f"version id:{wanted} of {name} is not kept" if wanted else f"no version of {name} is kept",
        why=f"kept are: {there}"
        if there
        else "no update has replaced one since it was registered, or --keep dropped what it replaced",
        hint=shell_words("structops", "versions", name),
    )
