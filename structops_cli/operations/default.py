"""Set an algorithm as the default of namespaces, restore previous defaults, and show them.

The steps: delete the saved state of vanished namespaces; add the names to the allowed
list; then one step per namespace, which saves the previous default and writes the sysctl.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import NamedTuple

from structops_cli.errors import NotFoundError, NotPermittedError, StructopsError
from structops_cli.net.congestion_controls import CongestionControls, read_congestion_controls
from structops_cli.net.namespace_entry import inside, namespace_identity
from structops_cli.net.namespaces import NetNamespace, find_namespaces
from structops_cli.net.sysctls import AllowedList, DefaultSysctl, open_allowed, open_default
from structops_cli.operations.default_plan import (
    DefaultPlan,
    LeftAlone,
    PlannedDefault,
    plan_default,
    plan_restore,
)
from structops_cli.operations.default_versions import older_versions
from structops_cli.operations.state_store import SavedDefault, StateStore
from structops_cli.operations.target_namespaces import NamespaceChoice, target_namespaces
from structops_cli.operations.transaction import Caller, Change, Recovery, Step, Transaction, transaction
from structops_cli.operations.vanished_namespaces import delete_vanished_step

Planner = Callable[[Sequence[DefaultSysctl], dict[int, SavedDefault]], DefaultPlan]


class NamespaceDefault(NamedTuple):
    """The default of one namespace, and the saved one.

    ``retired``: the default is not registered any more. ``older_map_id`` is the id of its
    map if another version has its name, None otherwise.
    """

    namespace: NetNamespace
    default: str
    retired: bool
    saved: SavedDefault | None
    older_map_id: int | None = None


class DefaultsChanged(NamedTuple):
    """The result. ``allowed``: names added to the allowed list. ``gone``: vanished namespaces."""

    changes: tuple[Change, ...]
    allowed: tuple[str, ...]
    left: tuple[LeftAlone, ...]
    gone: tuple[str, ...]


# Reading


def read_defaults(found: Iterable[NetNamespace]) -> tuple[tuple[NamespaceDefault, ...], tuple[str, ...]]:
    """Return the default of each namespace, and notes on those that could not be inspected."""
    notes: list[str] = []
    saved: dict[int, SavedDefault] = {}
    try:
        saved = StateStore().defaults()
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
            seen.append(NamespaceDefault(namespace, controls.default, retired, saved.get(identity)))
    older = older_versions({item.default for item in seen})
    return (
        tuple(item._replace(older_map_id=older.get(item.namespace.inode)) for item in seen),
        tuple(notes),
    )


def _read_here() -> tuple[CongestionControls, int]:
    return read_congestion_controls(), namespace_identity()


# Changing


def set_default(
    name: str,
    choice: NamespaceChoice,
    *,
    allow: bool = False,
    dry_run: bool = False,
    caller: Caller | None = None,
) -> DefaultsChanged:
    """Make a registered algorithm the default of namespaces, and save the previous defaults.

    Open sockets keep their algorithm. ``allow``: add the name to the allowed list if it is
    needed there. Raises as ``plan_default`` and ``open_default`` do, before the first write.
    """

    def planned(sysctls: Sequence[DefaultSysctl], saved: dict[int, SavedDefault]) -> DefaultPlan:
        older = older_versions({name}) if any(item.read() == name for item in sysctls) else {}
        return plan_default(name, sysctls, saved, read_congestion_controls(), allow=allow, older=older)

    with transaction(dry_run=dry_run, caller=caller) as run:
        return _change(run, choice, planned)


def restore_defaults(
    choice: NamespaceChoice,
    *,
    allow: bool = False,
    force: bool = False,
    dry_run: bool = False,
    caller: Caller | None = None,
) -> DefaultsChanged:
    """Restore the defaults that ``set_default`` saved.

    ``force``: also where another process has changed the default since. Raises as ``set_default``.
    """

    def planned(sysctls: Sequence[DefaultSysctl], saved: dict[int, SavedDefault]) -> DefaultPlan:
        return plan_restore(sysctls, saved, read_congestion_controls(), allow=allow, force=force)

    with transaction(dry_run=dry_run, caller=caller) as run:
        return _change(run, choice, planned)


def _change(run: Transaction, choice: NamespaceChoice, planned: Planner) -> DefaultsChanged:
    store = StateStore()
    found = find_namespaces()
    with ExitStack() as open_files:
        sysctls, gone = _open_all(target_namespaces(found, choice), open_files)
        plan = planned(sysctls, store.defaults())
        allowed = open_files.enter_context(_allowed_list(plan, found))
        steps = [] if run.dry_run else delete_vanished_step(store, found)
        if allowed is not None and plan.allow:
            steps.append(_allow_step(allowed, plan.allow))
        steps += [_default_step(one, store, allowed) for one in plan.defaults]
        changes = tuple(one.change for one in plan.defaults)
        if len(steps) > len(changes) or any(one.is_change for one in changes):
            changes = run.steps(steps, recovery=Recovery.FORWARD)
        return DefaultsChanged(changes, (*plan.allow, *plan.allowed_thereby), plan.left, gone)


def _open_all(
    targets: Sequence[NetNamespace], open_files: ExitStack
) -> tuple[list[DefaultSysctl], tuple[str, ...]]:
    """Open the default of each namespace for writing; also return the vanished titles."""
    sysctls, gone = [], []
    for namespace in targets:
        try:
            sysctls.append(open_files.enter_context(open_default(namespace)))
        except NotFoundError:
            gone.append(namespace.title)
    return sysctls, tuple(gone)


@contextmanager
def _allowed_list(plan: DefaultPlan, found: Sequence[NetNamespace]) -> Iterator[AllowedList | None]:
    """Open the allowed list if the plan changes it.

    The plan adds a name to it, or changes the default of the initial namespace.
    """
    initial = [namespace for namespace in found if namespace.is_initial]
    writes_initial = any(one.is_initial and one.change.is_change for one in plan.defaults)
    if not (plan.allow or (writes_initial and initial)):
        yield None
        return
    if not initial:
        raise StructopsError(
            "tcp_allowed_congestion_control cannot be written here",
            why="only the initial network namespace may write it, and this process cannot reach it",
            hint="run this on the host, or register the algorithm with --set flags=non_restricted",
        )
    with open_allowed(initial[0]) as allowed:
        yield allowed


# Steps. Each may run again at any point, so the recovery process repeats all of them.


def _allow_step(allowed: AllowedList, names: Sequence[str]) -> Step:
    """Return the step that adds names to the allowed list."""
    before = allowed.read()

    def do() -> None:
        for name in names:
            allowed.add(name)

    def undo() -> None:
        for name in names:
            if name not in before:
                allowed.remove(name)

    return Step(do, undo=undo)


def _default_step(one: PlannedDefault, store: StateStore, allowed: AllowedList | None) -> Step:
    """Return the step that saves the previous default of a namespace, and writes the new one.

    The kernel puts the default of the initial namespace on the allowed list.
    """
    is_added = allowed is not None and one.is_initial and one.after not in allowed.read()

    def do() -> None:
        _save(store, one.sysctl, one.saved_after)
        if one.older or one.sysctl.read() != one.after:
            one.sysctl.write(one.after)

    def undo() -> None:
        try:
            if one.sysctl.read() != one.before:
                one.sysctl.write(one.before)
            _save(store, one.sysctl, one.saved_before)
        except StructopsError as error:
            error.what = f"{one.sysctl.namespace.title} keeps {one.after}: {error.what}"
            raise
        if allowed is not None and is_added:
            allowed.remove(one.after)

    return Step(do, undo=undo, change=one.change)


def _save(store: StateStore, sysctl: DefaultSysctl, entry: SavedDefault | None) -> None:
    if entry is None:
        store.delete_default(sysctl.identity)
    else:
        store.save_default(entry)
