"""Make an algorithm the default of namespaces, put back what it was before, and show both: all or nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import NamedTuple

from structops_cli.errors import NotFoundError, NotPermittedError, StructopsError
from structops_cli.net.congestion_controls import CongestionControls, read_congestion_controls
from structops_cli.net.namespace_entry import inside, namespace_identity
from structops_cli.net.namespaces import NetNamespace
from structops_cli.net.sysctls import AllowedList, DefaultSysctl, open_allowed, open_default
from structops_cli.operations.default_plan import DefaultPlan, LeftAlone, Step, plan_default, plan_restore
from structops_cli.operations.default_versions import older_versions
from structops_cli.operations.recovery import recovery_process
from structops_cli.operations.state_store import STATE_PATH, SavedDefault, StateStore
from structops_cli.operations.transaction import Change, changed
from structops_cli.operations.vanished_namespaces import vanished_namespaces
from structops_cli.runtime.interrupts import from_here_uninterrupted

__all__ = [
    "DefaultsChanged",
    "NamespaceDefault",
    "make_default",
    "read_defaults",
    "restore_defaults",
]

Planner = Callable[[Sequence[DefaultSysctl], dict[int, SavedDefault]], DefaultPlan]


class NamespaceDefault(NamedTuple):
    """The default of one namespace as it is now, and what is remembered of it.

    ``retired``: new sockets get what is not registered any more. ``older_map_id``
    is of the map that they get while another version has its name, None otherwise.
    """

    namespace: NetNamespace
    default: str
    retired: bool
    remembered: SavedDefault | None
    older_map_id: int | None = None


class DefaultsChanged(NamedTuple):
    """What was done, or would be: each namespace, the allowed list, what was left alone, and which namespaces are gone."""

    changes: tuple[Change, ...]
    allowed: tuple[str, ...]
    left: tuple[LeftAlone, ...]
    gone: tuple[str, ...]


# Showing


def read_defaults(
    found: Iterable[NetNamespace], path: str = STATE_PATH
) -> tuple[tuple[NamespaceDefault, ...], tuple[str, ...]]:
    """Return the default of each namespace, and notes on what could not be looked at. Changes nothing."""
    notes: list[str] = []
    remembered: dict[int, SavedDefault] = {}
    try:
        remembered = StateStore(path).defaults()
    except StructopsError as error:
        notes.append(f"what was the default before is not known: {error}")
    seen = []
    for namespace in found:
        try:
            controls, identity = inside(namespace, _read_here)
        except NotFoundError:
            notes.append(f"{namespace.title} is gone meanwhile")
        except NotPermittedError as error:
            notes.append(f"{namespace.title} is left out: {error.why}")
        else:
            retired = controls.default not in controls.available
            seen.append(NamespaceDefault(namespace, controls.default, retired, remembered.get(identity)))
    older = older_versions({item.default for item in seen})
    return (
        tuple(item._replace(older_map_id=older.get(item.namespace.inode)) for item in seen),
        tuple(notes),
    )


def _read_here() -> tuple[CongestionControls, int]:
    return read_congestion_controls(), namespace_identity()


# Changing


def make_default(
    name: str,
    targets: Sequence[NetNamespace],
    found: Sequence[NetNamespace],
    *,
    allow: bool = False,
    dry_run: bool = False,
    path: str = STATE_PATH,
) -> DefaultsChanged:
    """Make a registered algorithm the default of namespaces, and remember what it was before.

    ``found`` are all namespaces of the machine: the initial one is where the
    allowed list is written. The machine's lock is the caller's. Everything is
    checked before the first write; a failure later undoes what was written.
    Raises what ``plan_default``, ``open_default`` and ``StateStore`` raise.
    """
    controls = read_congestion_controls()
    return _change(
        targets,
        found,
        lambda sysctls, remembered: plan_default(
            name, sysctls, remembered, controls, allow=allow, older=_older(name, sysctls)
        ),
        dry_run=dry_run,
        path=path,
    )


def _older(name: str, sysctls: Sequence[DefaultSysctl]) -> dict[int, int]:
    """Look for earlier versions only where the name is the default already."""
    return older_versions({name}) if any(item.read() == name for item in sysctls) else {}


def restore_defaults(
    targets: Sequence[NetNamespace],
    found: Sequence[NetNamespace],
    *,
    allow: bool = False,
    force: bool = False,
    dry_run: bool = False,
    path: str = STATE_PATH,
) -> DefaultsChanged:
    """Put back the defaults that ``make_default`` remembers, as ``plan_restore`` says; else as ``make_default``."""
    controls = read_congestion_controls()
    return _change(
        targets,
        found,
        lambda sysctls, remembered: plan_restore(sysctls, remembered, controls, allow=allow, force=force),
        dry_run=dry_run,
        path=path,
    )


def _change(
    targets: Sequence[NetNamespace],
    found: Sequence[NetNamespace],
    planned: Planner,
    *,
    dry_run: bool,
    path: str,
) -> DefaultsChanged:
    memory = StateStore(path)
    with ExitStack() as open_files:
        sysctls, gone = _open_all(targets, open_files)
        plan = planned(sysctls, memory.defaults())
        allowed = open_files.enter_context(_allowed_list(plan, found))
        effects = _Effects(plan, allowed, memory, () if dry_run else vanished_namespaces(memory, found))
        if not dry_run and effects.are_any():
            from_here_uninterrupted()
            with recovery_process(effects.apply):
                effects.apply()
        changes = tuple(step.change for step in plan.steps)
        return DefaultsChanged(changes, (*plan.allow, *plan.allowed_thereby), plan.left, gone)


def _open_all(
    targets: Sequence[NetNamespace], open_files: ExitStack
) -> tuple[list[DefaultSysctl], tuple[str, ...]]:
    """Open the default of each namespace for writing; one that is gone meanwhile is named, and no failure."""
    sysctls, gone = [], []
    for namespace in targets:
        try:
            sysctls.append(open_files.enter_context(open_default(namespace)))
        except NotFoundError:
            gone.append(namespace.title)
    return sysctls, tuple(gone)


@contextmanager
def _allowed_list(plan: DefaultPlan, found: Sequence[NetNamespace]) -> Iterator[AllowedList | None]:
    """Open the allowed list where the plan changes it: by a name that it needs, or by the default of the initial namespace."""
    initial = [namespace for namespace in found if namespace.is_initial]
    writes_initial = any(step.sysctl.namespace.is_initial and step.change.is_change for step in plan.steps)
    if not (plan.allow or (writes_initial and initial)):
        yield None
        return
    if not initial:
        raise StructopsError(
            "tcp_allowed_congestion_control cannot be written here",
            why="only the initial network namespace may write it, and no process of it is in sight",
            hint="run this on the host, or register the algorithm with --set flags=non_restricted",
        )
    with open_allowed(initial[0]) as allowed:
        yield allowed


class _Effects:
    """What a plan does to the kernel: all of it, or after a failure nothing. Safe to be applied again from any point on."""

    def __init__(
        self, plan: DefaultPlan, allowed: AllowedList | None, memory: StateStore, vanished: tuple[int, ...]
    ) -> None:
        self._plan = plan
        self._allowed = allowed
        self._memory = memory
        self._vanished = vanished
        self._allowed_before = allowed.read() if allowed else ()

    def are_any(self) -> bool:
        """Tell whether there is anything to do at all."""
        return bool(self._vanished or self._plan.allow) or changed([s.change for s in self._plan.steps])

    def apply(self) -> None:
        """Do it, in an order in which nothing leaks; undo what was done when a step fails."""
        done: list[Step] = []
        try:
            self._begin()
            for step in self._plan.steps:
                done.append(step)
                self._do(step)
        except BaseException as error:
            kept = self._undo(done)
            if kept and isinstance(error, StructopsError):
                error.hint = "; ".join([*filter(None, [error.hint]), *kept])
            raise

    def _begin(self) -> None:
        for namespace in self._vanished:
            self._memory.delete_namespace(namespace)
        for name in self._plan.allow:
            if self._allowed:
                self._allowed.add(name)

    def _do(self, step: Step) -> None:
        self._remember(step, step.entry_after)
        if step.older or step.sysctl.read() != step.after:
            step.sysctl.write(step.after)

    def _undo(self, done: list[Step]) -> list[str]:
        """Put everything back, the last first; return what could not be, in words."""
        kept = []
        for step in reversed(done):
            try:
                if step.sysctl.read() != step.before:
                    step.sysctl.write(step.before)
                self._remember(step, step.entry_before)
            except StructopsError as error:
                kept.append(f"{step.sysctl.namespace.title} keeps {step.after}: {error}")
        try:
            for name in {*self._plan.allow, *(step.after for step in done)}:
                if self._allowed and name not in self._allowed_before:
                    self._allowed.remove(name)
        except StructopsError as error:
            kept.append(str(error))
        return kept

    def _remember(self, step: Step, entry: SavedDefault | None) -> None:
        if entry is None:
            self._memory.delete_default(step.sysctl.identity)
        else:
            self._memory.save_default(entry)
