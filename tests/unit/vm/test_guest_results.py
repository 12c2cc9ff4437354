"""What a guest said, and what becomes of it."""

from __future__ import annotations

import io
import os
import stat
import tarfile
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

import pytest

from structops_cli.errors import GuestError, StructopsError, UnsupportedError
from structops_cli.vm.guest import Said, console_tail, judged
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


def said(results: bytes = b"", console: bytes = b"", *, in_time: bool = True, emulator: bytes = b"") -> Said:
    return Said(console, b"out", b"err", results, emulator, 5.0, 1.0, in_time)


def test_results_that_came_whole() -> None:
    outcome = judged("6.99", said(packed(code="5", files={"files/etc/a": b"x"})), 60, kvm=False)
    assert outcome.results == Results(5, {"etc/a": a_file(b"x")}, (3, 3))
    assert (outcome.stdout, outcome.stderr, outcome.boot_s) == (b"out", b"err", 5.0)


@pytest.mark.parametrize("cut", [8, 12, 15])
def test_a_guest_that_has_not_said_how_its_command_ended_has_not_come_so_far(cut: int) -> None:
    with pytest.raises(GuestError, match="ended before its command did") as caught:
        judged("6.99", said(packed()[:cut]), 60, kvm=False)
    assert (caught.value.exit_code, caught.value.hint) == (1, "")


@pytest.mark.parametrize("cut", [17, 20, 30, len(packed(code="6")) - 1])
def test_what_the_command_ended_with_is_known_without_the_rest(cut: int) -> None:
    with pytest.raises(
        GuestError, match=r"the command ended with 6, but what 6\.99 was to bring back"
    ) as caught:
        judged("6.99", said(packed(code="6")[:cut], b"last words", in_time=False), 60, kvm=False)
    assert (caught.value.exit_code, caught.value.why) == (6, "it was not done after 60 s")


def test_output_that_could_not_be_written_is_no_success() -> None:
    with pytest.raises(UnsupportedError) as caught:
        judged("6.99", said(packed(sent="3 9")), 60, kvm=False)
    assert "3 of 9 bytes" in caught.value.why
    with pytest.raises(UnsupportedError, match="3 of more bytes"):
        judged("6.99", said(packed(sent="- 3"))._replace(full="/tmp/x"), 60, kvm=False)
    assert judged("6.99", said(packed(sent="- 3")), 60, kvm=False).results.exit_code == 0
    assert judged("6.99", said(packed(sent="3 3"))._replace(full="/tmp/x"), 60, kvm=False).stdout == b"out"


def test_a_full_folder_is_why_a_guest_says_nothing() -> None:
    with pytest.raises(GuestError) as caught:
        judged("6.99", said(b"started\n")._replace(full="/tmp/x"), 60, kvm=False)
    assert (caught.value.why, "$TMPDIR" in caught.value.hint) == ("/tmp/x is full", True)


def test_a_kernel_that_never_started_the_command_did_not_boot() -> None:
    console = b"[    1.0] fine\r\n[    1.1] Kernel panic - not syncing: no init\r\n[    1.2] more\r\n"
    with pytest.raises(UnsupportedError) as caught:
        judged("6.99", said(console=console), 60, kvm=False)
    assert caught.value.why == "Kernel panic - not syncing: no init"
    assert "fine\n" in caught.value.fields["console"]
    assert caught.value.exit_code == 77


def test_a_guest_that_hangs_is_said_to_be_out_of_time() -> None:
    with pytest.raises(GuestError) as caught:
        judged("6.99", said(b"started\n", in_time=False), 60, kvm=False)
    assert caught.value.why == "it was not done after 60 s"
    assert "--timeout" in caught.value.hint


def test_what_qemu_says_is_the_reason_when_nothing_else_is() -> None:
    with pytest.raises(UnsupportedError) as caught:
        judged("6.99", said(emulator=b"warning\nqemu: no such file\n"), 60, kvm=False)
    assert caught.value.why == "qemu: no such file"


def test_the_tail_of_a_console_is_short_and_shows_the_panic() -> None:
    lines = [f"line {number}" for number in range(200)]
    assert console_tail("\n".join(lines)).splitlines() == lines[-12:]
    lines[100] = "Kernel panic - not syncing"
    assert console_tail("\n".join(lines)).splitlines() == lines[96:112]
    assert console_tail("") == ""


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
