"""The store: one writer at a time, nothing incomplete, and an error that names a full disk."""

from __future__ import annotations

import os
from errno import EDQUOT, EINTR, ENOSPC, EROFS
from pathlib import Path

import pytest

from structops_cli.errors import KernelError, UnsupportedError
from structops_cli.vm.store import atomic_file, atomic_folder, locked_folder, store_folder, touch


@pytest.mark.parametrize("place", ["/proc/nowhere", "/dev/null/store"])
def test_a_store_that_cannot_be_made_is_said(monkeypatch: pytest.MonkeyPatch, place: str) -> None:
    monkeypatch.setenv("STRUCTOPS_VM_FOLDER", place)
    with pytest.raises(UnsupportedError) as caught:
        store_folder("kernels")
    assert caught.value.what == f"nothing can be written to {place}/kernels"
    assert "$STRUCTOPS_VM_FOLDER" in caught.value.hint
    assert caught.value.exit_code == 77


@pytest.mark.parametrize("number", [ENOSPC, EDQUOT, EROFS])
def test_a_store_that_is_full_is_said(tmp_path: Path, number: int) -> None:
    with (
        pytest.raises(UnsupportedError) as caught,
        locked_folder(str(tmp_path)),
        atomic_file(f"{tmp_path}/a"),
    ):
        raise OSError(number, os.strerror(number))
    assert (caught.value.why, os.listdir(tmp_path)) == (os.strerror(number), [".lock"])
    assert "make room" in caught.value.hint


@pytest.mark.parametrize(
    "error", [OSError(EINTR, "x"), KernelError("x", errno=EROFS, operation="MAP_CREATE")]
)
def test_other_errors_stay_what_they_are(tmp_path: Path, error: OSError) -> None:
    with pytest.raises(type(error)) as caught, locked_folder(str(tmp_path)):
        raise error
    assert caught.value is error


def test_what_a_process_left_half_done_goes_when_the_next_one_comes(tmp_path: Path) -> None:
    (tmp_path / ".part-x" / "deep").mkdir(parents=True)
    (tmp_path / ".part-y").write_bytes(b"half")
    (tmp_path / "whole").write_bytes(b"whole")
    with locked_folder(str(tmp_path)):
        assert sorted(os.listdir(tmp_path)) == [".lock", "whole"]


def test_a_folder_and_a_file_are_there_when_they_are_whole(tmp_path: Path) -> None:
    folder, path = str(tmp_path / "folder"), str(tmp_path / "file")
    for number in (1, 2):
        with pytest.raises(ValueError, match="no"), atomic_folder(folder), atomic_file(path):
            raise ValueError("no")
        assert os.listdir(tmp_path) == [], number
    with atomic_folder(folder) as part, atomic_file(path) as file:
        Path(part, "a").touch()
        file.write(b"x")
    assert sorted(os.listdir(tmp_path)) == ["file", "folder"]


def test_noting_that_something_was_used_may_fail() -> None:
    touch("/proc/version")
    touch("/nowhere/at/all")
