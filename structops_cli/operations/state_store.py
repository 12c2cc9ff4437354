"""Save the previous defaults and changed routes until they are restored.

The entries are in a BPF hash map that is pinned beside the links, so they end with the
boot that they describe. Readers compare them with the kernel, because other programs
write the same sysctls and routes.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, nullcontext, suppress
from errno import ENOENT
from typing import NamedTuple

from structops_cli.errors import KernelError, NotPermittedError, StructopsError
from structops_cli.runtime.interrupts import uninterrupted
from structops_cli.runtime.pin_directory import Writers, open_pin, remove_if_empty
from structops_cli.runtime.pins import (
    DEFAULT_PIN_DIR,
    PIN_FOLDER,
    STATE_NAME,
    check_lasting,
    is_mounted,
    pin_with_undo,
    prepare_pin_dir,
    remove_pin,
)
from structops_cli.runtime.probes import NO_ROOM
from structops_cli.struct_ops.explain import explained
from structops_cli.syscall import bpf_maps
from structops_cli.syscall.fd import Fd
from structops_cli.syscall.info import ObjectType, map_info, object_type
from structops_cli.syscall.uapi import BPF_F_NO_PREALLOC, TCP_CA_NAME_MAX, BpfMapType

STATE_PATH = f"{DEFAULT_PIN_DIR}/{STATE_NAME}"
"""No link is pinned under this name: ``pin_path`` reserves it."""
MAP_NAME = "structops_memor"
MAX_ENTRIES = 1 << 16
DEFAULT, ROUTE = 1, 2
"""The two types of entry."""
KEY = struct.Struct("<IIQII16sB7x")
"""Type of entry, address family, namespace, table, priority, destination, prefix length."""
VALUE = struct.Struct("<16s16sII8x")
"""The name that was set, the name before, flags, type of service."""
LOCKED = 1


class SavedDefault(NamedTuple):
    """The default of a namespace (``namespace_identity``) before structops set ``name``."""

    namespace: int
    previous: str
    name: str


class RouteKey(NamedTuple):
    """Identifies one route of a namespace. ``destination`` has the family's 4 or 16 bytes."""

    namespace: int
    family: int
    table: int
    priority: int
    destination: bytes
    prefix_bits: int


class SavedRoute(NamedTuple):
    """A route to which structops gave the congestion control ``name``."""

    key: RouteKey
    name: str
    locked: bool


class StateStore:
    """The saved entries. The first one creates the map and its pin, the last one removes both.

    Each call opens the pin anew, because another process, such as the recovery process,
    may have made or removed it. A writer holds the lock file.
    """

    def __init__(self, path: str = STATE_PATH) -> None:
        self.path = path

    # Reading

    def defaults(self) -> dict[int, SavedDefault]:
        """Return the saved defaults by namespace."""
        found = {}
        for key, value in self._entries():
            if key[0] == DEFAULT:
                name, previous, *_ = VALUE.unpack(value)
                found[key[2]] = SavedDefault(key[2], _text(previous), _text(name))
        return found

    def routes(self) -> dict[RouteKey, SavedRoute]:
        """Return the saved routes."""
        found = {}
        for (sort, family, namespace, table, priority, destination, bits), value in self._entries():
            if sort == ROUTE:
                name, _, flags, _ = VALUE.unpack(value)
                key = RouteKey(
                    namespace, family, table, priority, destination[: _address_bytes(family)], bits
                )
                found[key] = SavedRoute(key, _text(name), bool(flags & LOCKED))
        return found

    def namespaces(self) -> set[int]:
        """Return the namespaces that have an entry."""
        return {key[2] for key, _ in self._entries()}

    def _entries(self) -> list[tuple[tuple[int, int, int, int, int, bytes, int], bytes]]:
        with _open(self.path) or nullcontext() as fd:
            return [] if fd is None else list(_entries_of(fd))

    # Writing

    def save_default(self, entry: SavedDefault) -> None:
        """Save the previous default of a namespace; it replaces an older entry of the namespace."""
        self._write(_default_key(entry.namespace), VALUE.pack(_name(entry.name), _name(entry.previous), 0, 0))

    def delete_default(self, namespace: int) -> None:
        """Delete the entry of a namespace's default, if there is one."""
        self._delete([_default_key(namespace)])

    def save_route(self, entry: SavedRoute) -> None:
        """Save a route; it replaces an older entry of the same route."""
        self._write(
            _route_key(entry.key), VALUE.pack(_name(entry.name), b"", LOCKED if entry.locked else 0, 0)
        )

    def delete_route(self, key: RouteKey) -> None:
        """Delete the entry of a route, if there is one."""
        self._delete([_route_key(key)])

    def delete_namespace(self, namespace: int) -> None:
        """Delete all entries of a namespace."""
        routes = [_route_key(key) for key in self.routes() if key.namespace == namespace]
        self._delete([_default_key(namespace), *routes])

    def _write(self, key: bytes, value: bytes) -> None:
        with _open(self.path) or self._create() as fd:
            try:
                bpf_maps.map_update_elem(fd, key, value)
            except KernelError as error:
                self._unpin_if_empty(fd)
                raise explained(error, f"{self.path} takes no entry") from None

    def _delete(self, keys: Sequence[bytes]) -> None:
        with _open(self.path) or nullcontext() as fd:
            if fd is None:
                return
            try:
                for key in keys:
                    _delete_elem(fd, key)
            except KernelError as error:
                raise explained(error, f"an entry of {self.path} cannot be deleted") from None
            self._unpin_if_empty(fd)

    def _unpin_if_empty(self, fd: Fd) -> None:
        """Remove the pin of a map without entries, and the folder if it is empty.

        An empty map does no harm: a failure is tried once more, and ignored.
        """
        for _ in range(2):
            with suppress(OSError, KernelError):
                if next(_entries_of(fd), None) is None:
                    with uninterrupted():
                        remove_pin(self.path)
                        if os.path.basename(folder := os.path.dirname(self.path)) == PIN_FOLDER:
                            remove_if_empty(folder)
                return

    def _create(self) -> Fd:
        """Create the map and pin it."""
        with ExitStack() as undo:
            prepare_pin_dir(os.path.dirname(self.path), undo)
            made = undo.enter_context(_create_map())
            try:
                pin_with_undo(made, self.path, undo)
            except KernelError as error:
                raise explained(error, f"{self.path} could not be pinned") from None
            undo.pop_all()
        return made


def _entries_of(fd: Fd) -> Iterator[tuple[tuple[int, int, int, int, int, bytes, int], bytes]]:
    key: bytes | None = None
    for _ in range(MAX_ENTRIES):
        try:
            key = bpf_maps.map_get_next_key(fd, key, KEY.size)
            value = bpf_maps.map_lookup_elem(fd, key, VALUE.size)
        except KernelError as error:
            if error.errno == ENOENT:  # the end, or another process has just deleted the entry
                return
            raise
        yield KEY.unpack(key), value


def _delete_elem(fd: Fd, key: bytes) -> None:
    try:
        bpf_maps.map_delete_elem(fd, key)
    except KernelError as error:
        if error.errno != ENOENT:
            raise


def _create_map() -> Fd:
    try:
        return bpf_maps.map_create(
            BpfMapType.HASH,
            key_size=KEY.size,
            value_size=VALUE.size,
            max_entries=MAX_ENTRIES,
            name=MAP_NAME,
            map_flags=BPF_F_NO_PREALLOC,
        )
    except KernelError as error:
        raise explained(error, "the map of the saved state could not be created") from None


def _open(path: str) -> Fd | None:
    """Open the pinned map; None if there is none. Raise if it is not a map of structops."""
    if not is_mounted(path):
        check_lasting(path)
        return None
    try:
        fd = open_pin(path, Writers.TRUSTED)
    except KernelError as error:
        if error.errno == ENOENT:
            check_lasting(path)
            return None
        if error.errno in NO_ROOM or (isinstance(error, NotPermittedError) and os.geteuid() != 0):
            raise explained(error, f"{path} cannot be opened") from None
        raise _not_ours(path, "it is no map") from None
    try:
        _check_ours(path, fd)
    except BaseException:
        fd.close()
        raise
    return fd


def _check_ours(path: str, fd: Fd) -> None:
    if object_type(fd) is not ObjectType.MAP:
        raise _not_ours(path, "it is a program or a link")
    info = map_info(fd)
    shape = (info.map_type, info.key_size, info.value_size, info.name)
    if shape != (BpfMapType.HASH, KEY.size, VALUE.size, MAP_NAME):
        raise _not_ours(
            path,
            f"it is map {info.id} ({info.name}), with keys of {info.key_size} and values of {info.value_size} bytes",
        )


def _not_ours(path: str, why: str) -> StructopsError:
    return StructopsError(
        f"{path} is not what structops pins there",
        why=f"another program's object has this path: {why}",
        hint="find out whose it is, and remove or move that pin",
    )


def _default_key(namespace: int) -> bytes:
    return KEY.pack(DEFAULT, 0, namespace, 0, 0, b"", 0)


def _route_key(key: RouteKey) -> bytes:
    return KEY.pack(
        ROUTE, key.family, key.namespace, key.table, key.priority, key.destination, key.prefix_bits
    )


def _name(name: str) -> bytes:
    return name.encode()[: TCP_CA_NAME_MAX - 1]


def _text(raw: bytes) -> str:
    return raw.split(b"\0", 1)[0].decode("ascii", "replace")


def _address_bytes(family: int) -> int:
    """Return the length of an address; AF_INET is 2."""
    return 4 if family == 2 else 16
