"""What this project has to remember until it is taken back: defaults before it changed them, and routes that it made.

The kernel holds it, in a BPF hash map that is pinned beside the links: no file can disagree
with a kernel that was booted anew. What it says is compared with the kernel whenever it
is read, for others write the same sysctls and routes. The pin goes with the last entry.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from contextlib import ExitStack
from errno import ENOENT
from types import TracebackType
from typing import NamedTuple, Self

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

__all__ = [
    "MEMORY_PATH",
    "Memory",
    "RememberedDefault",
    "RememberedRoute",
    "RouteKey",
]

MEMORY_PATH = f"{DEFAULT_PIN_DIR}/{STATE_NAME}"
"""No link is pinned under this name: ``pin_path`` reserves it."""
MAP_NAME = "structops_memor"
MAX_ENTRIES = 1 << 16
DEFAULT, ROUTE = 1, 2
"""The two sorts of entry."""
KEY = struct.Struct("<IIQII16sB7x")
"""Sort, address family, namespace, table, priority, destination, its prefix length."""
VALUE = struct.Struct("<16s16sII8x")
"""What we set, what was before, flags, type of service."""
LOCKED = 1


class RememberedDefault(NamedTuple):
    """The default of a namespace (by ``namespace_identity``): what it was before we set it to ``name``."""

    namespace: int
    previous: str
    name: str


class RouteKey(NamedTuple):
    """What tells one route of a namespace from the others. ``destination`` has the family's 4 or 16 bytes."""

    namespace: int
    family: int
    table: int
    priority: int
    destination: bytes
    prefix_bits: int


class RememberedRoute(NamedTuple):
    """A route that we gave the congestion control ``name``."""

    key: RouteKey
    name: str
    locked: bool


class Memory:
    """The entries as they are now. A context manager that owns the map, if there is one.

    Reading makes nothing. The first entry makes the map and its pin, and
    ``tidy`` removes both when nothing is left to remember: who writes holds the
    machine's lock.
    """

    def __init__(self, path: str = MEMORY_PATH) -> None:
        self.path = path
        self._map: Fd | None = None

    def __enter__(self) -> Self:
        self._map = _open(self.path)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._map is not None:
            self._map.close()
            self._map = None

    # Reading

    def defaults(self) -> dict[int, RememberedDefault]:
        """Return what is remembered of namespaces' defaults, by namespace."""
        found = {}
        for key, value in self._entries():
            if key[0] == DEFAULT:
                name, previous, *_ = VALUE.unpack(value)
                found[key[2]] = RememberedDefault(key[2], _text(previous), _text(name))
        return found

    def routes(self) -> dict[RouteKey, RememberedRoute]:
        """Return what is remembered of routes."""
        found = {}
        for (sort, family, namespace, table, priority, destination, bits), value in self._entries():
            if sort == ROUTE:
                name, _, flags, _ = VALUE.unpack(value)
                key = RouteKey(
                    namespace, family, table, priority, destination[: _address_bytes(family)], bits
                )
                found[key] = RememberedRoute(key, _text(name), bool(flags & LOCKED))
        return found

    def _entries(self) -> Iterator[tuple[tuple[int, int, int, int, int, bytes, int], bytes]]:
        if (found := self._found()) is None:
            return
        key: bytes | None = None
        for _ in range(MAX_ENTRIES):
            try:
                key = bpf_maps.map_get_next_key(found, key, KEY.size)
                value = bpf_maps.map_lookup_elem(found, key, VALUE.size)
            except KernelError as error:
                if error.errno == ENOENT:  # that was the last one, or somebody has just removed it
                    return
                raise
            yield KEY.unpack(key), value

    # Writing

    def remember_default(self, entry: RememberedDefault) -> None:
        """Remember what a namespace's default was; an older entry of the namespace is overwritten."""
        self._write(_default_key(entry.namespace), VALUE.pack(_name(entry.name), _name(entry.previous), 0, 0))

    def forget_default(self, namespace: int) -> None:
        """Forget a namespace's default; without an entry there is nothing to do."""
        self._delete(_default_key(namespace))

    def remember_route(self, entry: RememberedRoute) -> None:
        """Remember what we gave a route; an older entry of the same route is overwritten."""
        self._write(
            _route_key(entry.key), VALUE.pack(_name(entry.name), b"", LOCKED if entry.locked else 0, 0)
        )

    def forget_route(self, key: RouteKey) -> None:
        """Forget a route; without an entry there is nothing to do."""
        self._delete(_route_key(key))

    def namespaces(self) -> set[int]:
        """Return the namespaces of which anything is remembered."""
        return {key[2] for key, _ in self._entries()}

    def forget_namespace(self, namespace: int) -> None:
        """Forget all that is remembered of a namespace."""
        self.forget_default(namespace)
        for key in [key for key in self.routes() if key.namespace == namespace]:
            self.forget_route(key)

    def tidy(self) -> None:
        """Remove the pin, and the folder if nothing else is in it, when there is nothing to remember.

        An empty map does no harm, so a failure is tried once more and is none.
        """
        for _ in range(2):
            try:
                if self._found() is None or next(self._entries(), None) is not None:
                    return
                with uninterrupted():
                    self._unpin()
            except (OSError, KernelError):
                continue
            else:
                return

    def _unpin(self) -> None:
        remove_pin(self.path)
        if self._map is not None:
            self._map.close()
            self._map = None
        if os.path.basename(folder := os.path.dirname(self.path)) == PIN_FOLDER:
            remove_if_empty(folder)

    def _write(self, key: bytes, value: bytes) -> None:
        try:
            bpf_maps.map_update_elem(self._made(), key, value)
        except KernelError as error:
            raise explained(error, f"{self.path} takes no entry") from None

    def _delete(self, key: bytes) -> None:
        if (found := self._found()) is None:
            return
        try:
            bpf_maps.map_delete_elem(found, key)
        except KernelError as error:
            if error.errno != ENOENT:
                raise explained(error, f"{self.path} does not let go of an entry") from None

    def _found(self) -> Fd | None:
        """Return the map if there is one: the guard of a run that has died was made before that run made it."""
        if self._map is None:
            self._map = _open(self.path)
        return self._map

    def _made(self) -> Fd:
        """Return the map; make and pin it when there is none."""
        if (found := self._found()) is not None:
            return found
        with ExitStack() as undo:
            prepare_pin_dir(os.path.dirname(self.path), undo)
            made = undo.enter_context(_create())
            try:
                pin_with_undo(made, self.path, undo)
            except KernelError as error:
                raise explained(error, f"{self.path} could not be pinned") from None
            undo.pop_all()
        self._map = made
        return made


def _create() -> Fd:
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
        raise explained(
            error, "the map that remembers what is to be taken back could not be created"
        ) from None


def _open(path: str) -> Fd | None:
    """Open what is pinned, and make sure that it is ours; None when there is none."""
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
        why=f"somebody else's object is in its place: {why}",
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
