"""What is to be drained, and where to: found out and checked before anything is done."""

from __future__ import annotations

from structops_cli.errors import AmbiguousError, NotFoundError, NotPermittedError, UsageError
from structops_cli.net.congestion_controls import (
    CongestionControls,
    check_congestion_control_name,
    read_congestion_controls,
)
from structops_cli.records import NamedTuple
from structops_cli.runtime.inventory import LiveMap, take_stock
from structops_cli.runtime.kernel import live_kernel
from structops_cli.runtime.selection import matching
from structops_cli.struct_ops.kinds import kind_of

__all__ = ["Source", "choose_source", "default_target", "has_capability"]

CAP_NET_ADMIN = 12
"""``include/uapi/linux/capability.h``."""


class Source(NamedTuple):
    """What sockets are to leave, and what for.

    ``map_ids`` are of the struct_ops maps in question, none of one of the kernel's own algorithms;
    ``others`` are the other maps of that name, which are left alone. ``target`` is None where each namespace's
    default is.
    """

    name: str
    map_ids: frozenset[int]
    others: frozenset[int]
    target: str | None

    @property
    def versions_matter(self) -> bool:
        """Whether a socket's name alone does not tell if it is meant."""
        return bool(self.others)


def choose_source(selector: str, to: str | None) -> Source:
    """Find out what a selector means: one map by id, every version of a name, or one of the kernel's own algorithms.

    Without ``to`` older versions go to the registered one of their name, if there is one.
    Raises ``NotFoundError``, ``UsageError``, ``NotPermittedError``.
    """
    controls = read_congestion_controls()
    stock = _stock()
    found = tuple(item for item in matching(stock, selector) if kind_of(item.type.name).chosen_by_name)
    if not found:
        return Source(
            _built_in(selector, controls), frozenset(), frozenset(), _checked(selector, to, controls)
        )
    names = {item.name for item in found}
    if len(names) > 1:
        raise AmbiguousError(
            f"{selector} means {len(found)} congestion controls",
            why=f"maps of that name bear the names {', '.join(sorted(names))}",
            hint="select by id: id:N",
            candidates=[f"id:{item.info.id}" for item in found],
        )
    (name,) = names
    same = {item.info.id: item for item in stock if (item.type.name, item.name) == (found[0].type.name, name)}
    live = {number for number, item in same.items() if item.state == "registered"}
    wanted = {item.info.id for item in found}
    if to is None and live and wanted - live:
        to = name
    if to == name:
        wanted -= live
    return Source(
        name, frozenset(wanted), frozenset(same) - wanted, _checked(name, to, controls, live=bool(live))
    )


def default_target(source: Source, default: str, title: str) -> str:
    """Return where the sockets of a namespace go without ``--to``; ``UsageError`` when its default is what they are to leave."""
    if source.target is not None:
        return source.target
    if default == source.name:
        raise UsageError(
            f"{source.name} is the default of namespace {title}: where are its sockets to go?",
            hint="name an algorithm with --to, or give the namespace another default first: structops default",
        )
    return default


def has_capability(number: int) -> bool:
    """Tell whether this process has a capability, in its user namespace."""
    with open("/proc/self/status", encoding="ascii", errors="replace") as status:
        for line in status:
            if line.startswith("CapEff:"):
                return bool(int(line.split()[1], 16) >> number & 1)
    return False


def _stock() -> tuple[LiveMap, ...]:
    try:
        return take_stock(live_kernel())
    except NotPermittedError:  # the kernel's own algorithms can be drained all the same
        return ()


def _built_in(selector: str, controls: CongestionControls) -> str:
    if selector not in controls.available:
        raise NotFoundError(
            f"no congestion control matches {selector}",
            why=f"there are: {' '.join(controls.available)}; and no struct_ops map of that id or name",
            hint="structops list shows the maps, the retired ones too",
        )
    return selector


def _checked(name: str, to: str | None, controls: CongestionControls, *, live: bool = True) -> str | None:
    """Hold that the target is there and may be chosen."""
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
            hint="run this as root",
            errno=1,
            operation="setsockopt(TCP_CONGESTION)",
        )
    return to
