"""Give a route a congestion control, remove it, add or delete a route.

The steps: delete the saved state of vanished namespaces; save the chosen name, because the
kernel does not show it after the algorithm is unregistered; send the request.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

from structops_cli.errors import KernelError, NotFoundError, StateError, UsageError
from structops_cli.net.congestion_controls import read_congestion_controls
from structops_cli.net.namespace_entry import inside, namespace_identity
from structops_cli.net.namespaces import NetNamespace, find_namespaces
from structops_cli.net.route_changes import add_route, change_route, delete_route
from structops_cli.net.routes import GRAMMAR, Route, RouteSpec, read_routes
from structops_cli.operations.chosen_routes import route_key
from structops_cli.operations.route_goal import RouteGoal, RouteVerb, goal_of, metric_of
from structops_cli.operations.state_store import RouteKey, SavedRoute, StateStore
from structops_cli.operations.target_namespaces import NamespaceChoice, target_namespaces
from structops_cli.operations.transaction import Caller, Change, Recovery, Step, transaction
from structops_cli.operations.vanished_namespaces import delete_vanished_step
from structops_cli.shell_words import shell_words


def change_one_route(
    verb: RouteVerb,
    spec: RouteSpec,
    netns: str | None = None,
    *,
    locked: bool = False,
    dry_run: bool = False,
    caller: Caller | None = None,
) -> Change:
    """Add, change, clear or delete one route of a namespace, by default the caller's own.

    ``clear`` always writes the route again, because the kernel does not show a dangling choice.
    Raises ``NotFoundError`` without such a route or algorithm, and ``AmbiguousError`` for more
    than one route. Raises ``StructopsError`` if another route is in the way, and
    ``KernelError`` if the kernel refuses.
    """
    takes_name = verb in (RouteVerb.ADD, RouteVerb.CHANGE)
    if bool(spec.congctl) != takes_name:
        what = f"route {verb} takes no congctl" if spec.congctl else "which congestion control?"
        raise UsageError(what, hint=GRAMMAR)
    with transaction(dry_run=dry_run, caller=caller) as run:
        found = find_namespaces()
        [namespace] = target_namespaces(found, NamespaceChoice((netns,) if netns else (), one=True))
        if spec.congctl:
            _check_registered(spec.congctl)
        identity = inside(namespace, namespace_identity)
        store = StateStore()
        known = {key for key in store.routes() if key.namespace == identity}
        goal = goal_of(verb, spec, _routes_to(spec, namespace), known, identity, locked=locked)
        one = _RouteChange(namespace, identity, spec, goal, store)
        steps = [] if dry_run else delete_vanished_step(store, found)
        if steps or one.change.is_change or goal.name == "":
            run.steps([*steps, one.save_step(), one.request_step()], recovery=Recovery.FORWARD)
        return one.change


def _check_registered(name: str) -> None:
    available = read_congestion_controls().available
    if name not in available:
        raise NotFoundError(
            f"no congestion control {name} is registered",
            why=f"the kernel takes no other for a route; there are: {' '.join(available)}",
            hint=f"register it: structops register OBJ; or load it, if it is a module of the kernel: {shell_words('modprobe', f'tcp_{name}')}",
        )


def _routes_to(spec: RouteSpec, namespace: NetNamespace) -> list[Route]:
    """Return the routes of a table to a destination, without those of a type of service."""
    wanted = (spec.address, spec.prefix_bits, spec.table, 0)
    return [
        route
        for route in inside(namespace, lambda: read_routes((spec.family,), every=True))
        if (route.address, route.prefix_bits, route.table, route.tos) == wanted
    ]


class _RouteChange:
    """One request and its saved state. The recovery process may repeat its steps."""

    def __init__(
        self,
        namespace: NetNamespace,
        identity: int,
        spec: RouteSpec,
        goal: RouteGoal,
        store: StateStore,
    ) -> None:
        self._namespace, self._spec, self._goal, self._store = namespace, spec, goal, store
        priority = goal.before.priority if goal.before else metric_of(spec)
        self._key = RouteKey(identity, spec.family, spec.table, priority, spec.address, spec.prefix_bits)
        self._saved_before = store.routes().get(self._key)
        # the choice of another program is not saved
        is_of_another = _state(goal.before) == self._goal_state() and self._saved_before is None
        self._saved_after = (
            SavedRoute(self._key, goal.name, goal.locked) if goal.name and not is_of_another else None
        )
        self.change = Change(
            f"route to {_destination(spec, goal)} of {namespace.title}",
            _state(goal.before) | {"remembered": _name(self._saved_before)},
            self._goal_state() | {"remembered": _name(self._saved_after)},
        )

    def save_step(self) -> Step:
        """Return the step that saves the chosen name, or deletes the saved one."""
        return Step(lambda: self._save(self._saved_after), undo=lambda: self._save(self._saved_before))

    def request_step(self) -> Step:
        """Return the step that sends the request."""
        return Step(lambda: inside(self._namespace, self._request), change=self.change)

    def _goal_state(self) -> dict[str, object]:
        if self._goal.name is None:
            return _state(None)
        return {"exists": True, "congctl": self._goal.name, "locked": self._goal.locked}

    def _request(self) -> None:
        now = self._now()
        # the kernel does not show a dangling choice: only writing the route again removes it
        dangling = self._goal.name == "" and now is not None and not now.congctl
        if _state(now) == self._goal_state() and not dangling:
            return
        try:
            _request_for(now, self._goal, self._spec)()
        except KernelError:
            if dangling or not self._is_done():  # the kernel may have acted, and its answer was lost
                raise
            return
        with suppress(KernelError):  # the kernel reported success: a failed look changes nothing
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
        routes = [route for route in read_routes((self._spec.family,), every=True) if self._is_meant(route)]
        return routes[0] if routes else None

    def _is_meant(self, route: Route) -> bool:
        before = self._goal.before
        same_hop = before is None or (route.gateway, route.device) == (before.gateway, before.device)
        return route.tos == 0 and same_hop and route_key(self._key.namespace, route) == self._key

    def _save(self, entry: SavedRoute | None) -> None:
        if entry is None:
            self._store.delete_route(self._key)
        else:
            self._store.save_route(entry)


def _request_for(now: Route | None, goal: RouteGoal, spec: RouteSpec) -> Callable[[], None]:
    """Return the call that changes the present route into the goal."""
    if goal.name is None:
        return lambda: delete_route(now) if now else None
    if now is not None:
        return lambda: change_route(now, goal.name, locked=goal.locked)
    return lambda: add_route(spec, goal.name or "", locked=goal.locked)


def _state(route: Route | None) -> dict[str, object]:
    if route is None:
        return {"exists": False, "congctl": "", "locked": False}
    return {"exists": True, "congctl": route.congctl or "", "locked": route.locked}


def _name(entry: SavedRoute | None) -> str | None:
    return entry.name if entry else None


def _destination(spec: RouteSpec, goal: RouteGoal) -> str:
    return (goal.before or spec).destination
