"""What making a default, or putting one back, means for each namespace: found out before the first write."""

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

__all__ = ["DefaultPlan", "LeftAlone", "Step", "another_default", "plan_default", "plan_restore"]


class Step(NamedTuple):
    """One namespace: its default and what is remembered of it, before and after.

    ``older`` says that the default has the name of ``after`` already, and is an earlier version of it.
    """

    sysctl: DefaultSysctl
    before: str
    after: str
    entry_before: SavedDefault | None
    entry_after: SavedDefault | None
    older: bool = False

    @property
    def change(self) -> Change:
        """The step as what a command answers."""
        return Change(
            f"default of {self.sysctl.namespace.title}",
            {
                "default": self.before,
                "older_version": self.older,
                "remembered": _previous(self.entry_before),
            },
            {"default": self.after, "older_version": False, "remembered": _previous(self.entry_after)},
        )


class LeftAlone(NamedTuple):
    """A namespace whose default is not put back, and why."""

    title: str
    default: str
    remembered: str
    why: str
    hint: str


class DefaultPlan(NamedTuple):
    """All that is to be done: ``allow`` are the names to be put on the allowed list first.

    ``allowed_thereby`` get on it without that, by becoming the default of the initial namespace.
    """

    steps: tuple[Step, ...]
    allow: tuple[str, ...] = ()
    allowed_thereby: tuple[str, ...] = ()
    left: tuple[LeftAlone, ...] = ()


def plan_default(
    name: str,
    sysctls: Sequence[DefaultSysctl],
    remembered: Mapping[int, SavedDefault],
    controls: CongestionControls,
    *,
    allow: bool,
    older: Collection[int] = (),
) -> DefaultPlan:
    """Plan to make an algorithm the default of namespaces; in ``older`` (inodes) it is an earlier version of it.

    Raises ``NotFoundError`` when none of that name is registered, and
    the error of ``not_allowed`` when a write would leak.
    """
    check_congestion_control_name(name)
    _check_registered(name, controls)
    steps = [
        _set(item, name, remembered.get(item.identity), older=item.namespace.inode in older)
        for item in sysctls
    ]
    needed = _needed(steps, controls)
    if needed and not allow:
        raise not_allowed(name, _titles(steps))
    return DefaultPlan(_ordered(steps, controls), needed, _thereby(steps, controls))


def _set(sysctl: DefaultSysctl, name: str, entry: SavedDefault | None, *, older: bool) -> Step:
    """Make one step; an entry that is not of the default there now is somebody else's past, and goes."""
    before = sysctl.read()
    if before == name:
        return Step(sysctl, before, name, entry, entry if entry and entry.name == name else None, older)
    return Step(sysctl, before, name, entry, SavedDefault(sysctl.identity, before, name))


def plan_restore(
    sysctls: Sequence[DefaultSysctl],
    remembered: Mapping[int, SavedDefault],
    controls: CongestionControls,
    *,
    allow: bool,
    force: bool,
) -> DefaultPlan:
    """Plan to put back what was the default before; where somebody else changed it since, only with ``force``."""
    steps, left = [], []
    for sysctl in sysctls:
        entry, now = remembered.get(sysctl.identity), sysctl.read()
        if entry is None:
            steps.append(Step(sysctl, now, now, None, None))
            continue
        step = Step(sysctl, now, entry.previous, entry, None)
        if (reason := _obstacle(step, entry, controls, allow=allow, force=force)) is None:
            steps.append(step)
        else:
            left.append(LeftAlone(sysctl.namespace.title, now, entry.previous, *reason))
    needed = _needed(steps, controls) if allow else ()
    return DefaultPlan(_ordered(steps, controls), needed, _thereby(steps, controls), tuple(left))


def _obstacle(
    step: Step, entry: SavedDefault, controls: CongestionControls, *, allow: bool, force: bool
) -> tuple[str, str] | None:
    """Return why a default is not put back and what to do about it; None when nothing is in the way."""
    if step.before == entry.previous:
        return None  # somebody was here before us: only the entry is to go
    where = netns_options_of(step.sysctl.namespace.title)
    if step.before != entry.name and not force:
        return (
            f"it is {step.before} now, and not {entry.name}, which structops had set: somebody else changed it",
            f"structops default --restore --force {where} makes it {entry.previous} all the same",
        )
    if entry.previous not in controls.available:
        return (
            f"{entry.previous} is not registered any more",
            f"choose another one: structops default NAME {where}",
        )
    if not (step.sysctl.namespace.is_initial or allow or entry.previous in controls.allowed):
        return (
            f"{entry.previous} is not in tcp_allowed_congestion_control, and the refused write may leak",
            f"structops default --restore --allow {where} adds it to the list, and any process may then choose it",
        )
    return None


def another_default(
    defaults: Iterable[tuple[NetNamespace, str, SavedDefault | None]], controls: CongestionControls
) -> str:
    """Return the commands that give namespaces another default: the previous one where it is saved and registered.

    ``defaults`` are each namespace, its default, and the saved state.
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


def _needed(steps: Sequence[Step], controls: CongestionControls) -> tuple[str, ...]:
    """Return the names that have to be on the allowed list and are not, nor get there by the steps that come first."""
    wanted = {step.after for step in steps if _is_write(step) and not _is_initial(step)}
    return tuple(sorted(wanted - {*controls.allowed, *_thereby(steps, controls)}))


def _thereby(steps: Sequence[Step], controls: CongestionControls) -> tuple[str, ...]:
    """Return what the kernel itself puts on the allowed list: the initial namespace's default (tcp_set_default_congestion_control)."""
    made = {step.after for step in steps if _is_write(step) and _is_initial(step)}
    return tuple(sorted(made - {*controls.allowed}))


def _ordered(steps: Sequence[Step], controls: CongestionControls) -> tuple[Step, ...]:
    """Put the initial namespace first, and last what could not be undone."""
    return tuple(sorted(steps, key=lambda step: (not _is_initial(step), step.before not in controls.allowed)))


def _titles(steps: Sequence[Step]) -> list[str]:
    return [step.sysctl.namespace.title for step in steps if _is_write(step) and not _is_initial(step)]


def _is_write(step: Step) -> bool:
    return step.older or step.before != step.after


def _is_initial(step: Step) -> bool:
    return step.sysctl.namespace.is_initial


def _previous(entry: SavedDefault | None) -> str | None:
    return entry.previous if entry else None
