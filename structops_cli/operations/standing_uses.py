"""Who counts on what is to be unregistered: defaults, routes, devices, and processes that hold its link."""

from __future__ import annotations

from collections.abc import Sequence
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

__all__ = ["Uses", "refuse_in_use", "uses_of"]

ELSEWHERE = ("nsenter", "-t", "1", "-m", "structops")
"""Runs the command in the mount namespace of process 1, where the machine's bpffs is."""
SHOWN_ROUTES = 3
"""How many commands one hint has room for."""


class Uses(NamedTuple):
    """What an unregistered struct_ops would still be asked for: by title, the namespaces whose default it is; the routes that name it.

    ``held_links`` are its links without a pin: a process holds them, and did not ask for anything.
    ``hidden`` are titles of namespaces whose default it is and that nothing in sight leads into: they may be on their end.
    ``another_default`` are the commands that give those namespaces another default.
    ``devices`` run it as their queueing discipline: (device, title of the namespace); it may be the ``default_of_devices``.
    """

    live: LiveMap
    defaults: tuple[str, ...] = ()
    routes: tuple[tuple[NetNamespace, Route], ...] = ()
    held_links: tuple[int, ...] = ()
    devices: tuple[tuple[str, str], ...] = ()
    default_of_devices: bool = False
    hidden: tuple[str, ...] = ()
    another_default: str = ""


def uses_of(live: LiveMap) -> Uses:
    """Look at who counts on a registered map; for one that is not registered, nobody."""
    if live.state not in (MapState.REGISTERED, MapState.EJECTED):
        return Uses(live)
    held = tuple(link.id for link in live.links if not link.pins)
    return _with_the_network(Uses(live, (), (), held, *_of_devices(live)))


def _with_the_network(uses: Uses) -> Uses:
    """Add the namespaces whose default a congestion control is, and the routes that name it."""
    live = uses.live
    if not kind_of(live.type.name).naming.chosen_by_name:
        return uses
    from structops_cli.net.namespaces import find_namespaces
    from structops_cli.net.routes import routes_naming
    from structops_cli.operations.default_sysctls import namespaces_of_default  # no other type is any of that

    of_default = namespaces_of_default(live)
    places = {item.inode: item for item in (*find_namespaces(), *of_default.namespaces)}
    return uses._replace(
        defaults=tuple(one.title for one in of_default.namespaces),
        routes=tuple(routes_naming(live.name, places.values())),
        hidden=tuple(one.title for one in of_default.unreachable),
        another_default=_another_default(live.name, of_default.namespaces),
    )


def _another_default(name: str, namespaces: Sequence[NetNamespace]) -> str:
    if not namespaces:
        return ""
    from structops_cli.net.congestion_controls import read_congestion_controls
    from structops_cli.net.namespace_entry import inside, namespace_identity
    from structops_cli.operations.default_plan import another_default
    from structops_cli.operations.state_store import StateStore  # few are a default

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
    """Return the devices that run a queueing discipline of that name, and whether new devices get it."""
    if not kind_of(live.type.name).naming.chosen_by_devices or not users_of(live):
        return (), False  # devices may run an older version of that name
    from structops_cli.net.namespaces import find_namespaces
    from structops_cli.operations.device_uses import find_device_uses  # no other type has devices

    namespaces = {one.inode: one for one in find_namespaces()}
    uses = find_device_uses(namespaces, {live.name})
    found = dict.fromkeys((one.qdisc.device, namespaces[one.netns].title) for one in uses.devices)
    return tuple(found), uses.default == live.name


def refuse_in_use(uses: Uses) -> None:
    """Raise ``StateError`` for what is somebody's default, or is held by another process."""
    name = f"{uses.live.name} (id:{uses.live.info.id})"
    if uses.held_links:
        raise _held(uses, name)
    if uses.defaults:
        raise StateError(
            f"{name} is not unregistered: it is a default",
            why=f"new sockets of {', '.join(uses.defaults)} get it, and would get the retired one",
            hint=f"choose another first: {uses.another_default}; or --force",
        )
    if uses.routes:
        said = ", ".join(f"{route.destination} in {namespace.title}" for namespace, route in uses.routes)
        raise StateError(
            f"{name} is not unregistered: routes choose it",
            why=f"it is the choice of {said}, and would be again as soon as anything has that name",
            hint=f"clear them first: {_clearing(uses)}; or --force",
        )
    _refuse_on_devices(uses, name)


def _held(uses: Uses, name: str) -> StateError:
    """Return the error of links without a pin in sight: a process holds them, or a pin that is out of sight does."""
    links, processes, unseen = ", ".join(map(str, uses.held_links)), _holders(uses), unreachable_pins()
    if not unseen:
        return StateError(
            f"{name} is not unregistered: a process holds it",
            why=f"link {links} is pinned nowhere, so it is {processes or 'a process'} that holds it",
            hint="end that process; or detach the link under it with --force",
        )
    holders = f"{processes} has it open" if processes else "no process in sight has it open"
    return StateError(
        f"{name} is not unregistered: something out of sight may hold it",
        why=f"link {links} has no pin in sight, and {holders}; {unseen}",
        hint=f"look where the pins are: {shell_words(*ELSEWHERE, 'unregister')} {shell_words(uses.live.name)}; "
        "or detach the link with --force, and a pin stays without it",
    )


def _clearing(uses: Uses) -> str:
    from structops_cli.operations.chosen_routes import clearing  # only a refusal needs it

    first = [clearing(namespace, route) for namespace, route in uses.routes[:SHOWN_ROUTES]]
    more = len(uses.routes) - len(first)
    return " && ".join(first) + (f", and {more} more" if more else "")


def _refuse_on_devices(uses: Uses, name: str) -> None:
    if uses.default_of_devices:
        raise StateError(
            f"{name} is not unregistered: it is net.core.default_qdisc",
            why="new network devices get it, and would get the retired one",
            hint="choose another first: echo KIND >/proc/sys/net/core/default_qdisc; or --force",
        )
    if uses.devices:
        said = ", ".join(f"{device} in {title}" for device, title in uses.devices)
        raise StateError(
            f"{name} is not unregistered: network devices run it",
            why=f"it is the queueing discipline of {said}, and they would go on with the retired one",
            hint=f"replace it first: {_replacing(*uses.devices[0])}; or --force",
        )


def _replacing(device: str, title: str) -> str:
    command = shell_words("qdisc", "replace", "dev", device, "root", "KIND")
    if title.startswith("net:["):  # of a namespace without a name
        return f"tc {command}, in {title}"
    return f"tc {command}" if title == "initial" else f"tc {shell_words('-n', title)} {command}"


def _holders(uses: Uses) -> str:
    """Name the processes that hold a link, as far as this kernel tells; "" for none."""
    from structops_cli.runtime.holders import AlgorithmReader  # only a refusal needs it

    with suppress(StructopsError), AlgorithmReader() as reader:
        found = sorted({one.process for one in reader.open_files() if one.link_id in uses.held_links})
        if found:
            return f"process {', '.join(map(str, found))}"
    return ""
