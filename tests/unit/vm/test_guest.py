"""A guest: its output and errors, a hanging KVM, and the end of the command. A script stands for QEMU."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from structops_cli.errors import GuestError, UnsupportedError
from structops_cli.vm import emulator, guest
from structops_cli.vm.archives import Job
from structops_cli.vm.cpio import CpioWriter
from structops_cli.vm.guest import GuestOutput, console_tail, result_of, run_in_guest
from structops_cli.vm.kernels import Kernel
from structops_cli.vm.results import Results
from tests.time_scale import scaled
from tests.unit.vm.test_results import a_file, packed


def said(
    results: bytes = b"", console: bytes = b"", *, in_time: bool = True, emulator: bytes = b""
) -> GuestOutput:
    return GuestOutput(console, b"out", b"err", results, emulator, 5.0, 1.0, in_time)


def test_results_that_came_whole() -> None:
    outcome = result_of("6.99", said(packed(code="5", files={"files/etc/a": b"x"})), 60, kvm=False)
    assert outcome.results == Results(5, {"etc/a": a_file(b"x")}, (3, 3))
    assert (outcome.stdout, outcome.stderr, outcome.boot_s) == (b"out", b"err", 5.0)


@pytest.mark.parametrize("cut", [8, 12, 15])
def test_a_guest_that_has_not_said_how_its_command_ended_has_not_come_so_far(cut: int) -> None:
    with pytest.raises(GuestError, match="ended before its command did") as caught:
        result_of("6.99", said(packed()[:cut]), 60, kvm=False)
    assert (caught.value.exit_code, caught.value.hint) == (1, "")


@pytest.mark.parametrize("cut", [17, 20, 30, len(packed(code="6")) - 1])
def test_what_the_command_ended_with_is_known_without_the_rest(cut: int) -> None:
    with pytest.raises(GuestError, match=r"the command ended with 6, but 6\.99 did not send") as caught:
        result_of("6.99", said(packed(code="6")[:cut], b"last words", in_time=False), 60, kvm=False)
    assert (caught.value.exit_code, caught.value.why) == (6, "it had not ended after 60 s")


def test_output_that_could_not_be_written_is_no_success() -> None:
    with pytest.raises(UnsupportedError) as caught:
        result_of("6.99", said(packed(sent="3 9")), 60, kvm=False)
    assert "3 of 9 bytes" in caught.value.why
    with pytest.raises(UnsupportedError, match="3 of more bytes"):
        result_of("6.99", said(packed(sent="- 3"))._replace(full="/tmp/x"), 60, kvm=False)
    assert result_of("6.99", said(packed(sent="- 3")), 60, kvm=False).results.exit_code == 0
    assert result_of("6.99", said(packed(sent="3 3"))._replace(full="/tmp/x"), 60, kvm=False).stdout == b"out"


def test_a_full_folder_is_why_a_guest_says_nothing() -> None:
    with pytest.raises(GuestError) as caught:
        result_of("6.99", said(b"started\n")._replace(full="/tmp/x"), 60, kvm=False)
    assert (caught.value.why, "$TMPDIR" in caught.value.hint) == ("/tmp/x is full", True)


def test_a_kernel_that_never_started_the_command_did_not_boot() -> None:
    console = b"[    1.0] fine\r\n[    1.1] Kernel panic - not syncing: no init\r\n[    1.2] more\r\n"
    with pytest.raises(UnsupportedError) as caught:
        result_of("6.99", said(console=console), 60, kvm=False)
    assert caught.value.why == "Kernel panic - not syncing: no init"
    assert "fine\n" in caught.value.fields["console"]
    assert caught.value.exit_code == 77


def test_a_guest_that_hangs_is_said_to_be_out_of_time() -> None:
    with pytest.raises(GuestError) as caught:
        result_of("6.99", said(b"started\n", in_time=False), 60, kvm=False)
    assert caught.value.why == "it had not ended after 60 s"
    assert "--timeout" in caught.value.hint


def test_what_qemu_says_is_the_reason_when_nothing_else_is() -> None:
    with pytest.raises(UnsupportedError) as caught:
        result_of("6.99", said(emulator=b"warning\nqemu: no such file\n"), 60, kvm=False)
    assert caught.value.why == "qemu: no such file"


def test_the_tail_of_a_console_is_short_and_shows_the_panic() -> None:
    lines = [f"line {number}" for number in range(200)]
    assert console_tail("\n".join(lines)).splitlines() == lines[-12:]
    lines[100] = "Kernel panic - not syncing"
    assert console_tail("\n".join(lines)).splitlines() == lines[96:112]
    assert console_tail("") == ""


KERNEL = Kernel("6.99-cloud-amd64", "/nowhere")


SCRIPT = r"""#!/bin/sh
here=${0%/*}
case "$*" in *--version) echo "QEMU emulator version 9.1.0"; exit;; esac
for last; do :; done
results=${last#file:}
case "$*" in
    *"accel kvm"*"-bios"*) echo probe >>$here/asked; . $here/probe;;
    *"accel kvm"*) echo kvm >>$here/asked; . $here/kvm;;
    *) echo tcg >>$here/asked; echo $$ >$here/pid.new; mv $here/pid.new $here/pid; . $here/tcg;;
esac
"""


ANSWERS = "cat $here/results >>$results"


HANGS = "exec sleep 100"


SAYS_K = "printf K >$results; exec sleep 60"


@pytest.fixture
def qemu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder of a QEMU that answers under emulation, and does under KVM what the files there say."""
    folder = tmp_path / "qemu"
    folder.mkdir()
    (folder / "qemu").write_text(SCRIPT)
    (folder / "qemu").chmod(0o755)
    (folder / "results").write_bytes(packed(code="7", sent="0 0"))
    for name, text in (("tcg", ANSWERS), ("kvm", HANGS), ("probe", SAYS_K)):
        (folder / name).write_text(text)
    archive = tmp_path / "archive"
    with archive.open("wb") as file, CpioWriter(file):
        pass
    monkeypatch.setenv("STRUCTOPS_QEMU", str(folder / "qemu"))
    monkeypatch.setenv("STRUCTOPS_VM_FOLDER", str(tmp_path / "store"))
    monkeypatch.setenv("TMPDIR", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    for name in ("userland_archive", "modules_archive"):
        monkeypatch.setattr(guest, name, lambda *_: str(archive))
    monkeypatch.setattr(guest, "vmlinux", lambda _: "/nowhere/vmlinux")
    monkeypatch.setattr(emulator, "KVM", "/dev/null")
    monkeypatch.setattr(emulator, "PROBE_S", scaled(60))
    monkeypatch.setattr(guest, "KVM_STARTS_S", scaled(60))
    return folder


def asked(qemu: Path) -> list[str]:
    return (qemu / "asked").read_text().split()


def exit_code() -> int:
    outcome = run_in_guest(KERNEL, Job(("true",)), timeout_s=scaled(60))
    return outcome.results.exit_code if not outcome.kvm else -1


def test_kvm_that_hangs_at_once_is_left_alone(qemu: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(emulator, "PROBE_S", scaled(2))
    (qemu / "probe").write_text(HANGS)
    assert (exit_code(), exit_code()) == (7, 7)
    assert asked(qemu) == ["probe", "tcg", "tcg"], "the answer is kept"


def test_kvm_that_does_not_boot_a_kernel_is_left_alone_from_then_on(
    qemu: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guest, "KVM_STARTS_S", scaled(2))
    assert (exit_code(), exit_code()) == (7, 7)
    assert asked(qemu) == ["probe", "kvm", "tcg", "tcg"]


def test_what_does_not_boot_without_kvm_either_is_no_reason_to_leave_kvm_alone(qemu: Path) -> None:
    (qemu / "kvm").write_text("exit 1")
    (qemu / "tcg").write_text("echo 'qemu: that option makes no sense' >&2; exit 1")
    for _ in range(2):
        with pytest.raises(UnsupportedError, match="that option makes no sense") as caught:
            exit_code()
        assert caught.value.hint == "", "there is no console to look at"
    assert asked(qemu) == ["probe", "kvm", "tcg", "kvm", "tcg"]


def test_kvm_that_works_is_used(qemu: Path) -> None:
    (qemu / "kvm").write_text(ANSWERS)
    assert (exit_code(), exit_code()) == (-1, -1)
    assert asked(qemu) == ["probe", "kvm", "kvm"]


def test_a_machine_without_kvm(qemu: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(emulator, "KVM", "/dev/nothing-of-that-name")
    assert (exit_code(), asked(qemu)) == (7, ["tcg"])


def test_a_store_that_may_only_be_read_is_enough(
    qemu: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("STRUCTOPS_VM_FOLDER", "/proc/nowhere")
    monkeypatch.setattr(guest, "KVM_STARTS_S", scaled(2))
    assert (exit_code(), asked(qemu)) == (7, ["probe", "kvm", "tcg"])


def test_a_guest_that_hangs_is_ended(qemu: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(emulator, "KVM", "/dev/nothing-of-that-name")
    (qemu / "tcg").write_text(f"echo started >>$results; {HANGS}")
    with pytest.raises((GuestError, UnsupportedError), match="it had not ended after"):
        run_in_guest(KERNEL, Job(("true",)), timeout_s=scaled(3))
    assert gone(qemu)


def test_output_that_the_temporary_folder_had_no_room_for_is_said(
    qemu: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(emulator, "KVM", "/dev/nothing-of-that-name")
    (qemu / "results").write_bytes(packed(code="0", sent="100 0"))
    with pytest.raises(UnsupportedError, match="0 of 100 bytes") as caught:
        exit_code()
    assert tempfile.gettempdir() in caught.value.why


@pytest.mark.parametrize(
    ("free", "available", "blocks", "user", "full"),
    [(0, 0, 9, 0, True), (1, 0, 9, 0, False), (1, 0, 9, 1, True), (1, 1, 9, 1, False), (0, 0, 0, 0, False)],
)
def test_when_nothing_more_can_be_written(
    monkeypatch: pytest.MonkeyPatch, free: int, available: int, blocks: int, user: int, *, full: bool
) -> None:
    system = SimpleNamespace(f_bfree=free, f_bavail=available, f_blocks=blocks)
    monkeypatch.setattr(os, "fstatvfs", lambda _: system)
    monkeypatch.setattr(os, "geteuid", lambda: user)
    assert bool(guest._full(0)) is full


def test_a_full_temporary_folder_is_said(qemu: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(guest, "concatenated", full)
    with pytest.raises(UnsupportedError) as caught:
        exit_code()
    assert (caught.value.why, "$TMPDIR" in caught.value.hint) == ("No space left on device", True)


ENDED = """
import sys
from structops_cli.vm import emulator, guest, kernels
emulator.KVM = "/dev/nothing-of-that-name"
archive, btf, *words = sys.argv[1:]
guest.userland_archive = guest.modules_archive = lambda *_: archive
guest.vmlinux = lambda _: "/nowhere/vmlinux"
from structops_cli.cli import vm
from structops_cli.vm import booted_check
vm.kernel_for = booted_check.kernel_for = lambda *_, **__: kernels.Kernel("6.99-cloud-amd64", "/nowhere")
booted_check._prepare = lambda: None
booted_check.vmlinux = lambda _: btf
from structops_cli.__main__ import entry
sys.argv[1:] = words
entry()
"""


COMMANDS = (("vm", "run", "-k", "6.99", "--", "true"), ("check", "reno", "--boot", "6.99"))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGKILL])
@pytest.mark.parametrize("words", COMMANDS, ids=lambda words: words[0])
def test_whatever_ends_the_command_ends_its_guest_and_leaves_no_file(
    qemu: Path, tmp_path: Path, number: signal.Signals, words: tuple[str, ...]
) -> None:
    (qemu / "tcg").write_text(f"echo started >>$results; {HANGS}")
    btf = str(Path(__file__).parents[2] / "kernels" / "debian-6.12.btf")
    command = [sys.executable, "-c", ENDED, str(tmp_path / "archive"), btf, *words]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL) as process:
        try:
            until = time.monotonic() + scaled(60)
            while not (qemu / "pid").exists() and time.monotonic() < until:
                time.sleep(0.02)
            assert (qemu / "pid").exists()
            process.send_signal(number)
            assert process.wait(scaled(60)) == (-9 if number is signal.SIGKILL else 128 + number)
        finally:
            process.kill()
    assert gone(qemu)
    assert os.listdir(tmp_path / "temporary") == []


def gone(qemu: Path) -> bool:
    """Tell whether the last QEMU ends within a moment."""
    pid = int((qemu / "pid").read_text())
    until = time.monotonic() + scaled(30)
    while time.monotonic() < until:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.02)
    return False
