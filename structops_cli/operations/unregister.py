"""Unregister maps, with their kept versions and the pins of their detached links.

The steps, if ``--drain`` asks for it: move the sockets of each version. Then one step per
map, and one per pin of a detached link. A killed run is completed, because an
unregistered map cannot be registered again from here.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Container, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from structops_cli.btf.kernel_types import KernelTypes
from structops_cli.errors import NotFoundError, StateError, StructopsError, UsageError
from structops_cli.operations.dependents import Dependents, find_dependents, refuse_dependents
from structops_cli.operations.transaction import (
    BEFORE_ALL,
    Caller,
    Change,
    Recovery,
    Step,
    Transaction,
    transaction,
)
from structops_cli.operations.versions import drop, kept_pins, users_of
from structops_cli.runtime.interrupts import interruptible
from structops_cli.runtime.inventory import list_maps
from structops_cli.runtime.live_map import LiveMap, MapState
from structops_cli.runtime.pins import dead_pins, remove_pin
from structops_cli.runtime.selection import choose_one, maps_to_change, none_to_change
from structops_cli.runtime.unregistration import Unregistered, UnregisterMethod
from structops_cli.runtime.unregistration import unregister as unregister_map
from structops_cli.shell_words import shell_words
from structops_cli.struct_ops.capabilities import capabilities_of
from structops_cli.struct_ops.kinds import kind_of

if TYPE_CHECKING:
    from structops_cli.operations.drain_report import Drained
    from structops_cli.operations.drain_source import Source

POLL_S = 0.05


class UnregisterOptions(NamedTuple):
    """The options of an unregistration.

    ``every``: all maps that a selector matches. ``if_present``: a selector may match nothing.
    ``force``: also unregister maps that have dependents. ``drain``: first move the sockets,
    to the congestion control ``to`` if given, for at most ``drain_s`` seconds (None: 10).
    """

    every: bool = False
    if_present: bool = False
    force: bool = False
    drain: bool = False
    to: str | None = None
    drain_s: float | None = None


class Retired(NamedTuple):
    """The result for one map. ``still_kept`` are kept versions' pins that were not removed."""

    done: Unregistered
    dropped: tuple[str, ...]
    still_kept: tuple[str, ...] = ()

    @property
    def changed(self) -> bool:
        """Whether the map was registered or kept before."""
        return self.done.changed or bool(self.dropped)


class UnregisterResult(NamedTuple):
    """The result of an unregistration. ``absent`` has an error per selector without a match."""

    selected: tuple[LiveMap, ...]
    retired: tuple[Retired, ...]
    dead_pins: tuple[str, ...]
    absent: Mapping[str, NotFoundError]
    dependents: tuple[Dependents, ...]
    drained: tuple[Drained, ...]
    changes: tuple[Change, ...]


def unregister(
    kernel: KernelTypes,
    selectors: Sequence[str],
    options: UnregisterOptions | None = None,
    *,
    dry_run: bool = False,
    caller: Caller | None = None,
    progress: Callable[[str], object] = str,
    drained: Callable[[Drained], object] | None = None,
) -> UnregisterResult:
    """Unregister each selected map: delete it, detach its links, or unpin them.

    All selectors are resolved before the first change. ``drained`` receives the result of
    each drain, because later errors do not undo it. Raises ``AmbiguousError`` if one selector
    matches several maps, ``NotFoundError`` if it matches none, ``StateError`` if a map has
    dependents.
    """
    options = options or UnregisterOptions()
    with transaction(dry_run=dry_run, caller=caller) as run:
        maps = list_maps(kernel)
        found = _select(maps, selectors, every=options.every)
        if not options.if_present:
            _refuse_absent(found.absent)
        dependents = tuple(find_dependents(live) for live in found.maps)
        if not options.force:
            for one in dependents:
                refuse_dependents(one)
        drains = _drain(run, kernel, maps, found.maps, options, progress, drained) if options.drain else []
        retirements = [_Retirement(kernel, maps, live, drains) for live in found.maps]
        steps = [*(one.step() for one in retirements), *map(_dead_pin_step, found.dead_pins)]
        changes = run.steps(steps, commit=BEFORE_ALL, recovery=Recovery.FORWARD)
    return UnregisterResult(
        found.maps,
        tuple(one.result for one in retirements),
        found.dead_pins,
        found.absent,
        dependents,
        tuple(drains),
        (*(_drain_change(item) for item in drains), *changes),
    )


# Selection


class _Selected(NamedTuple):
    """The maps and the pins of detached links that selectors match."""

    maps: tuple[LiveMap, ...]
    dead_pins: tuple[str, ...]
    absent: dict[str, NotFoundError]


def _select(maps: Sequence[LiveMap], selectors: Sequence[str], *, every: bool) -> _Selected:
    """Resolve selectors, each map once. Without ``every`` a selector may match one map only."""
    chosen: dict[int, LiveMap] = {}
    dead: list[str] = []
    absent: dict[str, NotFoundError] = {}
    for selector in selectors:
        try:
            found = maps_to_change(maps, selector)
        except NotFoundError as error:  # no such pin
            absent[selector] = error
            continue
        pins = dead_pins(selector)
        if found:
            found = found if every else (choose_one(found, selector),)
        elif not pins:
            absent[selector] = none_to_change(maps, selector)
        chosen |= {live.info.id: live for live in found}
        dead += pins
    return _Selected(tuple(chosen.values()), tuple(dict.fromkeys(dead)), absent)


def _refuse_absent(absent: dict[str, NotFoundError]) -> None:
    """Raise the error of the first selector that matches nothing; it lists the others."""
    for error in absent.values():
        if len(absent) > 1:
            error.add(absent=list(absent))
        raise error


# Sockets


def _drain(
    run: Transaction,
    kernel: KernelTypes,
    maps: Sequence[LiveMap],
    chosen: Sequence[LiveMap],
    options: UnregisterOptions,
    progress: Callable[[str], object],
    report: Callable[[Drained], object] | None,
) -> list[Drained]:
    """Move the sockets of maps to another algorithm, those of older versions first."""
    from structops_cli.operations.drain import DRAIN_S, DrainOptions, drain_sockets  # only --drain needs it

    timeout_s = DRAIN_S if options.drain_s is None else options.drain_s
    done = []
    for source in _sources(kernel, maps, chosen, options.to):
        done.append(drain_sockets(run, source, DrainOptions(options.to, timeout_s), progress))
        if report is not None:
            report(done[-1])
    return done


def _sources(
    kernel: KernelTypes, maps: Sequence[LiveMap], chosen: Sequence[LiveMap], to: str | None
) -> list[Source]:
    """Return the versions to drain.

    Raises ``UsageError`` if sockets would go to an unregistered map.
    """
    from structops_cli.operations.drain_source import choose_source  # only --drain needs it

    for live in chosen:
        if live.type.unread:
            raise StateError(
                f"{live.name} (id:{live.info.id}) is not unregistered: its sockets cannot be moved",
                why=f"its type is not known: {live.type.unread}",
                hint="leave out --drain",
            )
    registered = [live for live in chosen if live.state == MapState.REGISTERED]
    going = {live.name for live in registered if kind_of(live.type.name).naming.chosen_by_name}
    if to in going:
        raise UsageError(
            f"sockets cannot go to {to}: this command unregisters it",
            hint="name another algorithm with --to",
        )
    ids = {live.info.id for live in chosen}
    referenced = [item for item in maps if item.refcnt and (item.info.id in ids or item.name in going)]
    by_name = [item for item in referenced if kind_of(item.type.name).naming.chosen_by_name]
    by_name.sort(key=lambda item: item.state == MapState.REGISTERED)
    return [choose_source(kernel, f"id:{item.info.id}", to) for item in by_name]


def _drain_change(done: Drained) -> Change:
    return Change(
        f"sockets that use {done.source.name} (id:{', id:'.join(map(str, done.source.of_maps))})",
        {"sockets": sum(done.moved.values()) + len(done.left)},
        {"sockets": len(done.left)},
    )


# Steps


class _Retirement:
    """Unregisters one map and removes the pins of its kept versions."""

    def __init__(
        self, kernel: KernelTypes, maps: Sequence[LiveMap], live: LiveMap, drained: Sequence[Drained]
    ) -> None:
        self._kernel = kernel
        self._live = live
        self._kept = _kept(maps, live)
        self._moved = sum(sum(item.moved.values()) for item in drained if live.info.id in item.source.of_maps)
        self.result: Retired

    def step(self) -> Step:
        """Return the step. The recovery process may repeat it."""
        return Step(self._do, check=self._check, atomic=not (self._live.links or self._kept))

    def _do(self) -> Change:
        done, dropped = unregister_map(self._live), drop(self._kept)
        self.result = Retired(done, dropped.gone, dropped.still_there)
        return _change(self.result)

    def _check(self) -> Change:
        """Predict the result; drained sockets reference nothing."""
        live = self._live
        registered = live.state in (MapState.REGISTERED, MapState.EJECTED)
        by_link = (
            UnregisterMethod.DETACH if capabilities_of(self._kernel).link_detach else UnregisterMethod.UNPIN
        )
        how = UnregisterMethod.NOTHING
        if registered:
            how = by_link if live.links else UnregisterMethod.DELETE
        links = tuple(link.id for link in live.links)
        pins = tuple(pin for link in live.links for pin in link.pins)
        refcnt = max((users_of(live) if registered else live.refcnt) - self._moved, 0)
        gone = registered and not refcnt
        done = Unregistered(
            live.info.id, live.name, live.type.name, how, links, pins, registered, gone, refcnt
        )
        self.result = Retired(done, self._kept)
        return _change(self.result)


def _change(one: Retired) -> Change:
    return Change(
        f"{one.done.type_name} {one.done.name} (id:{one.done.map_id})",
        {"registered": one.done.changed, "kept": list(one.dropped)},
        {"registered": False, "kept": []},
    )


def _kept(maps: Sequence[LiveMap], live: LiveMap) -> tuple[str, ...]:
    """Return the pins that keep a map, or for a registered map all versions of its name."""
    if live.state != MapState.REGISTERED:
        return kept_pins(live)
    alike = [item for item in maps if (item.type.name, item.name) == (live.type.name, live.name)]
    return tuple(pin for item in alike for pin in kept_pins(item))


def _dead_pin_step(path: str) -> Step:
    """Return the step that removes the pin of a detached link."""

    def do() -> None:
        remove_pin(path)
        drop([path])  # removes the folder if it is empty

    return Step(do, change=Change(f"pin {path}", {"pinned": True}, {"pinned": False}))


# After the steps


def wait_until_freed(
    kernel: KernelTypes, map_ids: Container[int], seconds: float, progress: Callable[[str], object] = str
) -> tuple[LiveMap, ...]:
    """Wait until the kernel has freed maps; return those that are left after ``seconds``.

    ``progress`` receives a line whenever the references change. Signals arrive meanwhile.
    """
    with interruptible():
        deadline = time.monotonic() + seconds
        reported = ""
        while True:
            left = tuple(live for live in list_maps(kernel) if live.info.id in map_ids)
            if not left or time.monotonic() >= deadline:
                return left
            text = "; ".join(_waiting(live) for live in left)
            if text != reported:
                progress(text)
                reported = text
            time.sleep(POLL_S)


def _waiting(live: LiveMap) -> str:
    held = f"{live.refcnt} still hold it" if live.refcnt else "the kernel has not freed it yet"
    pins = f"; it is pinned at {', '.join(live.pins)}" if live.pins else ""
    return f"waiting for {live.name} (id:{live.info.id}): {held}{pins}"


def refuse_not_freed(done: UnregisterResult, left: Sequence[LiveMap], seconds: float) -> None:
    """Raise if maps are not freed after ``seconds`` or pins of kept versions were not removed."""
    if left:
        first = left[0]
        pins = f", and it is pinned at {', '.join(first.pins)}" if first.pins else ""
        raise StateError(
            f"{first.name} (id:{first.info.id}) is unregistered, and not gone after {seconds:g} s",
            why=f"{first.refcnt or 'no sockets or defaults'} still hold it{pins}",
            hint=f"structops status id:{first.info.id} names the holders",
            candidates=[f"id:{live.info.id}" for live in left],
        )
    if still := [pin for item in done.retired for pin in item.still_kept]:
        raise StructopsError(
            f"{len(still)} of the kept versions could not be removed",
            why=f"all else is done; still there: {', '.join(still)}",
            hint=f"remove them: {shell_words('rm', *still)}",
        )
