"""The store: one writer at a time, nothing half done, and a word when it cannot be written."""

from __future__ import annotations

import os
from errno import EDQUOT, EINTR, ENOSPC, EROFS
from functools import partial
from pathlib import Path

import pytest

from structops_cli.cli.side_by_side import side_by_side
from structops_cli.errors import KernelError, UnsupportedError
from structops_cli.vm import archives
from structops_cli.vm.cpio import CpioWriter, is_whole
from structops_cli.vm.store import alone_in, store_folder, touch, whole_file, whole_folder


def fill(archive: CpioWriter, counter: Path) -> None:
    with counter.open("a") as file:
        file.write("filled\n")
    archive.file("a", b"x" * 3000)


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
    with pytest.raises(UnsupportedError) as caught, alone_in(str(tmp_path)), whole_file(f"{tmp_path}/a"):
        raise OSError(number, os.strerror(number))
    assert (caught.value.why, os.listdir(tmp_path)) == (os.strerror(number), [".lock"])
    assert "make room" in caught.value.hint


@pytest.mark.parametrize(
    "error", [OSError(EINTR, "x"), KernelError("x", errno=EROFS, operation="MAP_CREATE")]
)
def test_other_errors_stay_what_they_are(tmp_path: Path, error: OSError) -> None:
    with pytest.raises(type(error)) as caught, alone_in(str(tmp_path)):
        raise error
    assert caught.value is error


def test_what_a_process_left_half_done_goes_when_the_next_one_comes(tmp_path: Path) -> None:
    (tmp_path / ".part-x" / "deep").mkdir(parents=True)
    (tmp_path / ".part-y").write_bytes(b"half")
    (tmp_path / "whole").write_bytes(b"whole")
    with alone_in(str(tmp_path)):
        assert sorted(os.listdir(tmp_path)) == [".lock", "whole"]


def test_a_folder_and_a_file_are_there_when_they_are_whole(tmp_path: Path) -> None:
    folder, path = str(tmp_path / "folder"), str(tmp_path / "file")
    for number in (1, 2):
        with pytest.raises(ValueError, match="no"), whole_folder(folder), whole_file(path):
            raise ValueError("no")
        assert os.listdir(tmp_path) == [], number
    with whole_folder(folder) as part, whole_file(path) as file:
        Path(part, "a").touch()
        file.write(b"x")
    assert sorted(os.listdir(tmp_path)) == ["file", "folder"]


def test_two_that_want_the_same_archive_make_it_once(tmp_path: Path) -> None:
    counter = tmp_path / "counter"
    kept = partial(archives._kept, str(tmp_path), "userland-1.cpio", partial(fill, counter=counter))
    assert side_by_side([kept] * 4, 4) == [f"{tmp_path}/userland-1.cpio"] * 4
    assert counter.read_text() == "filled\n"


@pytest.mark.parametrize("length", [0, 1, 512, 3000, 3583])
def test_an_archive_that_was_cut_short_is_made_again(tmp_path: Path, length: int) -> None:
    kept = partial(
        archives._kept, str(tmp_path), "userland-1.cpio", partial(fill, counter=tmp_path / "counter")
    )
    path = Path(kept())
    whole = path.read_bytes()
    path.write_bytes(whole[:length])
    assert not is_whole(str(path))
    assert Path(kept()).read_bytes() == whole
    assert kept() == kept() == str(path)
    assert (tmp_path / "counter").read_text() == "filled\n" * 2


def test_noting_that_something_was_used_may_fail() -> None:
    touch("/proc/version")
    touch("/nowhere/at/all")
