"""Compare snapshots of maps, links and defaults, and report each difference as an event.

The kernel does not announce these changes. The watcher misses an object that exists only
between two snapshots. It holds no map and no link between them, because an open link stays
registered.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from errno import ENOENT
from math import inf
from types import TracebackType
from typing import TYPE_CHECKING, NamedTuple, Self

from structops_cli.errors import KernelError
from structops_cli.net.namespaces import find_namespaces
from structops_cli.operations.references import DefaultsReader
from structops_cli.runtime.holders import DefaultReference
from structops_cli.runtime.inventory import list_maps
from structops_cli.runtime.live_map import LiveMap, MapState
from structops_cli.struct_ops.kinds.tcp_congestion_ops import KIND as CONGESTION_CONTROL
from structops_cli.syscall import bpf
from structops_cli.syscall.info import link_info

if TYPE_CHECKING:
    from structops_cli.btf.kernel_types import KernelTypes

TRIES = 3
"""Attempts to take a snapshot, if a map is replaced in the middle."""
ALIVE = (MapState.REGISTERED, MapState.RETIRED, MapState.EJECTED)
SETTLE_S = 1.0
"""Time for which a new link map may look retired before the watcher reports it.

LINK_CREATE and LINK_UPDATE hold the new map from the start and name it in the link at the
end. In between (an RCU grace period in tcp_update_congestion_control) it looks retired.
"""


class Event(NamedTuple):
    """One change. A field that does not apply to its kind is None.

    ``kind`` is ``registered``, ``replaced`` (the link names ``map_id`` instead of
    ``old_map_id``), ``detached``, ``retired``, ``ejected``, ``freed`` or ``default`` (of the
    namespace ``netns``). ``holders`` is the kernel's count; it includes a link that the kernel
    is about to release. ``time`` is the time of the snapshot, in seconds since 1970.
    """

    kind: str
    time: float
    name: str
    type_name: str
    map_id: int | None = None
    old_map_id: int | None = None
    link_id: int | None = None
    holders: int | None = None
    reason: str | None = None
    netns: int | None = None
    before: str | None = None


class Snapshot(NamedTuple):
    """One snapshot: maps by id, defaults by namespace, and detached links, which name no map."""

    time: float
    maps: Mapping[int, LiveMap]
    defaults: Mapping[int, DefaultReference]
    detached: frozenset[int]

    @property
    def links(self) -> dict[int, int]:
        """The map id of each link."""
        return {link.id: live.info.id for live in self.maps.values() for link in live.links}


def compare(before: Snapshot, after: Snapshot) -> Iterator[Event]:
    """Yield the differences in the order in which the changes must have happened."""
    old_links = before.links
    replaced = set()
    for link_id, map_id in after.links.items():
        old_id = old_links.get(link_id, map_id)
        if old_id != map_id:
            replaced.add(map_id)
            yield _of(after, "replaced", after.maps[map_id], link_id=link_id, old_map_id=old_id)
    for link_id in sorted(after.detached & old_links.keys()):
        yield _of(after, "detached", before.maps[old_links[link_id]], link_id=link_id)
    yield from _of_maps(before, after, replaced)
    for netns, use in after.defaults.items():
        old = before.defaults.get(netns, use)
        is_new = old.cookie != use.cookie  # a new namespace may get the inode of a freed one
        if not is_new and (old.name, old.map_id) != (use.name, use.map_id):
            yield Event(
                "default",
                after.time,
                use.name,
                CONGESTION_CONTROL.name,
                map_id=use.map_id or None,
                old_map_id=old.map_id or None,
                netns=netns,
                before=old.name,
            )
    for map_id, live in before.maps.items():
        if map_id not in after.maps and live.state in ALIVE:
            if live.state != MapState.RETIRED:
                yield _of(after, "retired", live, holders=0)
            yield _of(after, "freed", live)


def _of_maps(before: Snapshot, after: Snapshot, replaced: set[int]) -> Iterator[Event]:
    for map_id, live in after.maps.items():
        was = before.maps[map_id].state if map_id in before.maps else None
        if live.state == was:
            continue
        if live.state == MapState.REGISTERED and map_id not in replaced:
            yield _of(after, "registered", live, link_id=live.links[0].id if live.links else None)
        elif live.state == MapState.RETIRED:
            yield _of(after, "retired", live, holders=live.refcnt)
        elif live.state == MapState.EJECTED:
            yield _of(after, "ejected", live, reason=live.reason)
        elif was in (
            MapState.REGISTERED,
            MapState.EJECTED,
        ):  # only a descriptor or a pin holds the link map: it may be linked again
            yield _of(after, "retired", live, holders=live.refcnt)


def _of(
    after: Snapshot,
    kind: str,
    live: LiveMap,
    *,
    link_id: int | None = None,
    old_map_id: int | None = None,
    holders: int | None = None,
    reason: str | None = None,
) -> Event:
    return Event(
        kind, after.time, live.name, live.type.name, live.info.id, old_map_id, link_id, holders, reason
    )


def settled(
    before: Mapping[int, LiveMap], stock: Mapping[int, LiveMap], since: dict[int, float], now: float
) -> dict[int, LiveMap]:
    """Return the maps, with the state READY for maps that may be in the middle of LINK_CREATE.

    Such a map gets its real state after SETTLE_S. ``since`` has the time, on the clock of
    ``now``, at which each map first looked retired; this function updates it.
    """
    shown = dict(stock)
    for map_id, live in stock.items():
        was = before[map_id].state if map_id in before else MapState.UNSET
        if live.state == MapState.RETIRED and live.is_link_map and was in (MapState.UNSET, MapState.READY):
            if now - since.setdefault(map_id, now) < SETTLE_S:
                shown[map_id] = live._replace(state=MapState.READY)
        else:
            since.pop(map_id, None)
    for map_id in since.keys() - stock.keys():
        del since[map_id]
    return shown


class Watcher:
    """Takes snapshots repeatedly. A context manager: it keeps its BPF programs loaded."""

    def __init__(self, kernel: KernelTypes) -> None:
        self._kernel = kernel
        self._defaults = DefaultsReader(kernel)
        self._last: Snapshot | None = None
        self._unsettled: dict[int, float] = {}

    def begin(self) -> Snapshot:
        """Take the snapshot that the first ``changes`` compares with."""
        self._last = self._look(None)
        return self._last

    def changes(self) -> tuple[Event, ...]:
        """Take a snapshot and return the changes since the last one."""
        before = self._last or self.begin()
        self._last = self._look(before)
        return tuple(compare(before, self._last))

    def events(
        self,
        interval_s: float,
        timeout_s: float | None = None,
        wait: Callable[[float], object] = time.sleep,
    ) -> Iterator[Event]:
        """Yield the changes of every ``interval_s`` seconds, for ``timeout_s`` seconds or for ever.

        ``wait`` receives the seconds to wait.
        """
        end = inf if timeout_s is None else time.monotonic() + timeout_s
        if self._last is None:
            self.begin()
        while (left := end - time.monotonic()) > 0:
            wait(min(interval_s, left))
            yield from self.changes()

    def _look(self, before: Snapshot | None) -> Snapshot:
        for _ in range(TRIES):
            now = time.time()
            stock = {live.info.id: live for live in list_maps(self._kernel)}
            taken = Snapshot(now, stock, {}, frozenset())
            behind = {
                link_id: _map_behind(link_id)
                for link_id in (before.links if before else {}).keys() - taken.links.keys()
            }
            if not any(behind.values()):  # else the link was updated in the middle of the snapshot
                break
        if before:
            shown = settled(before.maps, stock, self._unsettled, time.monotonic())
            taken = taken._replace(maps=shown)
        detached = frozenset(link_id for link_id, map_id in behind.items() if map_id == 0)
        return taken._replace(defaults={use.netns: use for use in self._defaults.read()}, detached=detached)

    def title(self, netns: int) -> str:
        """Return the title of a namespace."""
        return next((item.title for item in find_namespaces() if item.inode == netns), f"net:[{netns}]")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._defaults.close()


def _map_behind(link_id: int) -> int | None:
    """Return the id of the map that a link names, 0 for none, None if the link is freed."""
    try:
        with bpf.link_get_fd_by_id(link_id) as fd:
            return link_info(fd).map_id
    except KernelError as error:
        if error.errno == ENOENT:
            return None
        raise
