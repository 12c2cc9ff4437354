"""Give a route a congestion control, take it off, make or delete one; what cannot be seen afterwards is remembered."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress

from structops_cli.errors import KernelError, NotFoundError, StateError, StructopsError
from structops_cli.net.congestion_controls import read_congestion_controls
from structops_cli.net.namespace_entry import inside, namespace_identity
from structops_cli.net.namespaces import NetNamespace
from structops_cli.net.route_changes import add_route, change_route, delete_route
from structops_cli.net.routes import Route, RouteSpec, read_routes
from structops_cli.operations.chosen_routes import route_key
from structops_cli.operations.recovery import recovery_process
from structops_cli.operations.route_goal import RouteGoal, goal_of, metric_of
from structops_cli.operations.state_store import STATE_PATH, RouteKey, SavedRoute, StateStore
from structops_cli.operations.transaction import Change
from structops_cli.operations.vanished_namespaces import vanished_namespaces
from structops_cli.runtime.interrupts import from_here_uninterrupted
from structops_cli.shell_words import shell_words

__all__ = ["change_one_route"]


def change_one_route(
    verb: str,
    words: RouteSpec,
    namespace: NetNamespace,
    found: Sequence[NetNamespace],
    *,
    locked: bool = False,
    dry_run: bool = False,
    path: str = STATE_PATH,
) -> Change:
    """Carry out ``add``, ``change``, ``clear`` or ``del`` for one route of a namespace; return what was before and what is now.

    ``clear`` writes the route again in any case: no look can tell that it chooses nothing.
    Raises ``NotFoundError`` without such a route or algorithm, ``AmbiguousError``
    for more than one, ``StructopsError`` for a route that is in the way, ``KernelError`` for what the kernel
    refuses. The machine's lock is the caller's.
    """
    if verb in ("add", "change"):
        _check_registered(words.congctl or "")
    identity = inside(namespace, namespace_identity)
    memory = StateStore(path)
    known = {key for key in memory.routes() if key.namespace == identity}
    goal = goal_of(verb, words, _going_there(words, namespace), known, identity, locked=locked)
    effects = _Effects(namespace, identity, words, goal, memory, vanished_namespaces(memory, found))
    if not dry_run and effects.are_any():
        from_here_uninterrupted()
        with recovery_process(effects.apply):
            effects.apply()
    what = f"route to {_destination(words, goal)} of {namespace.title}"
    return Change(what, effects.before(), effects.after())


def _check_registered(name: str) -> None:
    available = read_congestion_controls().available
    if name not in available:
        raise NotFoundError(
            f"no congestion control {name} is registered",
            why=f"the kernel takes no other for a route; there are: {' '.join(available)}",
            hint=f"register it: structops register OBJ; or load it, if it is a module of the kernel: {shell_words('modprobe', f'tcp_{name}')}",
        )


def _going_there(words: RouteSpec, namespace: NetNamespace) -> list[Route]:
    """Return the routes of a table to a destination, without a type of service, as this project makes them."""
    wanted = (words.address, words.prefix_bits, words.table, 0)
    return [
        route
        for route in inside(namespace, lambda: read_routes((words.family,), every=True))
        if (route.address, route.prefix_bits, route.table, route.tos) == wanted
    ]


class _Effects:
    """One request and what is remembered of it: both, or neither. Safe to be applied again from any point on."""

    def __init__(
        self,
        namespace: NetNamespace,
        identity: int,
        words: RouteSpec,
        goal: RouteGoal,
        memory: StateStore,
        vanished: tuple[int, ...],
    ) -> None:
        self._namespace, self._words, self._goal, self._memory = namespace, words, goal, memory
        self._vanished = vanished
        priority = goal.before.priority if goal.before else metric_of(words)
        self._key = RouteKey(identity, words.family, words.table, priority, words.address, words.prefix_bits)
        self._entry_before = memory.routes().get(self._key)
        entry = SavedRoute(self._key, goal.name, goal.locked) if goal.name else None
        # a choice that somebody else made is theirs to remember
        is_theirs = _state(goal.before) == self._goal_state() and self._entry_before is None
        self._entry = None if is_theirs else entry

    def are_any(self) -> bool:
        """Tell whether there is anything to do at all."""
        return bool(self._vanished) or self.before() != self.after() or self._goal.name == ""

    def before(self) -> dict[str, object]:
        """Return what was the route's state, and what is remembered of it."""
        return _state(self._goal.before) | {"remembered": _name(self._entry_before)}

    def after(self) -> dict[str, object]:
        """Return what will be, or is, the route's state, and what is remembered of it."""
        return self._goal_state() | {"remembered": _name(self._entry)}

    def _goal_state(self) -> dict[str, object]:
        if self._goal.name is None:
            return _state(None)
        return {"exists": True, "congctl": self._goal.name, "locked": self._goal.locked}

    def apply(self) -> None:
        """Do it; forget or remember again when the kernel refuses."""
        try:
            for namespace in self._vanished:
                self._memory.delete_namespace(namespace)
            self._remember(self._entry)
            inside(self._namespace, self._request)
        except BaseException:
            with suppress(StructopsError):
                self._remember(self._entry_before)
            raise

    def _request(self) -> None:
        now = self._now()
        # of a dangling choice, whoever made it, the kernel shows nothing: only writing the route again takes it off
        hidden = self._goal.name == "" and now is not None and not now.congctl
        if _state(now) == self._goal_state() and not hidden:
            return
        try:
            _request_for(now, self._goal, self._words)()
        except KernelError:
            if hidden or not self._is_done():  # an answer that was lost is no refusal
                raise
            return
        with suppress(KernelError):  # what cannot be read back was still answered with success
            self._check()

    def _is_done(self) -> bool:
        with suppress(KernelError):
            return _state(self._now()) == self._goal_state()
        return False

    def _check(self) -> None:
        if _state(self._now()) != self._goal_state():
            raise StateError(
                "the route is not as it was asked for",
                why="the kernel took the request without an error, and shows another state",
                hint="structops route list shows what there is",
            )

    def _now(self) -> Route | None:
        every = [route for route in read_routes((self._words.family,), every=True) if self._is_meant(route)]
        return every[0] if every else None

    def _is_meant(self, route: Route) -> bool:
        before = self._goal.before
        same_hop = before is None or (route.gateway, route.device) == (before.gateway, before.device)
        return route.tos == 0 and same_hop and route_key(self._key.namespace, route) == self._key

    def _remember(self, entry: SavedRoute | None) -> None:
        if entry is None:
            self._memory.delete_route(self._key)
        else:
            self._memory.save_route(entry)


def _request_for(now: Route | None, goal: RouteGoal, words: RouteSpec) -> Callable[[], None]:
    """Return the call that leads from what is there to what is to be."""
    if goal.name is None:
        return lambda: delete_route(now) if now else None
    if now is not None:
        return lambda: change_route(now, goal.name, locked=goal.locked)
    return lambda: add_route(words, goal.name or "", locked=goal.locked)


def _state(route: Route | None) -> dict[str, object]:
    if route is None:
        return {"exists": False, "congctl": "", "locked": False}
    return {"exists": True, "congctl": route.congctl or "", "locked": route.locked}


def _name(entry: SavedRoute | None) -> str | None:
    return entry.name if entry else None


def _destination(words: RouteSpec, goal: RouteGoal) -> str:
    return (goal.before or words).destination
