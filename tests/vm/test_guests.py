"""Test guests that end badly, and their clean-up, with QEMU and a stored kernel."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from structops_cli.errors import GuestError, UnsupportedError
from structops_cli.vm.archives import Job
from structops_cli.vm.guest import run_in_guest
from structops_cli.vm.kernels import Kernel, kept_kernels, kernel_for
from tests.cli_runner import COMMAND
from tests.missing import IN_CI

SOON_S = 60


@pytest.fixture(scope="module")
def kernel() -> Kernel:
    """Return a stored kernel; only CI fetches one."""
    if IN_CI:
        return kernel_for("6.12")
    kept = [item for item in kept_kernels() if item.release.endswith("cloud-amd64")]
    if not kept:
        pytest.skip("no kernel is kept here: make vmtest fetches some")
    return kept[0]


def test_a_panic_is_told_with_what_led_to_it(kernel: Kernel) -> None:
    said = bytearray()
    job = Job(("sh", "-c", "echo before; sleep 1; echo c >/proc/sysrq-trigger"))
    with pytest.raises(GuestError) as caught:
        run_in_guest(kernel, job, timeout_s=120, stdout=said.extend)
    assert caught.value.why == "Kernel panic - not syncing: sysrq triggered crash"
    assert caught.value.what == f"{kernel.release} ended before its command did"
    assert "sysrq_handle_crash" in caught.value.fields["console"]
    assert bytes(said) == b"before\n", "what it said until then is not lost"


def test_whatever_a_command_does_to_the_guest_its_result_is_known(kernel: Kernel, tmp_path: Path) -> None:
    (tmp_path / "a").write_text("from here")
    (tmp_path / "latest").symlink_to("a")
    script = (
        "echo $out $err; cat latest; mkdir -p d/empty; ln -s ../latest d/link; chmod 751 latest; ln -s d lnk;"
        "dd if=/dev/zero of=/root/fill bs=1M 2>/dev/null; rm -rf /job; exit 7"
    )
    job = Job(
        ("sh", "-c", script),
        files=((str(tmp_path / "latest"), "latest"),),
        fetch=("/root/lnk", "/root/latest", "/root/none", "/etc"),
        environment=(("out", "hello"), ("err", ""), ("PATH", "/bin:/opt/x")),
    )
    outcome = run_in_guest(kernel, job, timeout_s=120)
    results = outcome.results
    assert (results.exit_code, outcome.stdout, results.sent) == (7, b"hello\nfrom here", (15, 0))
    kinds = {path: oct(item.mode) for path, item in results.files.items() if path.startswith("root")}
    assert kinds == {
        "root": "0o40755", "root/latest": "0o100751", "root/lnk": "0o40755", "root/lnk/empty": "0o40755", "root/lnk/link": "0o120777",
    }  # fmt: skip
    assert "etc/passwd" in results.files


def test_what_is_not_brought_back_in_time_hides_no_exit_code(kernel: Kernel) -> None:
    with pytest.raises(GuestError) as caught:
        run_in_guest(kernel, Job(("sh", "-c", "exit 6"), fetch=("/proc",)), timeout_s=40)
    assert (caught.value.exit_code, caught.value.why) == (6, "it had not ended after 40 s")


def test_a_guest_that_is_not_done_in_time_is_ended(kernel: Kernel) -> None:
    begun = time.monotonic()
    with pytest.raises(UnsupportedError) as caught:
        run_in_guest(kernel, Job(("true",)), timeout_s=1)
    assert caught.value.why == "it had not ended after 1 s"
    assert time.monotonic() - begun < SOON_S


def test_an_image_that_is_none_is_what_qemu_says_of_it(kernel: Kernel, tmp_path: Path) -> None:
    (tmp_path / "vmlinux").write_bytes(b"\x7fELF" + bytes(100))
    (tmp_path / "modules").mkdir()
    with pytest.raises(UnsupportedError) as caught:
        run_in_guest(Kernel("9.9.9-cloud-amd64", str(tmp_path)), Job(("true",)), timeout_s=20)
    assert caught.value.what == "9.9.9-cloud-amd64 did not boot"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_whatever_ends_the_runner_ends_the_guest_and_leaves_no_file(
    kernel: Kernel, tmp_path: Path, number: signal.Signals
) -> None:
    words = [*COMMAND, "vm", "run", "--kernel", kernel.release, "--", "sleep", "1000"]
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    with subprocess.Popen(words, env=environment, stderr=subprocess.DEVNULL) as runner:
        guest = _child_of(runner.pid)
        runner.send_signal(number)
        assert runner.wait(SOON_S) in (-number, 128 + number)
    assert _gone(guest)
    assert list(tmp_path.iterdir()) == []


def _child_of(pid: int) -> int:
    """Wait until a process has started QEMU, and return its process id."""
    deadline = time.monotonic() + SOON_S
    while time.monotonic() < deadline:
        for child in map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split()):
            if b"-initrd" in Path(f"/proc/{child}/cmdline").read_bytes():
                return child
        time.sleep(0.02)
    pytest.fail("no guest was started")


def _gone(pid: int) -> bool:
    deadline = time.monotonic() + SOON_S
    while os.path.exists(f"/proc/{pid}") and time.monotonic() < deadline:
        time.sleep(0.02)
    return not os.path.exists(f"/proc/{pid}")
