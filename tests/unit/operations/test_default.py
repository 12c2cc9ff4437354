"""Change defaults: the steps, their undoing, and the allowed list that only the initial namespace writes."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from errno import EPERM
from typing import Any, TypeVar, cast

import pytest

from structops_cli.errors import NotFoundError, NotPermittedError, StructopsError
from structops_cli.net.congestion_controls import CongestionControls
from structops_cli.net.namespaces import NetNamespace
from structops_cli.net.sysctls import AllowedList
from structops_cli.operations import default as module
from structops_cli.operations.default import _allow_step, _allowed_list, _default_step, read_defaults
from structops_cli.operations.default_plan import DefaultPlan, PlannedDefault, plan_default
from structops_cli.operations.state_store import SavedDefault, StateStore

Result = TypeVar("Result")
CONTROLS = CongestionControls(("reno", "cubic", "t_new"), ("reno", "cubic", "t_new"), "cubic")
INITIAL = NetNamespace(1, "/proc/1/ns/net", is_initial=True)
ONE = NetNamespace(2, "/run/netns/t_one", ("t_one",))


class System:
    """The default of one namespace, the allowed list, and the saved state; each call is in ``calls``."""

    def __init__(self, namespace: NetNamespace = ONE, *allowed: str) -> None:
        self.namespace, self.identity = namespace, namespace.inode
        self.default, self.allowed = "cubic", ["reno", *allowed]
        self.calls: list[str] = []
        self.refused = False

    def read(self) -> str:
        return self.default

    def write(self, name: str) -> None:
        if self.refused:
            raise StructopsError("no memory")
        self.calls.append(f"write {name}")
        self.default = name

    def save_default(self, entry: SavedDefault) -> None:
        self.calls.append(f"save {entry.previous}")

    def delete_default(self, _: int) -> None:
        self.calls.append("delete")


class Allowed(AllowedList):
    """The allowed list of a system."""

    def __init__(self, system: System) -> None:
        self.names = system.allowed

    def read(self) -> tuple[str, ...]:
        return tuple(self.names)

    def add(self, name: str) -> None:
        if name not in self.names:
            self.names.append(name)

    def remove(self, name: str) -> None:
        self.names.remove(name)


def plan_of(system: System) -> DefaultPlan:
    return plan_default("t_new", cast("Any", [system]), {}, CONTROLS, allow=False)


def planned(system: System) -> PlannedDefault:
    [one] = plan_of(system).defaults
    return one


def test_the_previous_default_is_saved_before_the_new_one_is_written() -> None:
    system = System()
    step = _default_step(planned(system), cast("StateStore", system), None)
    step.do()
    step.do()
    assert system.calls == ["save cubic", "write t_new", "save cubic"]
    step.undo()
    assert system.calls[3:] == ["write cubic", "delete"]


def test_an_older_version_of_the_same_name_is_written_again() -> None:
    system = System()
    system.default = "t_new"
    one = planned(system)._replace(older=True)
    _default_step(one, cast("StateStore", system), None).do()
    assert system.calls[-1] == "write t_new"


def test_a_failed_undo_names_its_namespace_and_keeps_the_saved_default() -> None:
    system = System()
    step = _default_step(planned(system), cast("StateStore", system), None)
    step.do()
    system.refused = True
    with pytest.raises(StructopsError, match="t_one keeps t_new: no memory"):
        step.undo()
    assert system.calls == ["save cubic", "write t_new"]


@pytest.mark.parametrize("before", [(), ("t_new",)])
def test_undoing_leaves_the_allowed_list_as_it_was(before: tuple[str, ...]) -> None:
    system = System(INITIAL, *before)
    allowed = Allowed(system)
    steps = [
        _default_step(planned(system), cast("StateStore", system), allowed),
        _allow_step(allowed, ["reno", "t_other"]),
    ]
    for step in steps:
        step.do()
    allowed.add("t_new")  # as the kernel does for the default of the initial namespace
    for step in reversed(steps):
        step.undo()
    assert system.allowed == ["reno", *before]


def test_the_allowed_list_is_opened_only_for_a_change_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "open_allowed", lambda namespace: nullcontext(namespace.title))
    plan, initial = plan_of(System()), plan_of(System(INITIAL))
    cases = [
        (plan, (INITIAL, ONE), None),
        (plan, (ONE,), None),
        (plan._replace(allow=("t_new",)), (ONE, INITIAL), "initial"),
        (initial, (ONE, INITIAL), "initial"),
    ]
    for one, found, expected in cases:
        with _allowed_list(one, found) as opened:
            assert cast("object", opened) == expected
    with (
        pytest.raises(StructopsError, match="cannot be written here") as raised,
        _allowed_list(cases[2][0], (ONE,)),
    ):
        pass
    assert (
        "run this on the host, or register the algorithm with --set flags=non_restricted" in raised.value.hint
    )


def test_a_namespace_that_cannot_be_read_is_a_note(monkeypatch: pytest.MonkeyPatch) -> None:
    def inside(namespace: NetNamespace, function: Callable[[], Result]) -> Result:
        if namespace.inode == 3:
            raise NotFoundError("no")
        if namespace.inode == 4:
            raise NotPermittedError("no", why="no right", errno=EPERM, operation="setns")
        return function()

    def refused(_: object) -> None:
        raise StructopsError("no map")

    monkeypatch.setattr(module, "inside", inside)
    monkeypatch.setattr(module, "_read_here", lambda: (CONTROLS._replace(default="t_gone"), 7))
    monkeypatch.setattr(module, "older_versions", lambda names: {2: 9} if names == {"t_gone"} else {})
    monkeypatch.setattr(StateStore, "defaults", refused)
    found, notes = read_defaults([NetNamespace(3, ""), ONE, NetNamespace(4, "")])
    assert [(item.namespace, item.retired, item.older_map_id) for item in found] == [(ONE, True, 9)]
    assert notes == (
        "what was the default before is not known: no map",
        "net:[3] is gone meanwhile",
        "net:[4] is left out: no right",
    )
