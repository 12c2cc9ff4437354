"""Open objects by bundled name or path, load them, and describe registered ones."""

from __future__ import annotations

import os
import stat
from collections.abc import Container, Iterable, Mapping
from contextlib import ExitStack
from typing import TYPE_CHECKING, NamedTuple

from structops_cli.core.target import Target
from structops_cli.errors import NotFoundError
from structops_cli.obj.needed_maps import UserHeld, user_held
from structops_cli.obj.reader import read_object
from structops_cli.obj.spec import ObjectSpec
from structops_cli.runtime.loaded import Loaded, SharedMap
from structops_cli.runtime.loader import load
from structops_cli.runtime.registration import Registered
from structops_cli.runtime.shared_maps import shared_maps
from structops_cli.shell_words import shell_words
from structops_cli.struct_ops.early import refuse_early
from structops_cli.struct_ops.plan import Plan, Selection, plan_object
from structops_cli.syscall import bpffs

if TYPE_CHECKING:
    from mmap import mmap
    from typing import BinaryIO

    from structops_cli.core.externs import Resolved
    from structops_cli.obj.settings import ChosenGlobals

DEFAULT_OBJECT = "reno"
"""The bundled object of ``register`` and ``demo`` without an argument."""
FOLDER = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "objects")
SUFFIX = ".bpf.o"
LARGEST_READ = 64 << 20
"""Bytes. A larger file is mapped, so that only the used pages are in memory."""
FILE_TYPES = {
    stat.S_IFBLK: "block device",
    stat.S_IFCHR: "character device",
    stat.S_IFDIR: "directory",
    stat.S_IFIFO: "pipe (FIFO)",
    stat.S_IFSOCK: "socket",
}


class RegisteredObject(NamedTuple):
    """The result of registering one object.

    ``missing`` are weak symbols that its programs could use, and that the kernel lacks or
    has with another prototype. ``unheld`` are maps that lose something because no process
    holds them.
    """

    spec: ObjectSpec
    plan: Plan
    registered: tuple[Registered, ...]
    shared_maps: tuple[SharedMap, ...] = ()
    missing: tuple[Resolved, ...] = ()
    unheld: tuple[UserHeld, ...] = ()


def bundled_objects() -> tuple[str, ...]:
    """Return the names of the objects in the package."""
    return tuple(sorted(name.removesuffix(SUFFIX) for name in os.listdir(FOLDER) if name.endswith(SUFFIX)))


def object_path(name: str) -> str:
    """Return the path of an object: itself with a slash or ``.o``, else of a bundled object.

    Raises ``NotFoundError`` for an unknown bundled name, even if a file has it.
    """
    if os.sep in name or name.endswith(".o"):
        return name
    if name in bundled_objects():
        return os.path.join(FOLDER, name + SUFFIX)
    raise NotFoundError(
        f"there is no bundled object {name}",
        why=f"a word without a slash names a bundled object: {', '.join(bundled_objects())}",
        hint=f"for the file of that name here write {shell_words(f'./{name}')}"
        if name and os.path.exists(name)
        else "give the path of a compiled object, with a slash or ending in .o",
        object=name,
    )


def open_object(
    name: str,
    data: bytes | mmap | None = None,
    *,
    constants: Mapping[str, str] = {},
    map_attributes: Mapping[tuple[str, str], str] = {},
    kernel_values: Container[str] = (),
) -> ObjectSpec:
    """Read an object by path or bundled name, with constants and attributes of maps changed.

    ``data`` are its bytes if the caller has them. Raises ``NotFoundError`` for a missing file,
    and ``InputError`` for a file that is no object. A constant among ``kernel_values`` is left
    out, unless the object has a variable of that name.
    """
    spec = read_object(object_bytes(name) if data is None else data, os.path.basename(object_path(name)))
    if constants:
        from structops_cli.obj.settings import with_constants  # rare

        own = {one.name for section in spec.data for one in section.variables}
        chosen = {key: text for key, text in constants.items() if key not in kernel_values or key in own}
        spec = with_constants(spec, chosen)
    if map_attributes:
        from structops_cli.obj.settings import with_map_attributes  # rare

        spec = with_map_attributes(spec, map_attributes)
    return spec


def object_bytes(name: str) -> bytes | mmap:
    """Return the bytes of an object by path or bundled name.

    Raises ``NotFoundError`` if there is no regular file.
    """
    try:
        with open(_open_regular(object_path(name)), "rb") as file:
            return _contents(file)
    except OSError as error:
        raise NotFoundError(
            f"the object {name} cannot be read",
            why=error.strerror or "",
            hint=f"give the path of a compiled object, or a bundled one: {', '.join(bundled_objects())}",
            object=name,
        ) from None


def _contents(file: BinaryIO) -> bytes | mmap:
    """Return the bytes of a file, mapped if it is large."""
    if os.fstat(file.fileno()).st_size <= LARGEST_READ:
        return file.read(LARGEST_READ)
    from mmap import ACCESS_READ, mmap  # few objects are large

    return mmap(file.fileno(), 0, access=ACCESS_READ)


def _open_regular(path: str) -> int:
    """Open a regular file, without opening a device or waiting for a FIFO."""
    _refuse_special(path, os.stat(path).st_mode)
    fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    try:
        _refuse_special(path, os.fstat(fd).st_mode)
    except BaseException:
        os.close(fd)
        raise
    return fd


def _refuse_special(path: str, mode: int) -> None:
    if stat.S_ISREG(mode):
        return
    raise NotFoundError(
        f"the object {path} cannot be read",
        why=f"it is a {FILE_TYPES.get(stat.S_IFMT(mode), 'special file')}, and an object is a regular file",
        hint="give a regular file; write what comes through a pipe into one first",
        object=path,
    )


def load_object(
    spec: ObjectSpec,
    target: Target,
    selection: Selection,
    *,
    map_pin_dir: str = bpffs.DEFAULT,
    check: bool = True,
) -> Loaded:
    """Plan and load one object; the caller owns the result, which has all fds.

    ``selection`` sets global variables and members first. With ``check``, an object that
    breaks a rule of this kernel is refused before any load. Shared maps are opened in
    ``map_pin_dir``.
    """
    chosen: tuple[ChosenGlobals, ...] = ()
    if selection.members:
        from structops_cli.obj.settings import chosen_globals, with_globals  # only --set needs it

        chosen = chosen_globals(spec, selection.members)
        spec, members = with_globals(spec, selection.members)
        selection = selection._replace(members=members)
    plan = plan_object(spec, target.kernel, selection)
    if check:
        refuse_early(spec, plan, target.kernel)
    loaded = load(spec, plan, target, map_pin_dir=map_pin_dir)
    loaded.chosen = chosen
    return loaded


def describe(loaded: Loaded, registered: tuple[Registered, ...], *, held: bool) -> RegisteredObject:
    """Describe a registered object; ``held`` if a process keeps its maps open."""
    missing = loaded.externs.missing() if loaded.externs else ()
    used = any(one.changed for one in registered)
    return RegisteredObject(
        loaded.spec,
        loaded.plan,
        registered,
        shared_maps(loaded) if used else (),
        missing,
        () if held or not used else _unheld(loaded),
    )


def _unheld(loaded: Loaded) -> tuple[UserHeld, ...]:
    pinned = {one.name for one in loaded.spec.maps if one.pinned_by_name}
    return tuple(one for one in user_held(loaded.spec) if one.name in loaded.maps.keys() - pinned)


def keep(undo: ExitStack, done: Iterable[RegisteredObject]) -> None:
    """Keep a registration: drop its undo, and close the links, which their pins hold."""
    undo.pop_all()
    for item in done:
        for one in item.registered:
            if one.link is not None:
                one.link.close()
