"""Find the versions whose sockets are drained, and the algorithm that they get."""

from __future__ import annotations

from typing import NamedTuple

from structops_cli.btf.kernel_types import KernelTypes
from structops_cli.errors import NotFoundError, NotPermittedError, UsageError
from structops_cli.net.congestion_controls import (
    CongestionControls,
    check_congestion_control_name,
    read_congestion_controls,
)
from structops_cli.runtime.inventory import list_maps
from structops_cli.runtime.live_map import LiveMap, MapState
from structops_cli.runtime.selection import is_path, maps_to_change, none_to_change
from structops_cli.shell_words import netns_options_of
from structops_cli.struct_ops.kinds import kind_of

BUILT_IN = 0
"""Stands for the map id of the kernel's own algorithm of a name."""
CAP_NET_ADMIN, CAP_SYS_PTRACE = 12, 19
"""``include/uapi/linux/capability.h``."""


class Source(NamedTuple):
    """The versions that sockets leave, by map id or ``BUILT_IN``.

    ``others`` are the other versions of the name, whose sockets stay. ``target`` is the
    new algorithm; None for the default of each namespace.
    """

    name: str
    map_ids: frozenset[int]
    others: frozenset[int]
    target: str | None

    @property
    def versions_matter(self) -> bool:
        """Whether a socket's algorithm name is not enough to decide if it is moved."""
        return bool(self.others)

    @property
    def of_maps(self) -> tuple[int, ...]:
        """The map ids without ``BUILT_IN``."""
        return tuple(sorted(self.map_ids - {BUILT_IN}))


def choose_source(kernel: KernelTypes, selector: str, to: str | None) -> Source:
    """Resolve a selector: every version of a name, or one map by id or pin.

    A name may be of one of the kernel's own algorithms. A map's name is not a selector. Without
    ``to``, sockets of older versions go to the registered version of the name, if there is one.
    Raises ``NotFoundError``, ``UsageError``, ``NotPermittedError``.
    """
    controls = read_congestion_controls()
    maps = tuple(item for item in _maps(kernel) if kind_of(item.type.name).naming.chosen_by_name)
    name, wanted = _meant(maps, selector, controls)
    live = _registered(maps, name, controls)
    versions = live | {item.info.id for item in maps if item.name == name}
    if wanted is None:
        wanted = versions
    if to is None and live and wanted - live:
        to = name
    target = _checked(name, to, controls, live=bool(live))
    if to == name:
        wanted -= live
    if not wanted:
        raise UsageError(
            f"sockets that use {name} are not moved to {name}: they have it already",
            hint="name another algorithm with --to",
        )
    return Source(name, wanted, versions - wanted, target)


def default_target(source: Source, default: str, title: str) -> str:
    """Return the target, or without one the default of a namespace.

    Raises ``UsageError`` if that default is the source.
    """
    if source.target is not None:
        return source.target
    if default == source.name:
        raise UsageError(
            f"{source.name} is the default of namespace {title}: where are its sockets to go?",
            hint="name an algorithm with --to, or give the namespace another default first: "
            f"structops default NAME {netns_options_of(title)}",
        )
    return default


def has_capability(number: int) -> bool:
    """Tell whether this process has a capability in its user namespace."""
    with open("/proc/self/status", encoding="ascii", errors="replace") as status:
        for line in status:
            if line.startswith("CapEff:"):
                return bool(int(line.split()[1], 16) >> number & 1)
    return False


def _maps(kernel: KernelTypes) -> tuple[LiveMap, ...]:
    try:
        return list_maps(kernel)
    except NotPermittedError:  # the kernel's own algorithms can be drained nevertheless
        return ()


def _meant(
    maps: tuple[LiveMap, ...], selector: str, controls: CongestionControls
) -> tuple[str, frozenset[int] | None]:
    """Return the name that a selector means, and the map ids; None for all maps of the name."""
    if selector in controls.available:
        return selector, None
    found = maps_to_change(maps, selector)
    if found:
        return found[0].name, frozenset(item.info.id for item in found)
    if is_path(selector) or any(item.info.name == selector for item in maps):
        raise none_to_change(maps, selector)
    raise NotFoundError(
        f"no congestion control matches {selector}",
        why=f"there are: {' '.join(controls.available)}; and no struct_ops map of that id or name",
        hint="structops list shows the maps, the retired ones too",
    )


def _registered(maps: tuple[LiveMap, ...], name: str, controls: CongestionControls) -> frozenset[int]:
    """Return the registered version of a name: a map, ``BUILT_IN``, or none."""
    live = frozenset(item.info.id for item in maps if (item.name, item.state) == (name, MapState.REGISTERED))
    return live or frozenset({BUILT_IN} if name in controls.available else ())


def _checked(name: str, to: str | None, controls: CongestionControls, *, live: bool) -> str | None:
    """Return the target, or raise if it is not registered or this process may not choose it."""
    if to is None:
        return None
    check_congestion_control_name(to)
    if to not in controls.available or (to == name and not live):
        raise NotFoundError(
            f"no congestion control {to} is registered", why=f"there are: {' '.join(controls.available)}"
        )
    if to not in controls.allowed and not has_capability(CAP_NET_ADMIN):
        raise NotPermittedError(
            f"sockets cannot be moved to {to}",
            why=f"{to} is restricted, and CAP_NET_ADMIN is missing",
            hint="run as root",
            errno=1,
            operation="setsockopt(TCP_CONGESTION)",
        )
    return to
