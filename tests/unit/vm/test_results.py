"""The results of a guest: read, and written to this machine."""

from __future__ import annotations

import io
import os
import stat
import tarfile
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

import pytest

from structops_cli.errors import StructopsError
from structops_cli.vm.results import Fetched, Results, has, read_results, write_back

NONE: Mapping[str, bytes] = MappingProxyType({})


def packed(
    *members: tarfile.TarInfo, code: str = "0", sent: str = "3 3", files: Mapping[str, bytes] = NONE
) -> bytes:
    """Send results as init.sh does."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as archive:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
        for member in members:
            archive.addfile(member)
    return f"started\nended {code}\nsent {sent}\n".encode() + out.getvalue()


def member(name: str, kind: bytes, mode: int = 0o755, target: str = "") -> tarfile.TarInfo:
    found = tarfile.TarInfo(name)
    found.type, found.mode, found.linkname = kind, mode, target
    return found


def a_file(data: bytes, mode: int = 0o644) -> Fetched:
    return Fetched(stat.S_IFREG | mode, data)


@pytest.mark.parametrize(
    "data", [b"", b"nonsense", packed(code="x"), packed(sent="3"), packed()[:-9] + bytes(9)]
)
def test_results_that_make_no_sense_are_none(data: bytes) -> None:
    assert read_results(data) is None


def test_a_path_that_leads_out_of_its_folder_is_left_out() -> None:
    names = ("files/../../etc/passwd", "../x", "/etc/passwd", "files/fine", "files/link/passwd")
    link = member("files/link", tarfile.SYMTYPE, target="/etc")
    found = read_results(packed(link, files=dict.fromkeys(names, b"")))
    assert found is not None
    assert found.files.keys() == {"fine", "link"}


def test_a_file_is_brought_back_where_cp_would_put_it(tmp_path: Path) -> None:
    results = Results(0, {"etc/a": a_file(b"x", 0o750)})
    write_back(results, "/etc/a", str(tmp_path / "deep" / "b"))
    write_back(results, "/etc/a", str(tmp_path))
    assert (tmp_path / "deep" / "b").read_bytes() == (tmp_path / "a").read_bytes() == b"x"
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o750


def test_a_folder_is_brought_back_with_what_is_in_it(tmp_path: Path) -> None:
    data = packed(
        member("files/etc", tarfile.DIRTYPE),
        member("files/etc/b", tarfile.DIRTYPE),
        member("files/etc/empty", tarfile.DIRTYPE),
        member("files/etc/link", tarfile.SYMTYPE, target="b/c"),
        member("files/etc/device", tarfile.CHRTYPE),
        files={"files/etc/a": b"x", "files/etc/b/c": b"y", "files/etcetera": b"z"},
    )
    results = read_results(data)
    assert results is not None
    back = tmp_path / "back"
    for _ in range(2):  # over what is there already
        write_back(results, "/etc/", str(back))
    assert sorted(path.name for path in back.rglob("*")) == ["a", "b", "c", "empty", "link"]
    assert ((back / "b" / "c").read_bytes(), os.readlink(back / "link")) == (b"y", "b/c")


def test_a_link_that_lies_here_is_replaced_by_what_the_guest_has_there(tmp_path: Path) -> None:
    (tmp_path / "mine").write_bytes(b"mine")
    (tmp_path / "a").symlink_to("mine")
    write_back(Results(0, {"d": Fetched(stat.S_IFDIR), "d/a": a_file(b"x")}), "d", str(tmp_path))
    assert ((tmp_path / "a").read_bytes(), (tmp_path / "mine").read_bytes()) == (b"x", b"mine")


def test_an_empty_folder_was_brought_back_and_what_the_guest_has_not_was_not() -> None:
    results = Results(0, {"etc/empty": Fetched(stat.S_IFDIR)})
    assert (has(results, "/etc/empty/"), has(results, "/etc/none")) == (True, False)


@pytest.mark.parametrize("place", ["/proc/nowhere/a", "/dev/null/a", "/proc/version"])
def test_what_cannot_be_written_here_is_said(place: str) -> None:
    with pytest.raises(StructopsError, match=f"{place} cannot be written"):
        write_back(Results(0, {"etc/a": a_file(b"x")}), "/etc/a", place)
