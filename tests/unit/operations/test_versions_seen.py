"""A version that cannot be looked at is an error, and one that has gone is none."""

from __future__ import annotations

import os
from errno import EACCES, EIO, ENOENT, ENOMEM, EPERM
from pathlib import Path

import pytest

from structops_cli.errors import KernelError, StateError
from structops_cli.operations import versions
from structops_cli.operations.rollback import find_version
from structops_cli.operations.versions import versions_of
from structops_cli.runtime import inventory
from structops_cli.syscall import bpf, bpffs
from structops_cli.syscall.bpffs import Mount
from tests.unit.operations.live_maps import live

LIVE = live(7, "registered", 1, link=3)


def refuse_programs(monkeypatch: pytest.MonkeyPatch, errno: int) -> None:
    def refused(_: object) -> None:
        raise KernelError("no", errno=errno, operation="PROG_GET_FD_BY_ID")

    monkeypatch.setattr(versions, "programs_of", refused)


def test_a_version_that_cannot_be_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    refuse_programs(monkeypatch, ENOMEM)
    with pytest.raises(KernelError) as caught:
        versions_of([LIVE], LIVE.type.name, LIVE.name)
    assert caught.value.what == "version id:7 of t_a could not be looked at"


def test_one_that_has_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    refuse_programs(monkeypatch, ENOENT)
    assert versions_of([LIVE], LIVE.type.name, LIVE.name) == ()
    with pytest.raises(StateError) as caught:
        find_version((LIVE,), LIVE, None)
    assert caught.value.why == "it was unregistered meanwhile"


def test_a_pin_that_cannot_be_opened_now(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    answers = {EACCES: None, ENOMEM: f"{tmp_path}/pin could not be looked at"}
    (tmp_path / "pin").touch()
    monkeypatch.setattr(bpffs, "mounts", lambda: (Mount(str(tmp_path), 0),))
    for errno, what in answers.items():

        def refused(_: object, errno: int = errno) -> None:
            raise KernelError("no", errno=errno, operation="OBJ_GET")

        monkeypatch.setattr(bpf, "obj_get", refused)
        if what is None:
            assert inventory._pins() == inventory._Pins({}, {})
            continue
        with pytest.raises(KernelError) as caught:
            inventory._pins()
        assert caught.value.what == what


@pytest.mark.parametrize(("errno", "is_error"), [(ENOENT, False), (EACCES, False), (EIO, True)])
def test_a_folder_of_pins_that_cannot_be_read(
    monkeypatch: pytest.MonkeyPatch, errno: int, *, is_error: bool
) -> None:
    def refused(path: str) -> None:
        raise OSError(errno, "no", path)

    monkeypatch.setattr("os.scandir", refused)
    if is_error:
        with pytest.raises(OSError, match="no"):
            bpffs.pins("/somewhere")
    else:
        assert bpffs.pins("/somewhere") == ()


def test_a_pin_that_cannot_be_removed_stops_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever dropping a version comes after is done, and has to be reported as such."""
    stays, goes = str(tmp_path / "1"), str(tmp_path / "2")
    Path(goes).touch()
    real = os.unlink

    def unlink(name: str, *, dir_fd: int) -> None:
        if name == os.path.basename(stays):
            raise PermissionError(EPERM, "no", name)
        real(name, dir_fd=dir_fd)

    monkeypatch.setattr(os, "unlink", unlink)
    assert versions.drop([stays, goes, str(tmp_path / "3")]) == (
        (goes, str(tmp_path / "3")),
        (stays,),
    )


@pytest.mark.parametrize("folder", ["structops", "kept/t_a"])
def test_a_place_of_this_project_must_be_seen(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, folder: str
) -> None:
    """A pin that cannot be inspected does not count as another user's: unregister would leave it."""
    place = tmp_path / folder
    place.mkdir(parents=True)
    (place / "7").touch()
    monkeypatch.setattr(bpffs, "mounts", lambda: (Mount(str(tmp_path), 0),))

    def refused(_: object) -> None:
        raise KernelError("no", errno=EPERM, operation="OBJ_GET")

    monkeypatch.setattr(bpf, "obj_get", refused)
    with pytest.raises(KernelError) as caught:
        inventory._pins()
    assert caught.value.what == f"{place}/7 could not be looked at"
    real = os.scandir

    def scandir(path: str) -> object:
        if path == str(place):
            raise PermissionError(EPERM, "no", path)
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)
    with pytest.raises(PermissionError):
        inventory._pins()
