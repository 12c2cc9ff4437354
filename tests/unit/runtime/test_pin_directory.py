"""Directories that are no place for pins, and who can change one."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from structops_cli.errors import StructopsError, UsageError
from structops_cli.runtime import pin_directory
from structops_cli.runtime.pin_directory import Writers, open_directory, owner_text, remove_if_empty

ME, OTHER = os.geteuid(), 12345


def test_a_directory_outside_a_bpffs_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is not on a bpffs"):
        open_directory(str(tmp_path), Writers.CALLER)
    with pytest.raises(UsageError, match="is not on a bpffs"):
        open_directory(str(tmp_path / "absent"), Writers.CALLER)


def test_a_symbolic_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("/sys/fs/bpf")
    with pytest.raises(StructopsError, match="is not safe for pins") as caught:
        open_directory(str(tmp_path / "link"), Writers.CALLER)
    assert "is a symbolic link of" in caught.value.why


def test_a_file_is_no_directory(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StructopsError, match="is not a directory"):
        open_directory(str(tmp_path / "file"), Writers.ANYBODY)


def test_an_undo_goes_anywhere(tmp_path: Path) -> None:
    open_directory(str(tmp_path), Writers.ANYBODY).close()


def status(uid: int, mode: int) -> os.stat_result:
    return cast("os.stat_result", SimpleNamespace(st_uid=uid, st_mode=stat.S_IFDIR | mode))


@pytest.mark.parametrize(
    ("uid", "mode", "writers", "why"),
    [
        (ME, 0o700, Writers.CALLER, None),
        (OTHER, 0o700, Writers.CALLER, "belongs to uid 12345"),
        (OTHER, 0o777, Writers.ANYBODY, None),
        (0, 0o755, Writers.TRUSTED, None),
        (0, 0o1777, Writers.TRUSTED, None),
        (ME, 0o1777, Writers.CALLER, "every user may write"),
        (ME, 0o770, Writers.CALLER, "its group may write"),
    ],
)
def test_who_can_change_a_directory(uid: int, mode: int, writers: Writers, why: str | None) -> None:
    found = pin_directory._exposure(status(uid, mode), "/sys/fs/bpf/d", writers)
    assert (found is None) == (why is None)
    if found and why:
        assert why in found.why
        assert found.is_foreign == (uid == OTHER)


def test_owners_have_names_if_the_system_knows_them() -> None:
    assert owner_text(0) == "uid 0 (root)"
    assert owner_text(OTHER) == "uid 12345"


def test_only_an_empty_directory_is_removed(tmp_path: Path) -> None:
    full, empty = tmp_path / "full", tmp_path / "empty"
    (full / "inner").mkdir(parents=True)
    empty.mkdir()
    assert not remove_if_empty(str(full))
    assert remove_if_empty(str(empty))
    assert (full.exists(), empty.exists()) == (True, False)
