"""Register objects: the order of the steps, the refusals of a dry run, and the undoing."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from structops_cli.errors import KernelError, NotFoundError
from structops_cli.operations import register as module
from structops_cli.operations.register import (
    PinDirs,
    _change,
    _lasting,
    _refuse_taken,
    _steps,
    _undo_unless_used,
    _unpin,
    pin_dir_step,
    without_ids,
)
from structops_cli.operations.transaction import Step
from structops_cli.runtime import checking
from structops_cli.runtime.live_map import MapState
from structops_cli.runtime.loaded import Loaded
from structops_cli.runtime.registration import Registered
from structops_cli.struct_ops.plan import MapPlan
from structops_cli.syscall.info import ProgInfo
from tests.unit.operations.live_maps import TYPE

PROGRAM = ProgInfo(50, 27, "t_init", "", 1, 1, 1, True, (), 0, 0, 0, 0, 0)
ONE = Registered(
    "one",
    TYPE.name,
    "t_a",
    7,
    "t_map",
    3,
    "/pins/t_a",
    MapState.REGISTERED,
    (("t_init", PROGRAM),),
    None,
    False,
)


class Planned:
    """A planned map; its step is named after it."""

    def __init__(self, loaded: object, name: str, *, link: bool, is_changed: bool = True) -> None:
        self.loaded, self.name, self.is_changed = loaded, name, is_changed
        self.plan = SimpleNamespace(link=link)

    def step(self) -> str:
        return f"register {self.name}"


def named(monkeypatch: pytest.MonkeyPatch, links: str | None, *, link: bool) -> list[str]:
    """Return the names of the steps that register two objects, of which the second has shared maps."""
    monkeypatch.setattr(module, "pin_dir_step", lambda path: f"make {path}")
    monkeypatch.setattr(
        module, "shared_map_steps", lambda one: [f"pin maps of {one}"] if one == "two" else []
    )
    monkeypatch.setattr(module, "_undo_unless_used", lambda step, maps: f"{step}? {len(maps)}")
    maps = [Planned("one", "a", link=False), Planned("two", "b", link=link), Planned("two", "c", link=False)]
    loaded = cast("Any", ["one", "two"])
    return cast("list[str]", _steps(loaded, cast("Any", maps), PinDirs(links)))


def test_auxiliary_steps_come_first_and_are_undone_last_if_nobody_used_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    maps = ["register a", "pin maps of two", "register b", "register c", "pin maps of two? 2"]
    assert named(monkeypatch, "/pins", link=True) == ["make /pins", *maps, "make /pins? 3"]
    assert named(monkeypatch, "/pins", link=False) == maps
    assert named(monkeypatch, None, link=True) == maps


@pytest.mark.parametrize(("changed", "undone"), [([False, False], 1), ([False, True], 0), ([], 1)])
def test_a_folder_is_removed_if_every_map_was_registered_before(changed: list[bool], undone: int) -> None:
    calls: list[int] = []
    step = Step(lambda: None, lambda: True, lambda: calls.append(1))
    maps = [Planned("one", "a", link=True, is_changed=one) for one in changed]
    _undo_unless_used(step, cast("Any", maps)).do()
    assert len(calls) == undone


def test_the_recovery_process_gets_the_maps_that_outlive_this_process(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def number(fd: int) -> Any:
        return SimpleNamespace(fileno=lambda: fd)

    plans = [SimpleNamespace(variable="linked", link=True), SimpleNamespace(variable="plain", link=False)]
    one = SimpleNamespace(
        plan=SimpleNamespace(maps=plans),
        struct_ops={"linked": number(10), "plain": number(11)},
        maps={"shared": number(12), "private": number(13)},
    )
    monkeypatch.setattr(module, "new_shared_maps", lambda _: [SimpleNamespace(name="shared")])
    loaded = cast("list[Loaded]", [one])
    assert _lasting(loaded, PinDirs(None)) == [11, 12]
    assert _lasting(loaded, PinDirs("/pins")) == [10, 11, 12]


def test_the_report_of_a_dry_run_has_no_ids() -> None:
    assert _change(ONE).after == {"state": "registered", "map_id": 7}
    assert _change(ONE).before == {"state": None, "map_id": None}
    assert not _change(ONE._replace(changed=False)).is_change
    planned = without_ids(ONE)
    assert _change(planned).after == {"state": "registered", "map_id": None}
    assert [info.id for _, info in planned.programs] == [0]


@pytest.mark.parametrize(
    ("names", "pinned", "link", "operation"),
    [
        (["t_a"], True, True, "LINK_CREATE"),
        (["t_a"], False, False, "MAP_UPDATE_ELEM"),
        (["t_b"], True, True, "OBJ_PIN"),
        (["t_b"], False, True, None),
    ],
)
def test_a_dry_run_gives_the_kernels_answer_for_a_taken_name(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    names: list[str],
    operation: str | None,
    *,
    pinned: bool,
    link: bool,
) -> None:
    monkeypatch.setattr(checking, "taken_names", lambda: {(TYPE.name, name) for name in names})
    monkeypatch.setattr(module, "refusal", lambda error, *_: error)
    path = tmp_path / "t_a"
    if pinned:
        path.symlink_to("nowhere")
    plan = MapPlan("one", TYPE, link, link, (), "t_a")
    if operation is None:
        _refuse_taken(cast("Loaded", None), plan, str(path))
        return
    with pytest.raises(KernelError) as raised:
        _refuse_taken(cast("Loaded", None), plan, str(path))
    assert raised.value.operation == operation


def test_undoing_removes_only_its_own_pins_and_folders(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    removed: list[str] = []

    def open_pin(path: str, _: object) -> ExitStack:
        if path == "/none":
            raise NotFoundError("no pin")
        return ExitStack()

    monkeypatch.setattr(module, "open_pin", open_pin)
    monkeypatch.setattr(module, "remove_pin", removed.append)
    for path, map_id in [("/other", 8), ("/none", 7), ("/mine", 7)]:
        _unpin(path, 7, cast("Any", lambda _, map_id=map_id: map_id))
    assert removed == ["/mine"]

    monkeypatch.setattr(module, "is_mounted", lambda _: True)
    (tmp_path / "old").mkdir()
    step = pin_dir_step(str(tmp_path / "old/new/newer"))
    assert not step.is_done()
    (tmp_path / "old/new/newer").mkdir(parents=True)
    assert step.is_done()
    step.undo()
    assert [path.name for path in tmp_path.rglob("*")] == ["old"]
