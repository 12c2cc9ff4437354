"""Versions of one name: their order, and their pins."""

from __future__ import annotations

import os
from contextlib import ExitStack
from errno import EEXIST
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from structops_cli.errors import KernelError, NotFoundError
from structops_cli.operations import versions as module
from structops_cli.operations.versions import (
    all_versions,
    drop,
    keep,
    kept_path,
    kept_pins,
    needs_restart,
    pin_of,
    versions_of,
)
from structops_cli.runtime.live_map import LiveLink, LiveMap
from structops_cli.syscall.fd import Fd
from tests.unit.operations.live_maps import live


def kept(map_id: int, *, name: str = "t_a", pin: str | None = None) -> LiveMap:
    return live(map_id, "retired", 1, name=name)._replace(pins=(pin or f"/pins/kept/{name}/{map_id}",))


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    """Replace what the kernel tells of programs and pins: a map with a higher id was replaced earlier."""
    monkeypatch.setattr(module, "programs_of", lambda _: ())
    monkeypatch.setattr(module, "identity_of_live", lambda _: SimpleNamespace(digest=""))
    monkeypatch.setattr(module, "exposure_of", lambda _: None)
    system = SimpleNamespace(
        lstat=lambda path: SimpleNamespace(st_mtime_ns=1000 - int(path.rpartition("/")[2]))
    )
    monkeypatch.setattr(module, "os", system)


@pytest.mark.usefixtures("kernel")
def test_the_registered_version_comes_first_and_then_the_one_replaced_last() -> None:
    maps = [live(3, "retired", 1), kept(8), live(9, "registered", 1, link=1), kept(7), kept(5, name="t_b")]
    found = versions_of(maps, maps[0].type.name, "t_a")
    assert [(one.live.info.id, one.word) for one in found] == [
        (9, "current"),
        (7, "kept"),
        (8, "kept"),
        (3, "retired"),
    ]


@pytest.mark.usefixtures("kernel")
def test_the_pin_of_another_user_keeps_no_version(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "exposure_of", lambda path: SimpleNamespace(is_foreign=path.endswith("/7")))
    found = versions_of([kept(7), kept(8)], kept(7).type.name, "t_a")
    assert [(one.live.info.id, one.pin) for one in found] == [(8, "/pins/kept/t_a/8"), (7, "")]


@pytest.mark.usefixtures("kernel")
def test_all_versions_are_of_names_that_are_registered_or_kept() -> None:
    maps = [kept(7, name="t_b"), live(9, "registered", 1), live(5, "retired", 1, name="t_c")]
    assert [one.live.name for one in all_versions(maps)] == ["t_a", "t_b"]
    assert [one.live.info.id for one in all_versions(maps, "t_c")] == [5]
    with pytest.raises(NotFoundError, match="no version of t_no is here"):
        all_versions(maps, "t_no")
    assert all_versions(()) == ()


def test_a_pin_keeps_a_version_by_its_folder_and_id() -> None:
    paths = ("/a/kept/t_a/7", "/a/kept/t_a/8", "/a/kept/7", "/a/other/t_a/7", "/b/kept/t_x/7")
    assert kept_pins(live(7, "retired", 1)._replace(pins=paths)) == ("/a/kept/t_a/7", "/b/kept/t_x/7")
    one = live(7, "retired", 1, name="t.a")
    path = kept_path(one, "/a")
    assert path == "/a/kept/t%2ea/7"
    assert kept_pins(one._replace(pins=(path,))) == (path,)


def test_a_successor_is_pinned_where_nobody_else_can_write(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "is_safe", lambda path: path.startswith("/safe"))
    one = live(7, "registered", 1)
    for pins, expected in [
        (("/open/t_a", "/safe/t_x"), "/safe/t_x"),
        (("/open/t_a",), "/sys/fs/bpf/structops/t_a"),
    ]:
        assert pin_of(one._replace(links=(LiveLink(3, pins),))) == expected


def test_a_map_needs_a_restart_without_a_link_or_a_kernel_that_replaces() -> None:
    assert needs_restart(live(7, "registered", 1))
    assert not needs_restart(live(7, "registered", 1, link=3))
    assert needs_restart(live(7, "registered", 1, link=3, type_name="sched_ext_ops"))
    assert not needs_restart(live(7, "retired", 1))


@pytest.mark.parametrize(("held", "errno"), [(7, EEXIST), (8, EEXIST), (7, 12)])
def test_only_the_same_map_may_be_pinned_there_already(
    monkeypatch: pytest.MonkeyPatch, held: int, errno: int
) -> None:
    def refused(*_: object) -> None:
        raise KernelError("no", errno=errno, operation="OBJ_PIN")

    monkeypatch.setattr(module, "prepare_pin_dir", lambda *_: None)
    monkeypatch.setattr(module, "pin_with_undo", refused)
    monkeypatch.setattr(module, "map_info", lambda _: SimpleNamespace(id=7))
    monkeypatch.setattr(module, "holds", lambda _, map_id: map_id == held)
    with ExitStack() as undo:
        if (held, errno) == (7, EEXIST):
            keep(cast("Fd", None), "/kept/t_a/7", undo)
            return
        with pytest.raises(KernelError, match="could not be kept at /kept/t_a/7"):
            keep(cast("Fd", None), "/kept/t_a/7", undo)


def test_the_folders_of_versions_go_with_the_last_pin(tmp_path: Path) -> None:
    place = tmp_path / "other/structops/kept/t_a"
    place.mkdir(parents=True)
    for name in "78":
        (place / name).touch()
    drop([f"{place}/7"])
    assert place.is_dir()
    drop([f"{place}/8"])
    assert os.listdir(tmp_path) == ["other"]
    assert os.listdir(tmp_path / "other") == []
