"""OBJ: a word is a bundled object and nothing else, a path is a regular file and nothing else."""

from __future__ import annotations

import os
import shutil
import socket
from pathlib import Path

import pytest

from structops_cli.errors import InputError, NotFoundError
from structops_cli.runtime.objects import bundled_objects, object_bytes, object_path, open_object
from tests.cli_runner import refused, run_cli

SOMEBODY_ELSES = b"not an object"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the current folder, where somebody has put files that are called like objects."""
    monkeypatch.chdir(tmp_path)
    for name in ("reno", "mine", "mine.o"):
        (tmp_path / name).write_bytes(SOMEBODY_ELSES)
    return tmp_path


def test_a_word_is_the_bundled_object_whatever_lies_here(folder: Path) -> None:
    assert open_object("reno").name == "reno.bpf.o"
    assert object_bytes("reno") != SOMEBODY_ELSES


@pytest.mark.parametrize("name", ["./reno", "./mine", "mine.o"])
def test_a_slash_or_an_ending_names_a_file(folder: Path, name: str) -> None:
    assert object_bytes(name) == SOMEBODY_ELSES
    assert object_bytes(f"{folder}/{os.path.basename(name)}") == SOMEBODY_ELSES
    with pytest.raises(InputError):
        open_object(name)


def test_a_word_that_names_nothing_lists_the_bundled_objects(folder: Path) -> None:
    with pytest.raises(NotFoundError) as caught:
        open_object("nobody")
    assert caught.value.what == "there is no bundled object nobody"
    assert ", ".join(bundled_objects()) in caught.value.why
    assert "with a slash or ending in .o" in caught.value.hint


@pytest.mark.parametrize(
    "words",
    [
        ("register", "mine"),
        ("register", "reno", "mine"),
        ("update", "t_nobody", "mine"),
        ("inspect", "mine"),
        ("check", "mine"),
        ("demo", "mine"),
        ("run", "mine", "program"),
    ],
)
def test_a_word_is_no_file_to_any_command(folder: Path, words: tuple[str, ...]) -> None:
    result = run_cli(*words, "-q")
    assert result.exit_code in (3, 77)
    said = result.stdout + result.stderr
    assert "there is no bundled object mine" in said
    assert "for the file of that name here write ./mine" in said


def test_explain_takes_a_word_for_a_selector_and_not_for_a_file(folder: Path) -> None:
    assert refused("explain", "register", "EEXIST", "mine.o")["kind"] == "ElfError"
    assert refused("explain", "register", "EEXIST", "./mine")["kind"] == "ElfError"
    assert "ElfError" not in run_cli("explain", "register", "EEXIST", "mine", "-j").stderr
    assert run_cli("explain", "register", "EEXIST", "reno", "-j").json()["narrowed_by"] == "object"


@pytest.mark.parametrize(
    ("sort", "why"),
    [
        ("fifo", "pipe (FIFO)"),
        ("socket", "socket"),
        ("folder", "directory"),
        ("/dev/null", "character device"),
        ("link to /dev/zero", "character device"),
    ],
)
@pytest.mark.parametrize("command", [("inspect",), ("register",), ("update", "t_nobody"), ("demo",)])
def test_something_else_than_a_regular_file_is_refused_at_once(
    tmp_path: Path, sort: str, why: str, command: tuple[str, ...]
) -> None:
    path = sort if sort.startswith("/dev") else str(tmp_path / "x.o")
    if sort == "fifo":
        os.mkfifo(path)
    elif sort == "folder":
        os.mkdir(path)
    elif sort.startswith("link"):
        os.symlink("/dev/zero", path)
    elif sort == "socket":
        with socket.socket(socket.AF_UNIX) as one:
            one.bind(path)
    error = refused(*command, path, exit_code=3)
    assert error["what"] == f"the object {path} cannot be read"
    assert error["why"] == f"it is a {why}, and an object is a regular file"


def test_a_pipe_is_refused_and_a_redirected_file_is_not(tmp_path: Path) -> None:
    reader, writer = os.pipe()
    with open(reader, "rb"), open(writer, "wb"):
        assert "pipe (FIFO)" in refused("inspect", f"/dev/fd/{reader}", exit_code=3)["why"]
    with open(shutil.copy(object_path("reno"), tmp_path), "rb") as file:
        assert open_object(f"/dev/fd/{file.fileno()}").struct_ops


def test_a_pipe_that_takes_the_place_of_a_file_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, stat = tmp_path / "x.o", os.stat
    path.write_bytes(b"")

    def exchange(*arguments: object) -> os.stat_result:
        found = stat(path)
        path.unlink()
        os.mkfifo(path)
        return found

    monkeypatch.setattr("structops_cli.runtime.objects.os.stat", exchange)
    with pytest.raises(NotFoundError) as caught:
        object_bytes(str(path))
    assert "pipe (FIFO)" in caught.value.why
