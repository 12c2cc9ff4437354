"""Unregister as an operator means it: not what is still in use unless that is wanted, with all that was kept, and to its end."""

from __future__ import annotations

import time
from collections.abc import Callable, Container, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from typing import TYPE_CHECKING, NamedTuple

from structops_cli.btf.kernel_types import KernelTypes
from structops_cli.errors import NotFoundError, StateError, StructopsError, UsageError
from structops_cli.operations.transaction import Change
from structops_cli.operations.versions import drop, kept_pins, users_of
from structops_cli.runtime.interrupts import from_here_uninterrupted, interruptible
from structops_cli.runtime.live_map import LiveMap, MapState
from structops_cli.runtime.pins import dead_pins
from structops_cli.runtime.selection import choose_one, maps_to_change, none_to_change
from structops_cli.runtime.unregistration import Unregistered, UnregisterMethod, unregister
from structops_cli.struct_ops.capabilities import capabilities_of
from structops_cli.struct_ops.kinds import kind_of

if TYPE_CHECKING:
    from structops_cli.operations.drain_report import Drained

__all__ = [
    "Chosen",
    "Retired",
    "changes_of",
    "choose",
    "drain_first",
    "named_in_errors",
    "rehearse",
    "unregister_all",
    "wait_until_gone",
]

POLL_S = 0.05


class Chosen(NamedTuple):
    """The maps, and the pins of detached links, that selectors mean; ``absent`` says why others match nothing."""

    maps: tuple[LiveMap, ...]
    dead_pins: tuple[str, ...]
    absent: dict[str, NotFoundError]


class Retired(NamedTuple):
    """What became of one map; ``dropped`` are the pins of kept versions that went with it, ``still_kept`` those that could not."""

    done: Unregistered
    dropped: tuple[str, ...]
    still_kept: tuple[str, ...] = ()

    @property
    def changed(self) -> bool:
        """Whether anything was done."""
        return self.done.changed or bool(self.dropped)


def choose(stock: Sequence[LiveMap], selectors: Sequence[str], *, every: bool) -> Chosen:
    """Resolve selectors before the first change, each map once; ``every`` map that one matches, or only one of them.

    Raises ``AmbiguousError`` for a selector that matches several, without ``every``.
    """
    maps: dict[int, LiveMap] = {}
    dead: list[str] = []
    absent: dict[str, NotFoundError] = {}
    for selector in selectors:
        try:
            found = maps_to_change(stock, selector)
        except NotFoundError as error:  # of a pin
            absent[selector] = error
            continue
        gone = dead_pins(selector)
        if found:
            found = found if every else (choose_one(found, selector),)
        elif not gone:
            absent[selector] = none_to_change(stock, selector)
        maps |= {live.info.id: live for live in found}
        dead += gone
    return Chosen(tuple(maps.values()), tuple(dict.fromkeys(dead)), absent)


def drain_first(
    stock: Sequence[LiveMap],
    chosen: Sequence[LiveMap],
    to: str | None,
    *,
    timeout_s: float,
    dry_run: bool,
    say: Callable[[str], object],
) -> tuple[Drained, ...]:
    """Move the sockets of what is to be unregistered to another algorithm, older versions of the same name first.

    Without ``to`` those go to the registered version, and it is their namespace's default that all get then.
    Errors as of ``drain``; ``UsageError`` when they were to go to what is unregistered.
    """
    from structops_cli.operations.drain import drain
    from structops_cli.operations.drain_plan import choose_source  # only who asks for it waits for them

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
            f"sockets cannot go to {to}: that is what is unregistered",
            hint="name another algorithm with --to",
        )
    ids = {live.info.id for live in chosen}
    drained = [item for item in stock if item.refcnt and (item.info.id in ids or item.name in going)]
    used = [item for item in drained if kind_of(item.type.name).naming.chosen_by_name]
    used.sort(key=lambda item: item.state == MapState.REGISTERED)
    sources = [choose_source(f"id:{item.info.id}", to) for item in used]  # what is wrong with one, before any
    return tuple(drain(source, timeout_s=timeout_s, dry_run=dry_run, say=say) for source in sources)


def unregister_all(stock: Sequence[LiveMap], chosen: Sequence[LiveMap]) -> tuple[Retired, ...]:
    """Unregister maps and drop the kept versions of each; a kept version that is chosen itself is dropped.

    Killed in the middle, it is brought to its end. No signal comes from here to the end of the process.
    """
    kept = {live.info.id: _kept(stock, live) for live in chosen}

    def finish() -> None:
        for live in chosen:
            with suppress(StructopsError):  # the next one all the same
                unregister(live)
            drop(kept[live.info.id])

    from_here_uninterrupted()
    done: list[Retired] = []
    with _guard(chosen, kept, finish), named_in_errors(done):
        for live in chosen:
            done.append(_retire(live, kept[live.info.id]))  # noqa: PERF401 -- an error tells what is in it
    return tuple(done)


@contextmanager
def named_in_errors(done: Sequence[Retired]) -> Iterator[None]:
    """Name the maps that are unregistered already in an error of what follows: nothing registers them again."""
    try:
        yield
    except StructopsError as error:
        if names := [f"{item.done.name} (id:{item.done.map_id})" for item in done if item.changed]:
            error.what += f"; unregistered before: {', '.join(names)}"
        raise


def _retire(live: LiveMap, kept: tuple[str, ...]) -> Retired:
    done, dropped = unregister(live), drop(kept)
    return Retired(done, dropped.gone, dropped.still_there)


def _guard(
    chosen: Sequence[LiveMap], kept: dict[int, tuple[str, ...]], finish: Callable[[], None]
) -> AbstractContextManager[None]:
    """Return what brings several effects to their end; nothing where there is only one."""
    pins = sum(len(link.pins) + 1 for live in chosen for link in live.links)
    if len(chosen) + pins + sum(map(len, kept.values())) < 2:
        return nullcontext()
    from structops_cli.operations.recovery import recovery_process  # a map without links has one effect

    return recovery_process(finish)


def _kept(stock: Sequence[LiveMap], live: LiveMap) -> tuple[str, ...]:
    """Return the pins of kept versions that go with a map: its own, and of a registered one all of its name."""
    if live.state != MapState.REGISTERED:
        return kept_pins(live)
    alike = [item for item in stock if (item.type.name, item.name) == (live.type.name, live.name)]
    return tuple(pin for item in alike for pin in kept_pins(item))


def rehearse(
    kernel: KernelTypes, stock: Sequence[LiveMap], chosen: Sequence[LiveMap], drained: Sequence[Drained] = ()
) -> tuple[Retired, ...]:
    """Return what ``unregister_all`` would answer, as far as it can be known beforehand; what is drained uses nothing."""
    moved = {number: sum(item.moved.values()) for item in drained for number in item.source.of_maps}
    return tuple(_rehearse_one(kernel, stock, live, moved.get(live.info.id, 0)) for live in chosen)


def _rehearse_one(kernel: KernelTypes, stock: Sequence[LiveMap], live: LiveMap, moved: int) -> Retired:
    registered = live.state in (MapState.REGISTERED, MapState.EJECTED)
    by_link = UnregisterMethod.DETACH if capabilities_of(kernel).link_detach else UnregisterMethod.UNPIN
    how = (by_link if live.links else UnregisterMethod.DELETE) if registered else UnregisterMethod.NOTHING
    links = tuple(link.id for link in live.links)
    pins = tuple(pin for link in live.links for pin in link.pins)
    users = max((users_of(live) if registered else live.refcnt) - moved, 0)
    done = Unregistered(
        live.info.id, live.name, live.type.name, how, links, pins, registered, registered and not users, users
    )
    return Retired(done, _kept(stock, live))


def changes_of(done: Sequence[Retired], drained: Sequence[Drained] = ()) -> list[Change]:
    """Return what was changed, one entry a version that was drained, and one a map."""
    moves = [
        Change(
            f"sockets that use {item.source.name} (id:{', id:'.join(map(str, item.source.of_maps))})",
            {"sockets": sum(item.moved.values()) + len(item.left)},
            {"sockets": len(item.left)},
        )
        for item in drained
    ]
    return moves + [
        Change(
            f"{item.done.type_name} {item.done.name} (id:{item.done.map_id})",
            {"registered": item.done.changed, "kept": list(item.dropped)},
            {"registered": False, "kept": []},
        )
        for item in done
    ]


def wait_until_gone(
    look: Callable[[], Sequence[LiveMap]],
    wanted: Sequence[Retired],
    seconds: float,
    progress: Callable[[str], object],
) -> tuple[LiveMap, ...]:
    """Wait until the kernel has freed maps; return those that it has not after so many seconds.

    ``progress`` is told who is waited for, whenever that changes. Signals are let in meanwhile.
    """
    with interruptible():
        return _wait(look, {item.done.map_id for item in wanted}, time.monotonic() + seconds, progress)


def _wait(
    look: Callable[[], Sequence[LiveMap]],
    ids: Container[int],
    deadline: float,
    progress: Callable[[str], object],
) -> tuple[LiveMap, ...]:
    said = ""
    while True:
        left = tuple(live for live in look() if live.info.id in ids)
        if not left or time.monotonic() >= deadline:
            return left
        text = "; ".join(_waiting(live) for live in left)
        if text != said:
            progress(text)
            said = text
        time.sleep(POLL_S)


def _waiting(live: LiveMap) -> str:
    held = f"{live.refcnt} still hold it" if live.refcnt else "the kernel has not freed it yet"
    pins = f"; it is pinned at {', '.join(live.pins)}" if live.pins else ""
    return f"waiting for {live.name} (id:{live.info.id}): {held}{pins}"
