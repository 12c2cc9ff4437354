"""Choose the variable of an object that replaces a map, and the versions that are not kept any more."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from structops_cli.errors import FitError, StateError
from structops_cli.operations import update as module
from structops_cli.operations.update import UpdateOptions, _choose, _expect, superfluous, update
from structops_cli.operations.versions import Version
from structops_cli.runtime.live_map import LiveMap
from structops_cli.struct_ops.plan import MapPlan, Selection
from tests.synthetic_kernels import kernel
from tests.unit.operations.live_maps import TYPE, live

LIVE = live(7, "registered", 1, link=3)


def variable(name: str, registered: str, type_name: str = TYPE.name) -> MapPlan:
    return MapPlan(name, TYPE._replace(name=type_name), True, True, (), registered)


def chosen(monkeypatch: pytest.MonkeyPatch, *maps: MapPlan, one: LiveMap = LIVE) -> str:
    """Return the variable of an object that replaces a map."""
    monkeypatch.setattr(module, "plan_object", lambda *_: SimpleNamespace(maps=maps))
    spec, target = SimpleNamespace(name="t.bpf.o"), SimpleNamespace(kernel=None)
    return _choose(one, cast("Any", spec), cast("Any", target), Selection())


def test_the_variable_of_the_same_type_and_name_is_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    maps = (variable("one", "t_b"), variable("two", "t_a", "t_ops"), variable("three", "t_a"))
    assert chosen(monkeypatch, *maps) == "three"


def test_a_type_without_names_is_chosen_by_its_type(monkeypatch: pytest.MonkeyPatch) -> None:
    one = live(7, "registered", 1, type_name="hid_bpf_ops")
    maps = (variable("one", "t_a"), variable("two", "t_b", "hid_bpf_ops"))
    assert chosen(monkeypatch, *maps, one=one) == "two"


@pytest.mark.parametrize(
    ("maps", "what", "hint"),
    [
        ([("one", "t_a"), ("two", "t_a")], "more than one", "choose one with --only VAR"),
        ([("one", "t_b")], "no", "if it is another version of t_a, give it the name: --set one.name=t_a"),
        (
            [("one", "t_b"), ("two", "t_c")],
            "no",
            "choose one and give it the name: --only VAR --set VAR.name=t_a",
        ),
        (
            [("one", "t_a", "t_ops")],
            "no",
            "an update keeps the type tcp_congestion_ops: unregister the old one",
        ),
    ],
)
def test_the_error_tells_how_an_object_could_fit(
    monkeypatch: pytest.MonkeyPatch, maps: list[tuple[str, ...]], what: str, hint: str
) -> None:
    with pytest.raises(FitError) as raised:
        chosen(monkeypatch, *[variable(*words) for words in maps])
    assert raised.value.what == f"t.bpf.o has {what} tcp_congestion_ops named t_a"
    assert raised.value.hint.startswith(hint)
    assert raised.value.why.startswith(f"it has one ({(*maps[0], TYPE.name)[2]} {maps[0][1]})")


def test_another_map_than_the_expected_one_is_not_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    _expect(LIVE, None)
    _expect(LIVE, 7)
    monkeypatch.setattr(module, "list_maps", lambda _: (LIVE,))
    monkeypatch.setattr(module, "_update", lambda *_: pytest.fail("it went on"))
    options = UpdateOptions(expect_map=8)
    with pytest.raises(StateError, match="t_a is id:7, and id:8 was expected") as raised:
        update(kernel(), "t_a", cast("Any", None), Selection(), options, dry_run=True)
    assert raised.value.fields["candidates"] == ["id:7"]


@pytest.mark.parametrize(("keep", "expected"), [(0, ("/9", "/8", "/6")), (2, ("/6",)), (5, ())])
def test_the_oldest_versions_go_first(
    monkeypatch: pytest.MonkeyPatch, keep: int, expected: tuple[str, ...]
) -> None:
    """The registered version and one that something else holds do not count."""
    maps = [LIVE, live(9, "retired", 1), live(8, "retired", 1), live(6, "retired", 1), live(5, "retired", 1)]
    pins = ["/7", "/9", "/8", "/6", ""]
    found = tuple(Version(one, pin, 0, 0, "", ()) for one, pin in zip(maps, pins, strict=True))
    monkeypatch.setattr(module, "versions_of", lambda *_: found)
    assert superfluous((), LIVE, keep) == expected
