"""Report the state of every struct_ops map, and the objects that hold it.

``refcnt`` of a map's value counts sockets, namespaces whose default the map is, links,
and a registration without a link. It counts no descriptors and no pins of the map. Tested
on 5.10, 6.1, 6.12, 6.18 and 7.3.

A counted reference that is not found is unexplained. It has leaked if everything could be
inspected. A socket looks the same if it is in no table and no process has it open: it was
sent and not yet received (SCM_RIGHTS), or it is registered with io_uring.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from structops_cli.operations.references import (
    DeviceReference,
    DeviceReferences,
    References,
    RouteReference,
    SocketHolder,
    find_device_references,
    find_references,
)
from structops_cli.runtime.holders import DefaultReference, OpenFile
from structops_cli.runtime.inventory import list_maps
from structops_cli.runtime.live_map import LiveMap, MapState
from structops_cli.runtime.selection import matching, no_match
from structops_cli.struct_ops.kinds import kind_of

if TYPE_CHECKING:
    from structops_cli.btf.kernel_types import KernelTypes

Item = TypeVar("Item")
LOOKS = 3
LOOK_AGAIN_S = 0.02
"""Pause between looks. A socket that came or went meanwhile is unexplained only once."""


class ReferenceCount(NamedTuple):
    """The kernel's count of a map's references, and the number that was found of each sort.

    ``others`` counts the references of a type whose referrers cannot be listed.
    ``unexplained`` is None for such a type, and if versions could not be distinguished.
    ``devices`` counts queueing disciplines of network devices and the default of new
    devices; it is 0 if several maps have the name.
    """

    counted: int
    registration: int
    links: int
    sockets: int
    defaults: int
    others: int
    unexplained: int | None
    devices: int = 0


class MapStatus(NamedTuple):
    """One map and its references.

    ``replaced_by`` is the map that is registered under its name now, 0 for none. ``devices``
    run a queueing discipline of its name; the kernel does not show the version.
    """

    live: LiveMap
    replaced_by: int
    defaults: tuple[DefaultReference, ...]
    routes: tuple[RouteReference, ...]
    sockets: tuple[SocketHolder, ...]
    files: tuple[OpenFile, ...]
    references: ReferenceCount
    devices: tuple[DeviceReference, ...] = ()
    default_of_devices: bool = False


class Status(NamedTuple):
    """The selected maps, and the references to maps of their names."""

    maps: tuple[MapStatus, ...]
    references: References


def find_status(kernel: KernelTypes, selector: str | None = None) -> Status:
    """Return the status of the maps that ``selector`` matches, of all maps by default.

    Raises ``NotFoundError`` if no map matches. Raises as ``list_maps`` without CAP_SYS_ADMIN.
    """
    status = _look(kernel, selector)
    for _ in range(LOOKS - 1):
        if not any(item.references.unexplained for item in status.maps):
            break
        time.sleep(LOOK_AGAIN_S)
        status = _agreed(status, _look(kernel, selector, closely=True))
    return status


def _look(kernel: KernelTypes, selector: str | None, *, closely: bool = False) -> Status:
    stock = list_maps(kernel)
    chosen = stock if selector is None else matching(stock, selector)
    if selector is not None and not chosen:
        raise no_match(stock, selector)
    names = {item.name for item in chosen if kind_of(item.type.name).naming.chosen_by_name}
    found = find_references(kernel, names, closely=closely)
    kinds = {item.name for item in chosen if kind_of(item.type.name).naming.chosen_by_devices}
    devices = find_device_references(found.namespaces, kinds)
    found = found._replace(not_inspected=(*found.not_inspected, *devices.not_inspected))
    join = _Join(stock, found, devices)
    return Status(tuple([join.status_of(item) for item in chosen]), found)


class _Join:
    """The references by map id, or by name if versions cannot be distinguished."""

    def __init__(self, stock: tuple[LiveMap, ...], found: References, devices: DeviceReferences) -> None:
        self._found = found
        self._devices = _grouped(devices.devices, lambda one: one.qdisc.kind)
        self._default_kind = devices.default
        self._bearers = Counter((item.type.name, item.name) for item in stock)
        self._registered = {
            (item.name, item.type.name): item.info.id for item in stock if item.state == MapState.REGISTERED
        }
        self._defaults = _grouped(found.defaults, lambda use: use.map_id if found.exact else use.name)
        self._sockets = _grouped(found.sockets, lambda one: one.use.map_id if found.exact else one.name)
        self._routes = _grouped(found.routes, lambda route: route.algorithm)
        self._of_links = _grouped(found.files, lambda file: file.link_id)
        self._of_maps = _grouped(found.files, lambda file: file.map_id)

    def status_of(self, live: LiveMap) -> MapStatus:
        registered = self._registered.get((live.name, live.type.name), 0)
        replaced_by = registered if live.state != MapState.REGISTERED else 0
        files = [*self._of_maps.get(live.info.id, ())]
        for link in live.links:
            files += self._of_links.get(link.id, ())
        if not kind_of(live.type.name).naming.chosen_by_name:
            plain = MapStatus(
                live, replaced_by, (), (), (), tuple(files), _references(live, self._found, 0, 0)
            )
            return self._with_devices(plain) if kind_of(live.type.name).naming.chosen_by_devices else plain
        key = live.info.id if self._found.exact else live.name
        defaults, sockets = self._defaults.get(key, []), self._sockets.get(key, [])
        routes = [] if replaced_by else self._routes.get(live.name, [])
        references = _references(live, self._found, len(sockets), len(defaults))
        return MapStatus(
            live, replaced_by, tuple(defaults), tuple(routes), tuple(sockets), tuple(files), references
        )

    def _with_devices(self, one: MapStatus) -> MapStatus:
        """Add the devices that run a qdisc. They explain references if only one map has the name."""
        devices, default = self._devices.get(one.live.name, []), one.live.name == self._default_kind
        known = len(devices) + default if self._bearers[one.live.type.name, one.live.name] == 1 else 0
        known = min(known, one.references.others)
        references = one.references._replace(devices=known, others=one.references.others - known)
        return one._replace(devices=tuple(devices), default_of_devices=default, references=references)


def has_leaked(one: MapStatus, found: References) -> bool | None:
    """Tell whether a map has leaked references; None if that is unknown."""
    left = one.references.unexplained
    if not left:
        return False if left == 0 or found.exact else None
    if found.not_inspected or left <= sum(queue.ended for queue in found.queues):
        return None
    return True


def held_by(one: MapStatus) -> str:
    """Return the number of references of each sort in words, "" for none."""
    processes = len({file.process for file in one.files})
    counts = (
        ("link", "links", len(one.live.links)),
        ("pin", "pins", len(one.live.pins) + sum(len(link.pins) for link in one.live.links)),
        ("default", "defaults", len(one.defaults)),
        ("route", "routes", len(one.routes)),
        ("socket", "sockets", len(one.sockets)),
        ("device", "devices", len(one.devices)),
        ("default of devices", "", int(one.default_of_devices)),
        ("other user", "other users", one.references.others),
        ("process", "processes", processes),
        ("unexplained reference", "unexplained references", one.references.unexplained or 0),
    )
    return ", ".join(
        f"{number} {word if number == 1 else plural}" for word, plural, number in counts if number
    )


def _grouped(items: Iterable[Item], key: Callable[[Item], int | str]) -> dict[int | str, list[Item]]:
    found: dict[int | str, list[Item]] = {}
    for item in items:
        found.setdefault(key(item), []).append(item)
    return found


def _references(live: LiveMap, found: References, sockets: int, defaults: int) -> ReferenceCount:
    registration = int(live.state == MapState.REGISTERED and not live.links)
    left = max(live.refcnt - registration - len(live.links) - sockets - defaults, 0)
    known = kind_of(live.type.name).naming.chosen_by_name
    others = 0 if known else left
    unexplained = left if known and found.exact else None
    return ReferenceCount(live.refcnt, registration, len(live.links), sockets, defaults, others, unexplained)


def _agreed(before: Status, after: Status) -> Status:
    """Return the later status. A reference stays unexplained only if both looks left it so."""
    known = {item.live.info.id: item.references.unexplained for item in before.maps}
    return after._replace(maps=tuple([_least(item, known.get(item.live.info.id)) for item in after.maps]))


def _least(item: MapStatus, before: int | None) -> MapStatus:
    now = item.references.unexplained
    if now is None or before is None:
        return item
    return item._replace(references=item.references._replace(unexplained=min(now, before)))
