"""Plan the change of each default before the first write."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import NamedTuple

from structops_cli.errors import NotFoundError
from structops_cli.net.congestion_controls import CongestionControls, check_congestion_control_name
from structops_cli.net.namespaces import NetNamespace
from structops_cli.net.sysctls import DefaultSysctl, not_allowed
from structops_cli.operations.state_store import SavedDefault
from structops_cli.operations.transaction import Change
from structops_cli.shell_words import netns_options_of, shell_words


class PlannedDefault(NamedTuple):
    """The default of one namespace and its saved state, before and after.

    ``older``: the default is an earlier version with the name ``after``.
    """

    sysctl: DefaultSysctl
    before: str
    after: str
    saved_before: SavedDefault | None
    saved_after: SavedDefault | None
    older: bool = False

    @property
    def change(self) -> Change:
        """The reported change."""
        return Change(
            f"default of {self.sysctl.namespace.title}",
            {
                "default": self.before,
                "older_version": self.older,
                "remembered": _previous(self.saved_before),
            },
            {"default": self.after, "older_version": False, "remembered": _previous(self.saved_after)},
        )

    @property
    def is_write(self) -> bool:
        """Whether the sysctl is written."""
        return self.older or self.before != self.after

    @property
    def is_initial(self) -> bool:
        """Whether it is the default of the initial namespace."""
        return self.sysctl.namespace.is_initial


class LeftAlone(NamedTuple):
    """A default that is not restored. ``remembered`` is the saved name."""

    title: str
    default: str
    remembered: str
    why: str
    hint: str


class DefaultPlan(NamedTuple):
    """The planned defaults, in the order of their writes.

    ``allow`` are the names that the allowed list needs before. ``allowed_thereby`` get on it
    because they become the default of the initial namespace.
    """

    defaults: tuple[PlannedDefault, ...]
    allow: tuple[str, ...] = ()
    allowed_thereby: tuple[str, ...] = ()
    left: tuple[LeftAlone, ...] = ()


def plan_default(
    name: str,
    sysctls: Sequence[DefaultSysctl],
    saved: Mapping[int, SavedDefault],
    controls: CongestionControls,
    *,
    allow: bool,
    older: Collection[int] = (),
) -> DefaultPlan:
    """Plan to make an algorithm the default of namespaces.

    ``older`` are the inodes of the namespaces whose default is an earlier version of it. Raises
    ``NotFoundError`` if the name is not registered, and ``not_allowed`` if a write would leak.
    """
    check_congestion_control_name(name)
    _check_registered(name, controls)
    planned = [
        _set(item, name, saved.get(item.identity), older=item.namespace.inode in older) for item in sysctls
    ]
    needed = _needed(planned, controls)
    if needed and not allow:
        raise not_allowed(name, _titles(planned))
    return DefaultPlan(_ordered(planned, controls), needed, _thereby(planned, controls))


def _set(sysctl: DefaultSysctl, name: str, entry: SavedDefault | None, *, older: bool) -> PlannedDefault:
    """Plan one default. A saved state that does not describe the present default is deleted."""
    before = sysctl.read()
    if before == name:
        return PlannedDefault(
            sysctl, before, name, entry, entry if entry and entry.name == name else None, older
        )
    return PlannedDefault(sysctl, before, name, entry, SavedDefault(sysctl.identity, before, name))


def plan_restore(
    sysctls: Sequence[DefaultSysctl],
    saved: Mapping[int, SavedDefault],
    controls: CongestionControls,
    *,
    allow: bool,
    force: bool,
) -> DefaultPlan:
    """Plan to restore saved defaults; with ``force`` also those that others changed since."""
    planned, left = [], []
    for sysctl in sysctls:
        entry, now = saved.get(sysctl.identity), sysctl.read()
        if entry is None:
            planned.append(PlannedDefault(sysctl, now, now, None, None))
            continue
        one = PlannedDefault(sysctl, now, entry.previous, entry, None)
        if (reason := _obstacle(one, entry, controls, allow=allow, force=force)) is None:
            planned.append(one)
        else:
            left.append(LeftAlone(sysctl.namespace.title, now, entry.previous, *reason))
    needed = _needed(planned, controls) if allow else ()
    return DefaultPlan(_ordered(planned, controls), needed, _thereby(planned, controls), tuple(left))


def _obstacle(
    one: PlannedDefault, entry: SavedDefault, controls: CongestionControls, *, allow: bool, force: bool
) -> tuple[str, str] | None:
    """Return the reason why a default is not restored, and the fix; None if it can be."""
    if one.before == entry.previous:
        return None  # another process has restored it: only the saved state is deleted
    where = netns_options_of(one.sysctl.namespace.title)
    if one.before != entry.name and not force:
        return (
            f"it is {one.before} now, and not {entry.name}, which structops had set: somebody else changed it",
            f"structops default --restore --force {where} makes it {entry.previous} all the same",
        )
    if entry.previous not in controls.available:
        return (
            f"{entry.previous} is not registered any more",
            f"choose another one: structops default NAME {where}",
        )
    if not (one.sysctl.namespace.is_initial or allow or entry.previous in controls.allowed):
        return (
            f"{entry.previous} is not in tcp_allowed_congestion_control, and the refused write may leak",
            f"structops default --restore --allow {where} adds it to the list, and any process may then choose it",
        )
    return None


def another_default(
    defaults: Iterable[tuple[NetNamespace, str, SavedDefault | None]], controls: CongestionControls
) -> str:
    """Return the commands that give namespaces another default.

    It is the previous default if that is saved and registered. ``defaults`` are each
    namespace, its default, and the saved state.
    """
    commands: dict[str, list[str]] = {}
    for namespace, default, entry in defaults:
        command = "structops default NAME"
        if entry and entry.name == default != entry.previous and entry.previous in controls.available:
            allowed = namespace.is_initial or entry.previous in controls.allowed
            command = "structops default --restore" + ("" if allowed else " --allow")
        commands.setdefault(command, []).append(namespace.title)
    return " && ".join(f"{command} {netns_options_of(*titles)}" for command, titles in commands.items())


def _check_registered(name: str, controls: CongestionControls) -> None:
    if name not in controls.available:
        raise NotFoundError(
            f"no congestion control {name} is registered",
            why=f"there are: {' '.join(controls.available)}",
            hint=f"register it: structops register OBJ; or load it, if it is a module of the kernel: {shell_words('modprobe', f'tcp_{name}')}",
        )


def _needed(planned: Sequence[PlannedDefault], controls: CongestionControls) -> tuple[str, ...]:
    """Return the names that have to be added to the allowed list before the writes."""
    wanted = {one.after for one in planned if one.is_write and not one.is_initial}
    return tuple(sorted(wanted - {*controls.allowed, *_thereby(planned, controls)}))


def _thereby(planned: Sequence[PlannedDefault], controls: CongestionControls) -> tuple[str, ...]:
    """Return the names that the kernel adds: the default of the initial namespace.

    Follows ``tcp_set_default_congestion_control``.
    """
    made = {one.after for one in planned if one.is_write and one.is_initial}
    return tuple(sorted(made - {*controls.allowed}))


def _ordered(planned: Sequence[PlannedDefault], controls: CongestionControls) -> tuple[PlannedDefault, ...]:
    """Put the initial namespace first, and last the defaults that could not be written back."""
    return tuple(sorted(planned, key=lambda one: (not one.is_initial, one.before not in controls.allowed)))


def _titles(planned: Sequence[PlannedDefault]) -> list[str]:
    return [one.sysctl.namespace.title for one in planned if one.is_write and not one.is_initial]


def _previous(entry: SavedDefault | None) -> str | None:
    return entry.previous if entry else None
