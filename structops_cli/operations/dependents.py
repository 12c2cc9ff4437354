"""Find the dependents of a registered map: defaults, routes, devices, holders of its link."""

from __future__ import annotations

from collections.abc import Container, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

from structops_cli.errors import StateError, StructopsError
from structops_cli.operations.versions import users_of
from structops_cli.runtime.live_map import LiveMap, MapState
from structops_cli.runtime.pins import unreachable_pins
from structops_cli.shell_words import shell_words
from structops_cli.struct_ops.kinds import kind_of

if TYPE_CHECKING:
    from structops_cli.net.namespaces import NetNamespace
    from structops_cli.net.routes import Route
    from structops_cli.operations.state_store import SavedDefault

ELSEWHERE = ("nsenter", "-t", "1", "-m", "structops")
"""Runs the command in the mount namespace of process 1, which has the machine's bpffs."""
SHOWN_ROUTES = 3
"""Maximum number of commands in one hint."""


class Dependents(NamedTuple):
    """The dependents of a registered map.

    ``defaults`` are the titles of the namespaces whose default it is. No process, mount or
    descriptor leads into the ``unreachable`` ones; the kernel may be about to free them.
    ``another_default`` are the commands that give ``defaults`` another default. ``held_links``
    are links without a reachable pin. ``devices`` (device, title of the namespace) run the map
    as queueing discipline. ``default_of_devices``: new devices will run it.
    """

    live: LiveMap
    defaults: tuple[str, ...] = ()
    routes: tuple[tuple[NetNamespace, Route], ...] = ()
    held_links: tuple[int, ...] = ()
    devices: tuple[tuple[str, str], ...] = ()
    default_of_devices: bool = False
    unreachable: tuple[str, ...] = ()
    another_default: str | None = None


def find_dependents(live: LiveMap) -> Dependents:
    """Find the dependents of a map; an unregistered map has none."""
    if live.state not in (MapState.REGISTERED, MapState.EJECTED):
        return Dependents(live)
    held = tuple(link.id for link in live.links if not link.pins)
    return _with_the_network(Dependents(live, (), (), held, *_of_devices(live)))


def _with_the_network(one: Dependents) -> Dependents:
    """Add the namespaces whose default is a congestion control, and the routes that name it."""
    live = one.live
    if not kind_of(live.type.name).naming.chosen_by_name:
        return one
    from structops_cli.net.namespaces import find_namespaces
    from structops_cli.net.routes import routes_naming
    from structops_cli.operations.default_sysctls import namespaces_of_default  # only for this type

    of_default = namespaces_of_default(live)
    places = {item.inode: item for item in (*find_namespaces(), *of_default.namespaces)}
    return one._replace(
        defaults=tuple(one.title for one in of_default.namespaces),
        routes=tuple(routes_naming(live.name, places.values())),
        unreachable=tuple(one.title for one in of_default.unreachable),
        another_default=_another_default(live.name, of_default.namespaces),
    )


def _another_default(name: str, namespaces: Sequence[NetNamespace]) -> str | None:
    if not namespaces:
        return None
    from structops_cli.net.congestion_controls import read_congestion_controls
    from structops_cli.net.namespace_entry import inside, namespace_identity
    from structops_cli.operations.default_plan import another_default
    from structops_cli.operations.state_store import StateStore  # few maps are a default

    saved: dict[int, SavedDefault] = {}
    with suppress(StructopsError):
        saved = StateStore().defaults()
    entries: list[tuple[NetNamespace, str, SavedDefault | None]] = []
    for namespace in namespaces:
        entry = None
        with suppress(StructopsError):
            entry = saved.get(inside(namespace, namespace_identity))
        entries.append((namespace, name, entry))
    return another_default(entries, read_congestion_controls())


def _of_devices(live: LiveMap) -> tuple[tuple[tuple[str, str], ...], bool]:
    """Return the devices that run a queueing discipline, and whether new devices get it."""
    if not kind_of(live.type.name).naming.chosen_by_devices or not users_of(live):
        return (), False  # devices may run an older version of that name
    from structops_cli.net.namespaces import find_namespaces
    from structops_cli.operations.references import find_device_references  # no other type has devices

    namespaces = {one.inode: one for one in find_namespaces()}
    uses = find_device_references(namespaces, {live.name})
    found = dict.fromkeys((one.qdisc.device, namespaces[one.netns].title) for one in uses.devices)
    return tuple(found), uses.default == live.name


def refuse_dependents(one: Dependents) -> None:
    """Raise ``StateError`` if a default, a route, a device or another process uses the map."""
    name = f"{one.live.name} (id:{one.live.info.id})"
    if one.held_links:
        raise _held(one, name)
    if one.defaults:
        raise StateError(
            f"{name} is not unregistered: it is a default",
            why=f"new sockets of {', '.join(one.defaults)} get it, and would get the retired one",
            hint=f"choose another first: {one.another_default}; or --force",
        )
    if one.routes:
        said = ", ".join(f"{route.destination} in {namespace.title}" for namespace, route in one.routes)
        raise StateError(
            f"{name} is not unregistered: routes choose it",
            why=f"it is the choice of {said}, and would be again as soon as anything has that name",
            hint=f"clear them first: {_clearing(one)}; or --force",
        )
    _refuse_on_devices(one, name)


def _held(one: Dependents, name: str) -> StateError:
    """Return the error of links without a reachable pin.

    A process holds them, or a pin that this process cannot reach.
    """
    links, processes, not_inspected = (
        ", ".join(map(str, one.held_links)),
        _holders(one.held_links),
        unreachable_pins(),
    )
    if not not_inspected:
        return StateError(
            f"{name} is not unregistered: a process holds it",
            why=f"link {links} is pinned nowhere, so it is {processes or 'a process'} that holds it",
            hint="end that process; or detach the link under it with --force",
        )
    holders = f"{processes} has it open" if processes else "no process in sight has it open"
    return StateError(
        f"{name} is not unregistered: something out of sight may hold it",
        why=f"link {links} has no pin in sight, and {holders}; {not_inspected}",
        hint=f"look where the pins are: {shell_words(*ELSEWHERE, 'unregister')} {shell_words(one.live.name)}; "
        "or detach the link with --force, and a pin stays without it",
    )


def _clearing(one: Dependents) -> str:
    from structops_cli.operations.chosen_routes import clearing  # only a refusal needs it

    first = [clearing(namespace, route) for namespace, route in one.routes[:SHOWN_ROUTES]]
    more = len(one.routes) - len(first)
    return " && ".join(first) + (f", and {more} more" if more else "")


def _refuse_on_devices(one: Dependents, name: str) -> None:
    if one.default_of_devices:
        raise StateError(
            f"{name} is not unregistered: it is net.core.default_qdisc",
            why="new network devices get it, and would get the retired one",
            hint="choose another first: echo KIND >/proc/sys/net/core/default_qdisc; or --force",
        )
    if one.devices:
        said = ", ".join(f"{device} in {title}" for device, title in one.devices)
        raise StateError(
            f"{name} is not unregistered: network devices run it",
            why=f"it is the queueing discipline of {said}, and they would go on with the retired one",
            hint=f"replace it first: {_replacing(*one.devices[0])}; or --force",
        )


def _replacing(device: str, title: str) -> str:
    command = shell_words("qdisc", "replace", "dev", device, "root", "KIND")
    if title.startswith("net:["):  # of a namespace without a name
        return f"tc {command}, in {title}"
    return f"tc {command}" if title == "initial" else f"tc {shell_words('-n', title)} {command}"


def _holders(links: Container[int]) -> str | None:
    """Name the processes that hold links; None if none is found, or without BPF iterators."""
    from structops_cli.runtime.holders import AlgorithmReader  # only a refusal needs it

    with suppress(StructopsError), AlgorithmReader() as reader:
        found = sorted({one.process for one in reader.open_files() if one.link_id in links})
        if found:
            return f"process {', '.join(map(str, found))}"
    return None
