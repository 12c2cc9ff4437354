"""What a guest said, and what becomes of it."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import pytest

from structops_cli.errors import GuestError, NotFoundError, StructopsError, UnsupportedError
from structops_cli.vm.guest import Said, console_tail, judged
from structops_cli.vm.results import Results, read_results, write_back


def packed(exit_code: str = "0", /, **files: bytes) -> bytes:
    """Pack results as init.sh does."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as archive:
        for name, data in {"exit": exit_code.encode(), **files}.items():
            member = tarfile.TarInfo(f"./{name}")
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return out.getvalue()


def said(results: bytes = b"", console: bytes = b"", *, in_time: bool = True, emulator: bytes = b"") -> Said:
    return Said(console, b"out", b"err", results, emulator, 5.0, 1.0, in_time)


def test_results_that_came_whole() -> None:
    outcome = judged("6.99", said(b"started\n" + packed("5\n", **{"files/etc/a": b"x"})), 60, kvm=False)
    assert outcome.results == Results(5, {"etc/a": b"x"})
    assert (outcome.stdout, outcome.stderr, outcome.boot_s) == (b"out", b"err", 5.0)


@pytest.mark.parametrize("cut", [0, 1, 20, len(packed()) - 1])
def test_results_that_did_not_come_whole_are_a_dead_guest(cut: int) -> None:
    with pytest.raises(GuestError, match="ended before its command did"):
        judged("6.99", said(b"started\n" + packed()[:cut]), 60, kvm=False)


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


@pytest.mark.parametrize("data", [b"", b"nonsense", packed("x")])
def test_results_that_make_no_sense_are_none(data: bytes) -> None:
    assert read_results(data) is None


def test_a_path_that_leads_out_of_its_folder_is_left_out() -> None:
    names = ("files/../../etc/passwd", "../x", "/etc/passwd", "files/fine")
    assert read_results(packed(**dict.fromkeys(names, b""))) == Results(0, {"fine": b""})


def test_a_file_is_brought_back_where_cp_would_put_it(tmp_path: Path) -> None:
    results = Results(0, {"etc/a": b"x"})
    write_back(results, "/etc/a", str(tmp_path / "deep" / "b"))
    write_back(results, "/etc/a", str(tmp_path))
    assert (tmp_path / "deep" / "b").read_bytes() == (tmp_path / "a").read_bytes() == b"x"


def test_a_folder_is_brought_back_with_what_is_in_it(tmp_path: Path) -> None:
    results = Results(0, {"etc/a": b"x", "etc/b/c": b"y", "etcetera": b"z"})
    write_back(results, "/etc/", str(tmp_path / "back"))
    assert sorted(path.name for path in (tmp_path / "back").rglob("*")) == ["a", "b", "c"]
    assert (tmp_path / "back" / "b" / "c").read_bytes() == b"y"


def test_what_the_guest_has_not_is_said() -> None:
    with pytest.raises(NotFoundError, match="the guest has no /etc/none"):
        write_back(Results(0, {"etc/a": b"x"}), "/etc/none", "/nowhere")


@pytest.mark.parametrize("place", ["/proc/nowhere/a", "/dev/null/a", "/proc/version"])
def test_what_cannot_be_written_here_is_said(place: str) -> None:
    with pytest.raises(StructopsError, match=f"{place} cannot be written"):
        write_back(Results(0, {"etc/a": b"x"}), "/etc/a", place)
