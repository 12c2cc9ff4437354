"""Check for stale pins and saved state, and for references to unregistered names."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import suppress

from structops_cli.counted import counted
from structops_cli.errors import NotPermittedError, StructopsError
from structops_cli.net.congestion_controls import read_congestion_controls
from structops_cli.net.namespace_entry import inside, namespace_identity
from structops_cli.net.namespaces import NetNamespace
from structops_cli.net.routes import routes_in
from structops_cli.operations.chosen_routes import clearing, list_routes, route_key
from structops_cli.operations.default import read_defaults
from structops_cli.operations.default_plan import another_default
from structops_cli.operations.findings import NOTE, OK, PROBLEM, Finding, Tree
from structops_cli.operations.state_store import STATE_PATH, StateStore
from structops_cli.runtime.live_map import LiveMap, MapState
from structops_cli.runtime.pin_directory import exposure_of
from structops_cli.runtime.pins import DEFAULT_PIN_DIR, KEPT_FOLDER, check_pin_dir, is_dead, pinned_name
from structops_cli.shell_words import netns_options_of, shell_words
from structops_cli.syscall import bpffs

KEPT = f"{DEFAULT_PIN_DIR}/{KEPT_FOLDER}"
"""The folder of versions that are kept for a rollback: kept/NAME/ID."""
MODULE = re.compile(r"^\S*/tcp_(\w+)\.ko", re.MULTILINE)
NO_ALGORITHM = frozenset({"diag"})
"""Modules with the prefix tcp_ that are no congestion control."""


def defaults(found: Sequence[NetNamespace]) -> Iterator[Finding]:
    """Check for namespaces whose default is unregistered or an older version."""
    seen, notes = read_defaults(found)
    retired = [item for item in seen if item.retired]
    for item in retired:
        yield Finding(
            "defaults",
            PROBLEM,
            f"new sockets of {item.namespace.title} get {item.default}, which is unregistered",
            "a namespace keeps its default until another one is set",
            another_default([(item.namespace, item.default, item.saved)], read_congestion_controls()),
        )
    older = [item for item in seen if item.older_map_id is not None]
    for item in older:
        yield Finding(
            "defaults",
            PROBLEM,
            f"new sockets of {item.namespace.title} get an older version of {item.default} (map {item.older_map_id})",
            "a namespace keeps the version that it has until the same name is set again",
            f"{shell_words('structops', 'default', item.default)} {netns_options_of(item.namespace.title)}",
        )
    for note in notes:
        yield Finding("defaults", NOTE, note)
    if not (retired or older):
        yield Finding("defaults", OK, f"registered in all of {counted(len(seen), 'network namespace')}")


def routes(found: Sequence[NetNamespace]) -> Iterator[Finding]:
    """Check for routes whose algorithm is not registered."""
    chosen, notes = list_routes(found)
    dangling = [item for item in chosen if item.dangling]
    for item in dangling:
        name = item.name or "an algorithm"
        yield Finding(
            "routes",
            PROBLEM,
            f"the route to {item.route.destination} of {item.namespace.title} chooses {name}, which is not registered",
            "connections get the namespace's default, and whoever registers that name next gets the route",
            f"register it again, or {clearing(item.namespace, item.route)}",
        )
    for note in notes:
        yield Finding("routes", NOTE, note)
    if not dangling:
        yield Finding("routes", OK, f"{len(chosen)} choose a congestion control, none is dangling")


def memory(found: Sequence[NetNamespace], path: str = STATE_PATH) -> Iterator[Finding]:
    """Compare the saved state with the kernel."""
    store = StateStore(path)
    entries, routes_known = store.defaults(), store.routes()
    by_identity: dict[int, NetNamespace] = {}
    for namespace in found:
        with suppress(StructopsError):
            by_identity[inside(namespace, namespace_identity)] = namespace
    gone = sorted({*entries, *(key.namespace for key in routes_known)} - by_identity.keys())
    if gone:
        yield Finding(
            "memory",
            NOTE,
            f"remembered of {counted(len(gone), 'network namespace')} out of sight, or no more",
            "its entries go with the next change of a default or a route",
        )
    seen, _ = read_defaults(by_identity.values())
    stale = [item for item in seen if item.saved and item.saved.name != item.default]
    for item in stale:
        where = netns_options_of(item.namespace.title)
        yield Finding(
            "memory",
            NOTE,
            f"somebody else has changed the default of {item.namespace.title} since structops did",
            f"--restore would leave it: it is {item.default}",
            f"structops default --restore --force {where}, or structops default NAME {where}",
        )
    places = {key.namespace for key in routes_known} & by_identity.keys()
    there = {identity: _route_keys(identity, by_identity[identity]) for identity in places}
    missing = [key for key in routes_known if key.namespace in there and key not in there[key.namespace]]
    if missing:
        yield Finding(
            "memory",
            NOTE,
            f"remembered of {counted(len(missing), 'route')} no more there",
            "somebody else deleted what is not there",
        )
    if not (gone or stale or missing):
        yield Finding(
            "memory",
            OK,
            f"{counted(len(entries), 'default')} and {counted(len(routes_known), 'route')}, all as the kernel has them",
        )


def _route_keys(identity: int, namespace: NetNamespace) -> set[object]:
    with suppress(StructopsError):
        return {route_key(identity, route) for route in routes_in(namespace, every=True)}
    return set()


def pins(stock: Sequence[LiveMap]) -> Iterator[Finding]:
    """Check for pins of detached links, useless kept versions, and pins open to other users."""
    orphaned = [path for mount in bpffs.mounts() for path in bpffs.pins(mount.path) if is_dead(path)]
    for path in orphaned:
        yield Finding(
            "pins",
            PROBLEM,
            f"{path} pins a link that registers nothing",
            "somebody detached it, or the kernel did, and the pin stayed; register replaces it",
            shell_words("structops", "unregister", pinned_name(path)),
        )
    kept = {path: item for item in stock for path in item.pins}
    registered = {(item.type.name, item.name) for item in stock if item.state == MapState.REGISTERED}
    names = {path: (item.type.name, item.name) for path, item in kept.items()}
    stale = [path for path in bpffs.pins(KEPT) if names.get(path) not in registered]
    for path in stale:
        yield Finding(
            "pins",
            PROBLEM,
            f"{path} keeps a version of what is not registered",
            "there is nothing that it could take the place of",
            f"structops unregister id:{kept[path].info.id}" if path in kept else shell_words("rm", path),
        )
    exposed = [*_exposed_pins(stock), *_unsafe_default()]
    yield from exposed
    if not (orphaned or stale or exposed):
        yield Finding("pins", OK, "none of them is orphaned, and no other user can change one")


def _exposed_pins(stock: Sequence[LiveMap]) -> Iterator[Finding]:
    for item in stock:
        paths = [*(pin for link in item.links for pin in link.pins), *item.pins]
        found = {path: exposure_of(path) for path in paths}
        again = f"structops unregister id:{item.info.id}, and register it again: the pin goes to {DEFAULT_PIN_DIR}"
        for path, exposure in found.items():
            if exposure:
                fix = exposure.fix or (shell_words("rm", path) if None in found.values() else again)
                yield Finding("pins", PROBLEM, f"other users can change {path}", exposure.why, fix)


def _unsafe_default() -> Iterator[Finding]:
    """Check the default pin directory."""
    try:
        check_pin_dir(DEFAULT_PIN_DIR)
    except NotPermittedError:
        return  # the directory belongs to root, and this process is not root
    except StructopsError as error:
        yield Finding("pins", PROBLEM, error.what, error.why, error.hint)


def modules(tree: Tree, release: str, stock: Sequence[LiveMap]) -> Iterator[Finding]:
    """Check for kernel modules that have the name of a registered map."""
    text = tree.read(f"/lib/modules/{release}/modules.dep") or ""
    names = sorted(set(MODULE.findall(text)) - NO_ALGORITHM)
    taken = sorted({item.name for item in stock if item.state == MapState.REGISTERED} & set(names))
    for name in taken:
        yield Finding(
            "modules",
            NOTE,
            f"{name} is registered as struct_ops, and tcp_{name} is a module of this kernel",
            "while one has the name the other is refused; after unregister, asking for the name loads the module",
            "register it under a name of its own: --set name=NAME",
        )
    if not taken:
        more = f": {', '.join(names)}" if names else ""
        yield Finding(
            "modules",
            OK,
            f"{len(names)} congestion controls are modules, loaded when root asks for one{more}",
        )
