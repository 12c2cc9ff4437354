"""Findings of ``doctor``: a check that fails becomes a note, and files are read from one tree."""

from __future__ import annotations

from collections.abc import Iterator
from errno import EACCES, EIO, EMFILE, ENOENT, ENOSPC
from pathlib import Path

import pytest

from structops_cli.errors import KernelError, StructopsError
from structops_cli.operations import findings as module
from structops_cli.operations.findings import LARGEST_FILE, NOTE, OK, Finding, Tree, looked_at


def failing(error: Exception) -> Iterator[Finding]:
    yield Finding("pins", OK, "the first half")
    raise error


def note_of(error: Exception) -> Finding:
    """Return the only finding of a check that ends with an error."""
    [only] = looked_at("pins", lambda: failing(error))
    return only


def test_a_tree_reads_below_its_root(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/long").write_bytes(b"\xff" + b"x" * LARGEST_FILE)
    tree = Tree(f"{tmp_path}/")
    assert tree.path("/etc/long") == f"{tmp_path}/etc/long"
    assert tree.read("/etc/long") == "\ufffd" + "x" * (LARGEST_FILE - 1)
    assert tree.read("/etc/none") is None
    assert tree.read("/etc") is None
    assert Tree("/").path("/etc") == "/etc"


@pytest.mark.parametrize(("errno", "is_error"), [(EACCES, False), (ENOENT, False), (EMFILE, True)])
def test_only_a_lack_of_resources_is_an_error_of_reading(
    monkeypatch: pytest.MonkeyPatch, errno: int, *, is_error: bool
) -> None:
    def refused(*_: object, **__: object) -> None:
        raise OSError(errno, "no")

    monkeypatch.setattr("builtins.open", refused)
    if is_error:
        with pytest.raises(OSError, match="no"):
            Tree().read("/etc/file")
    else:
        assert Tree().read("/etc/file") is None


def test_a_check_that_fails_is_one_note() -> None:
    note = note_of(StructopsError("no list", why="it is damaged", hint="mount it"))
    assert note == Finding("pins", NOTE, "could not be looked at", "no list: it is damaged", "mount it")
    assert note_of(OSError(EIO, "Input/output error"))[2:] == (
        "could not be looked at",
        "Input/output error",
        "",
    )


def test_a_note_tells_how_to_get_more_descriptors() -> None:
    fixes = {
        note_of(OSError(EMFILE, "Too many open files")).fix,
        note_of(KernelError("no", errno=EMFILE, operation="open")).fix,
    }
    assert note_of(OSError(ENOSPC, "No space left")).fix == ""
    assert len(fixes) == 1
    assert "ulimit" in fixes.pop()


def test_a_note_tells_how_to_mount_a_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        module, "unmounted", lambda text: ("/proc", "mount it") if "/proc/1" in text else None
    )
    assert note_of(OSError(ENOENT, "No such file", "/proc/1/ns/net")).fix == "mount it"
    assert note_of(OSError(ENOENT, "No such file", "/etc/file")).fix == ""
