"""Unregister maps: selection, the dry run, and the wait for the kernel."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from structops_cli.errors import AmbiguousError, NotFoundError, StateError, UsageError
from structops_cli.operations import unregister as module
from structops_cli.operations.dependents import Dependents
from structops_cli.operations.unregister import (
    UnregisterOptions,
    UnregisterResult,
    refuse_not_freed,
    unregister,
    wait_until_freed,
)
from structops_cli.runtime.live_map import LiveMap
from structops_cli.runtime.unregistration import UnregisterMethod
from tests.synthetic_kernels import kernel
from tests.unit.operations.live_maps import live

KERNEL = kernel()
REGISTERED = live(7, "registered", 0)


@pytest.fixture
def maps(monkeypatch: pytest.MonkeyPatch) -> list[LiveMap]:
    """Return the live maps, on which nothing depends and which have no pins."""
    found: list[LiveMap] = [REGISTERED]
    monkeypatch.setattr(module, "list_maps", lambda _: tuple(found))
    monkeypatch.setattr(module, "find_dependents", Dependents)
    monkeypatch.setattr(module, "dead_pins", lambda _: ())
    monkeypatch.setattr(module, "kept_pins", lambda _: ())
    monkeypatch.setattr(module, "users_of", lambda one: one.refcnt)
    return found


def checked(*selectors: str, options: UnregisterOptions | None = None) -> UnregisterResult:
    return unregister(KERNEL, selectors, options, dry_run=True)


def test_a_dry_run_predicts_the_result(maps: list[LiveMap], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "kept_pins", lambda one: (f"/pins/{one.info.id}",))
    maps += [live(8, "retired", 2), live(9, "retired", 1, name="t_b")]
    done = checked("id:7", "t_b", options=UnregisterOptions(every=True))
    first, second = (item.done for item in done.retired)
    assert (first.how, first.gone, first.changed) == (UnregisterMethod.DELETE, True, True)
    assert (second.how, second.gone, second.refcnt) == (UnregisterMethod.NOTHING, False, 1)
    assert [item.dropped for item in done.retired] == [("/pins/7", "/pins/8"), ("/pins/9",)]
    assert [(item.what, dict(item.before)) for item in done.changes] == [
        ("tcp_congestion_ops t_a (id:7)", {"registered": True, "kept": ["/pins/7", "/pins/8"]}),
        ("tcp_congestion_ops t_b (id:9)", {"registered": False, "kept": ["/pins/9"]}),
    ]


def test_a_referenced_map_is_not_gone(maps: list[LiveMap]) -> None:
    maps[:] = [live(7, "registered", 3)]
    [one] = checked("t_a").retired
    assert (one.done.gone, one.done.refcnt) == (False, 3)


def test_pins_of_detached_links_are_steps(maps: list[LiveMap], monkeypatch: pytest.MonkeyPatch) -> None:
    assert maps
    monkeypatch.setattr(module, "dead_pins", lambda _: ("/pins/t_a",))
    done = checked("t_a", "t_a", options=UnregisterOptions(every=True))
    assert done.dead_pins == ("/pins/t_a",)
    assert [item.what for item in done.changes] == ["tcp_congestion_ops t_a (id:7)", "pin /pins/t_a"]


def test_every_selector_is_resolved_before_the_first_change(maps: list[LiveMap]) -> None:
    maps.append(live(8, "registered", 0, link=3))
    with pytest.raises(AmbiguousError):
        checked("t_a")
    assert len(checked("t_a", options=UnregisterOptions(every=True)).retired) == 2
    with pytest.raises(NotFoundError) as raised:
        checked("id:7", "t_no", "id:99")
    assert raised.value.fields["absent"] == ["t_no", "id:99"]
    done = checked("id:7", "t_no", options=UnregisterOptions(if_present=True))
    assert (len(done.retired), list(done.absent)) == (1, ["t_no"])


def test_dependents_are_refused_without_force(maps: list[LiveMap], monkeypatch: pytest.MonkeyPatch) -> None:
    assert maps
    monkeypatch.setattr(module, "find_dependents", lambda one: Dependents(one, defaults=("t_web",)))
    with pytest.raises(StateError, match="it is a default"):
        checked("t_a")
    assert checked("t_a", options=UnregisterOptions(force=True)).dependents[0].defaults == ("t_web",)


def test_sockets_do_not_go_to_the_unregistered_map(maps: list[LiveMap]) -> None:
    assert maps
    with pytest.raises(UsageError, match="sockets cannot go to t_a"):
        checked("t_a", options=UnregisterOptions(drain=True, to="t_a"))


def test_the_wait_ends_when_the_kernel_has_freed_the_maps(monkeypatch: pytest.MonkeyPatch) -> None:
    looks: list[Sequence[LiveMap]] = [[live(7, "retired", 2)], [live(7, "retired", 1)], []]
    monkeypatch.setattr(module, "list_maps", lambda _: tuple(looks.pop(0)))
    monkeypatch.setattr(module, "POLL_S", 0)
    lines: list[str] = []
    assert wait_until_freed(KERNEL, {7}, 60, lines.append) == ()
    assert [line.partition(": ")[2] for line in lines] == ["2 still hold it", "1 still hold it"]


def test_maps_that_are_not_freed_are_an_error(maps: list[LiveMap]) -> None:
    assert maps
    done = checked("t_a")
    refuse_not_freed(done, (), 0)
    with pytest.raises(StateError, match="not gone after 2 s") as raised:
        refuse_not_freed(done, wait_until_freed(KERNEL, {7}, 0), 2)
    assert raised.value.fields["candidates"] == ["id:7"]
