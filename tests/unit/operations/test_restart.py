"""Restart a struct_ops: the order of the calls, and the errors of a refused new version."""

from __future__ import annotations

import time
from contextlib import ExitStack
from errno import EINVAL
from types import SimpleNamespace
from typing import Any, cast

import pytest

from structops_cli.errors import KernelError, StateError, StructopsError
from structops_cli.operations import restart as module
from structops_cli.operations.ready_map import ReadyMap
from structops_cli.operations.replace import Attempt
from structops_cli.operations.restart import _Exchange, _refuse_unpinned, _Removal
from structops_cli.runtime.live_map import LiveLink, LiveMap
from structops_cli.syscall.fd import Fd
from tests.unit.operations.live_maps import TYPE, live

LIVE = live(7, "registered", 1)
NEW, OLD = (ReadyMap(TYPE, cast("Fd", number), b"value") for number in (8, 9))


class System:
    """Registers maps: ``calls`` has each call in order, and ``refused`` the errors by descriptor."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.refused: dict[object, StructopsError] = {}
        self.registered: set[object] = set()
        self.as_before = False
        self.stays: StructopsError | None = None

    def register(self, ready: ReadyMap, *_: object) -> tuple[None, int]:
        self.calls.append(f"register {ready.map_fd}")
        if ready.map_fd in self.refused:
            raise self.refused[ready.map_fd]
        return None, 5

    def unregister(self, live: LiveMap, *, settle: bool) -> None:
        assert not settle
        time.sleep(0.05)  # the kernel answers after an RCU grace period
        self.calls.append(f"unregister {live.info.id}")
        if self.stays:
            raise self.stays


@pytest.fixture
def system(monkeypatch: pytest.MonkeyPatch) -> System:
    one = System()
    monkeypatch.setattr(module, "register_ready", one.register)
    monkeypatch.setattr(module, "unregister", one.unregister)
    monkeypatch.setattr(module, "ready_live", lambda *_: OLD)
    monkeypatch.setattr(module, "is_registered", lambda ready, _: ready.map_fd in one.registered)
    monkeypatch.setattr(module, "is_as_before", lambda _: one.as_before)
    monkeypatch.setattr(module, "map_info", lambda number: SimpleNamespace(id=number))
    return one


def exchange(system: System, live: LiveMap = LIVE) -> _Exchange:
    plan = SimpleNamespace(live=live, new=NEW, pin="/pins/t_a")
    defaults = SimpleNamespace(rewrite=lambda: system.calls.append("rewrite"))
    attempt = SimpleNamespace(plan=plan, defaults=defaults, changed=lambda: "changed")
    return _Exchange(cast("Attempt", attempt), ExitStack())


def test_a_link_without_a_pin_is_not_taken_away_from_its_process() -> None:
    _refuse_unpinned(LIVE)
    _refuse_unpinned(LIVE._replace(links=(LiveLink(3, ("/a",)),)))
    with pytest.raises(StateError, match="not replaced: a process holds it") as raised:
        _refuse_unpinned(LIVE._replace(links=(LiveLink(3, ("/a",)), LiveLink(4, ()), LiveLink(5, ()))))
    assert raised.value.why.startswith("link 4, 5 has no pin")
    assert "structops status id:7 says which" in raised.value.hint


def test_a_type_without_names_waits_for_the_end_of_the_old_map(system: System) -> None:
    """The kernel's refusal of a second map may damage it."""
    one = exchange(system, live(7, "registered", 1, type_name="hid_bpf_ops"))
    assert cast("Any", one.do()) == "changed"
    assert system.calls == ["unregister 7", "register 8"]


def test_a_refused_version_gives_way_to_a_copy_of_the_old_one(system: System) -> None:
    system.refused[8] = StateError("no", why="it is damaged")
    with pytest.raises(StateError, match="the new version could not be registered") as raised:
        exchange(system).do()
    assert raised.value.why == "it is damaged"
    assert raised.value.hint.startswith("the old version is registered again, as id:9, a copy of id:7;")
    assert system.calls[-2:] == ["register 9", "rewrite"]


def test_an_error_tells_that_neither_version_is_registered(system: System) -> None:
    system.refused = {8: KernelError("no", why="a bad value", errno=EINVAL, operation="MAP_UPDATE_ELEM")}
    system.refused[9] = StateError("gone")
    with pytest.raises(StateError, match="t_a is not registered any more: neither") as raised:
        exchange(system).do()
    assert raised.value.why == "the new one: a bad value (MAP_UPDATE_ELEM: EINVAL); the old one: gone"
    assert raised.value.hint.startswith("structops register OBJ")


@pytest.mark.parametrize(
    ("as_before", "registered", "calls"),
    [
        (True, set(), []),
        (False, {9}, []),
        (False, {8}, []),
        (False, set(), ["unregister 7", "register 9", "rewrite"]),
    ],
)
def test_undoing_registers_the_old_map_only_if_nothing_is_registered(
    system: System, registered: set[object], calls: list[str], *, as_before: bool
) -> None:
    system.as_before, system.registered = as_before, registered
    system.stays = StateError("it has no link")
    exchange(system).undo()
    assert system.calls == calls


def test_the_thread_that_unregisters_hands_over_its_error(system: System) -> None:
    system.stays = StateError("it stays")
    removal = _Removal(LIVE)
    with pytest.raises(StateError, match="it stays"):
        removal.wait()
    assert removal.failed
