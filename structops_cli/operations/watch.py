"""What changes: snapshots of maps, links and defaults, compared.

The kernel tells nobody of these changes, so they are looked for: what comes and goes
between two looks is missed. Nothing is held between them, neither a map nor a
link, for a watcher that holds a link keeps it registered.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from errno import ENOENT
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
"""Of a look in whose middle something was replaced."""
ALIVE = (MapState.REGISTERED, MapState.RETIRED, MapState.EJECTED)
SETTLE_S = 1.0
"""How long a link map that nobody saw registered may look retired before it is said.

LINK_CREATE and LINK_UPDATE hold the new map from their beginning, and name it in the link at their end: in between
(an RCU grace period in tcp_update_congestion_control) it looks like one that lost its link.
"""


class Event(NamedTuple):
    """One change; what does not belong to its kind is None.

    ``kind`` is one of ``registered``, ``replaced`` (the link names another map
    now: ``map_id`` in place of ``old_map_id``), ``detached``, ``retired``, ``ejected``, ``freed`` and
    ``default``, of the namespace ``netns``. ``holders`` is the kernel's count at
    that moment, a link included that is just being let go. ``time`` is that of the look, seconds since 1970.
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
    """One look: maps by id, the defaults by namespace, and links that are there and name no map."""

    time: float
    maps: Mapping[int, LiveMap]
    defaults: Mapping[int, DefaultReference]
    detached: frozenset[int]

    @property
    def links(self) -> dict[int, int]:
        """Link to map id."""
        return {link.id: live.info.id for live in self.maps.values() for link in live.links}


def compare(before: Snapshot, after: Snapshot) -> Iterator[Event]:
    """Go through what is different, in the order in which it must have happened."""
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
        is_new = old.cookie != use.cookie  # of another namespace, which has got the inode of one that is gone
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
        ):  # a link map that nothing holds but a descriptor or a pin: it may be linked again
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
    """Return the maps with those that are perhaps just being linked shown as ready, as long as SETTLE_S has not passed.

    ``since`` says from when on which map looked so, on the clock of ``now``, and is kept up to date.
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
    """Look at the kernel again and again; a context manager, for what reads the defaults stays loaded."""

    def __init__(self, kernel: KernelTypes) -> None:
        self._kernel = kernel
        self._defaults = DefaultsReader(kernel)
        self._last: Snapshot | None = None
        self._unsettled: dict[int, float] = {}

    def begin(self) -> Snapshot:
        """Take the look that the first ``changes`` compares with."""
        self._last = self._look(None)
        return self._last

    def changes(self) -> tuple[Event, ...]:
        """Look again and return what is different since the last look."""
        before = self._last or self.begin()
        self._last = self._look(before)
        return tuple(compare(before, self._last))

    def _look(self, before: Snapshot | None) -> Snapshot:
        for _ in range(TRIES):
            now = time.time()
            stock = {live.info.id: live for live in list_maps(self._kernel)}
            taken = Snapshot(now, stock, {}, frozenset())
            behind = {
                link_id: _map_behind(link_id)
                for link_id in (before.links if before else {}).keys() - taken.links.keys()
            }
            if not any(behind.values()):  # else it names a map after all: it was replaced in the middle
                break
        if before:
            shown = settled(before.maps, stock, self._unsettled, time.monotonic())
            taken = taken._replace(maps=shown)
        detached = frozenset(link_id for link_id, map_id in behind.items() if map_id == 0)
        return taken._replace(defaults={use.netns: use for use in self._defaults.read()}, detached=detached)

    def title(self, netns: int) -> str:
        """Return what people call a namespace."""
        return next((item.title for item in find_namespaces() if item.inode == netns), f"net:[{netns}]")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._defaults.close()


def _map_behind(link_id: int) -> int | None:
    """Return the map that a link names, 0 for none, None for a link that has gone."""
    try:
        with bpf.link_get_fd_by_id(link_id) as fd:
            return link_info(fd).map_id
    except KernelError as error:
        if error.errno == ENOENT:
            return None
        raise
