"""The archives that the kernel unpacks into a guest's root."""

from __future__ import annotations

import io
import os
import stat
from os import utime
from pathlib import Path
from typing import NamedTuple

from structops_cli.vm.cpio import CpioWriter, concatenated


class Entry(NamedTuple):
    path: str
    mode: int
    owner: tuple[int, int]
    device: tuple[int, int]
    modified: int
    data: bytes


def entries(data: bytes) -> list[Entry]:
    """Read archives by the letter of the kernel's buffer-format.rst, up to the last trailer."""
    found, offset = [], 0
    while offset < len(data):
        if data[offset] == 0:  # padding between archives
            offset += 1
            continue
        assert offset % 4 == 0
        assert data[offset : offset + 6] == b"070701"
        words = [int(data[offset + 6 + 8 * n : offset + 14 + 8 * n], 16) for n in range(13)]
        size, name_size = words[6], words[11]
        name = data[offset + 110 : offset + 110 + name_size]
        assert name.endswith(b"\0")
        offset += (110 + name_size + 3) // 4 * 4
        if name != b"TRAILER!!!\0":
            content = data[offset : offset + size]
            found.append(
                Entry(
                    os.fsdecode(name[:-1]),
                    words[1],
                    (words[2], words[3]),
                    (words[9], words[10]),
                    words[5],
                    content,
                )
            )
        offset += (size + 3) // 4 * 4
    return found


def written(write: object) -> list[Entry]:
    file = io.BytesIO()
    with CpioWriter(file) as archive:
        write(archive)  # type: ignore[operator]
    return entries(file.getvalue())


def test_folders_come_before_what_is_in_them() -> None:
    found = written(lambda archive: archive.file("/a/b/c", b"data"))
    assert [entry.path for entry in found] == ["a", "a/b", "a/b/c"]
    assert [stat.S_IFMT(entry.mode) for entry in found] == [stat.S_IFDIR, stat.S_IFDIR, stat.S_IFREG]
    assert found[-1].data == b"data"


def test_sizes_that_are_no_multiple_of_four_are_padded() -> None:
    def write(archive: CpioWriter) -> None:
        for size in range(9):
            archive.file(f"{'n' * (size + 1)}", b"x" * size)

    assert [len(entry.data) for entry in written(write)] == list(range(9))


def test_everything_is_owned_by_root_and_keeps_its_permissions() -> None:
    found = written(lambda archive: archive.file("program", b"", 0o4755))
    assert (found[0].owner, stat.S_IMODE(found[0].mode)) == ((0, 0), 0o4755)


def test_device_nodes_need_no_privilege() -> None:
    found = written(lambda archive: archive.character_device("dev/null", 1, 3, 0o666))
    assert stat.S_ISCHR(found[-1].mode)
    assert found[-1].device == (1, 3)


def test_a_path_that_comes_twice_is_written_once() -> None:
    def write(archive: CpioWriter) -> None:
        archive.file("a", b"first")
        archive.file("/a", b"second")
        assert "a" in archive

    assert [entry.data for entry in written(write)] == [b"first"]


def test_a_folder_is_copied_with_its_links_and_permissions(tmp_path: Path) -> None:
    (tmp_path / "inner").mkdir()
    (tmp_path / "inner" / "tool").write_bytes(b"#!/bin/sh\n")
    (tmp_path / "inner" / "tool").chmod(0o750)
    utime(tmp_path / "inner" / "tool", (1, 1_000_000))
    (tmp_path / "link").symlink_to("inner/tool")
    (tmp_path / "self").symlink_to(tmp_path)
    top = str(tmp_path / "self")
    found = {entry.path: entry for entry in written(lambda archive: archive.copy(top, "top"))}
    assert stat.S_IMODE(found["top/inner/tool"].mode) == 0o750
    assert found["top/inner/tool"].modified == 1_000_000
    assert (stat.S_ISLNK(found["top/link"].mode), found["top/link"].data) == (True, b"inner/tool")
    assert (stat.S_ISLNK(found["top/self"].mode), stat.S_ISDIR(found["top"].mode)) == (True, True)


def test_archives_follow_one_another_aligned(tmp_path: Path) -> None:
    for name in ("one", "two"):
        with (tmp_path / name).open("wb") as file, CpioWriter(file) as archive:
            archive.file(name, b"123")
        assert (tmp_path / name).stat().st_size % 512 == 0
    both = io.BytesIO()
    concatenated([str(tmp_path / "one"), str(tmp_path / "two")], both)
    assert [entry.path for entry in entries(both.getvalue())] == ["one", "two"]
