"""Change one route: the saved state, the request, and a lost answer of the kernel."""

from __future__ import annotations

from errno import EINVAL
from socket import AF_INET, inet_pton

import pytest

from structops_cli.errors import KernelError, NotFoundError, StateError, UsageError
from structops_cli.net.congestion_controls import CongestionControls
from structops_cli.net.namespaces import NetNamespace
from structops_cli.net.routes import Route, parse_route
from structops_cli.operations import route as module
from structops_cli.operations.chosen_routes import route_key
from structops_cli.operations.route import _RouteChange, change_one_route
from structops_cli.operations.route_goal import RouteGoal, RouteVerb
from structops_cli.operations.state_store import RouteKey, SavedRoute, StateStore

SPEC = parse_route(["192.0.2.0/24", "congctl", "t_a"])
PLAIN = Route(
    AF_INET, inet_pton(AF_INET, "192.0.2.0"), 24, 254, 0, 0, None, "eth0", None, locked=False, message=b""
)
CHOSEN = PLAIN._replace(congctl="t_a")
KEY = route_key(7, PLAIN)
TO_CHOSEN, TO_PLAIN = RouteGoal(PLAIN, "t_a", locked=False), RouteGoal(PLAIN, "", locked=False)


class Kernel:
    """The routes, and the requests in order. ``answer`` ends a request; ``effect`` is the route that it makes."""

    def __init__(self) -> None:
        self.routes: list[Route] = [PLAIN]
        self.requests: list[str] = []
        self.saved: dict[RouteKey, SavedRoute] = {}
        self.effect: Route | None = CHOSEN
        self.answer: KernelError | None = None

    def request(self, name: str) -> None:
        self.requests.append(name)
        self.routes = [self.effect] if self.effect else []
        if self.answer:
            raise self.answer

    def send(self, goal: RouteGoal) -> None:
        _RouteChange(NetNamespace(11, "", ("t_one",)), 7, SPEC, goal, StateStore()).request_step().do()


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> Kernel:
    one = Kernel()
    monkeypatch.setattr(StateStore, "routes", lambda _: one.saved)
    monkeypatch.setattr(module, "inside", lambda _, function: function())
    monkeypatch.setattr(module, "read_routes", lambda *_, every: one.routes if every else [])
    monkeypatch.setattr(module, "add_route", lambda *_, **__: one.request("add"))
    monkeypatch.setattr(module, "change_route", lambda *_, **__: one.request("change"))
    monkeypatch.setattr(module, "delete_route", lambda _: one.request("delete"))
    return one


def test_only_add_and_change_take_a_name() -> None:
    plain = parse_route(["192.0.2.0/24"])
    for verb, spec, what in [
        (RouteVerb.CLEAR, SPEC, "route clear takes no congctl"),
        (RouteVerb.DEL, SPEC, "route del takes no congctl"),
        (RouteVerb.ADD, plain, "which congestion control?"),
        (RouteVerb.CHANGE, plain, "which congestion control?"),
    ]:
        with pytest.raises(UsageError) as raised:
            change_one_route(verb, spec)
        assert raised.value.what == what


def test_a_name_that_is_not_registered_names_the_ways_to_register_it(monkeypatch: pytest.MonkeyPatch) -> None:
    controls = CongestionControls(("reno", "cubic"), (), "cubic")
    monkeypatch.setattr(module, "read_congestion_controls", lambda: controls)
    with pytest.raises(NotFoundError, match="no congestion control t_a is registered") as raised:
        module._check_registered("t_a")
    assert raised.value.why.endswith("there are: reno cubic")
    assert raised.value.hint.endswith("modprobe tcp_t_a")


def test_the_choice_of_another_program_is_not_saved(kernel: Kernel) -> None:
    def saved(before: Route, goal: RouteGoal) -> tuple[object, object]:
        change = _RouteChange(NetNamespace(11, ""), 7, SPEC, goal, StateStore()).change
        return change.before["remembered"], change.after["remembered"]

    assert saved(PLAIN, TO_CHOSEN) == (None, "t_a")
    assert saved(CHOSEN, TO_CHOSEN._replace(before=CHOSEN)) == (None, None)
    kernel.saved[KEY] = SavedRoute(KEY, "reno", locked=False)
    assert saved(CHOSEN, TO_CHOSEN._replace(before=CHOSEN)) == ("reno", "t_a")
    assert saved(PLAIN, TO_PLAIN) == ("reno", None)


def test_the_request_fits_the_route_that_is_there_now(kernel: Kernel) -> None:
    kernel.send(TO_CHOSEN)
    kernel.send(TO_CHOSEN)
    assert kernel.requests == ["change"], "what is done already is not done again"
    kernel.routes = [CHOSEN._replace(tos=16)]
    kernel.send(TO_CHOSEN._replace(before=None))
    kernel.effect = None
    kernel.send(RouteGoal(CHOSEN, None, locked=False))
    assert kernel.requests == ["change", "add", "delete"]


def test_a_route_is_cleared_although_the_kernel_shows_no_choice(kernel: Kernel) -> None:
    """The kernel does not show a dangling choice; so an error there cannot be taken for a lost answer."""
    kernel.effect = PLAIN
    kernel.send(TO_PLAIN)
    assert kernel.requests == ["change"]
    kernel.answer = KernelError("no", errno=EINVAL, operation="RTM_NEWROUTE")
    with pytest.raises(KernelError):
        kernel.send(TO_PLAIN)


def test_a_lost_answer_is_no_error_if_the_route_is_as_asked_for(kernel: Kernel) -> None:
    kernel.answer = KernelError("no", errno=EINVAL, operation="RTM_NEWROUTE")
    kernel.send(TO_CHOSEN)
    kernel.routes, kernel.effect = [PLAIN], PLAIN
    with pytest.raises(KernelError):
        kernel.send(TO_CHOSEN)
    kernel.answer = None
    with pytest.raises(StateError, match="the route is not as it was asked for"):
        kernel.send(TO_CHOSEN)
