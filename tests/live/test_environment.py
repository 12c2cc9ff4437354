"""Without memory, descriptors, /proc or /sys, a command names that and no other cause."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.cli_runner import Result, done_json, run_process

BLAMED = ("bug", "no cause is known", "CAP_", "Traceback", "CONFIG_")
COMMANDS = [("list",), ("register", "aimd", "--dry-run"), ("check", "aimd"), ("status",), ("sockets",)]


def limited(option: str, number: int, *words: str) -> Result:
    return run_process(*words, before=("bash", "-c", f'ulimit {option} {number}; exec "$@"', "bash"))


def without(folder: str, *words: str) -> Result:
    script = f'mount --make-rprivate / && mount -t tmpfs none {folder} && exec "$@"'
    return run_process(*words, before=("unshare", "--mount", "bash", "-c", script, "bash"))


def _python_starts(kilobytes: int) -> bool:
    """Tell whether Python and click alone start with so much memory, and have some left to report an error."""
    script = f"ulimit -v {kilobytes - 10_000}; exec {sys.executable} -c 'import click, json, traceback'"
    return subprocess.run(["bash", "-c", script], check=False, capture_output=True).returncode == 0


@pytest.mark.parametrize(
    ("option", "numbers", "named"),
    [("-n", range(5, 36), "ulimit -n"), ("-v", range(24_000, 120_000, 12_000), "ulimit -v")],
)
def test_a_limit_is_named(option: str, numbers: range, named: str) -> None:
    failed = 0
    for number in numbers:
        if option == "-v" and not _python_starts(number):
            continue
        result = limited(option, number, "register", "aimd", "--dry-run")
        if result.exit_code == 0:
            break
        failed += 1
        assert (result.exit_code, named in result.stderr) == (1, True), (number, result.stderr)
        assert not [word for word in BLAMED if word in result.stderr], (number, result.stderr)
    assert failed > 2


def test_memory_that_ran_out_is_an_error_in_json() -> None:
    error = limited("-v", 60_000, "check", "aimd", "--json").error()
    assert (error["kind"], error["errno"]) == ("KernelError", "ENOMEM")
    assert error["hint"] == "raise the limit: ulimit -v unlimited"


@pytest.mark.parametrize("words", COMMANDS, ids=lambda words: words[0])
@pytest.mark.parametrize(
    ("folder", "fix"), [("/proc", "mount -t proc proc"), ("/sys", "mount -t sysfs sysfs")]
)
def test_a_folder_that_is_not_mounted_is_named(words: tuple[str, ...], folder: str, fix: str) -> None:
    result = without(folder, *words)
    if result.exit_code:
        assert result.exit_code == 1
        assert f"  why: {folder} is not mounted here\n  fix: mount it: {fix} {folder}\n" in result.stderr
    assert not [word for word in BLAMED if word in result.stderr], result.stderr


def test_doctor_names_what_is_not_mounted() -> None:
    for folder in ("/proc", "/sys"):
        result = without(folder, "doctor")
        assert result.exit_code == 1
        [problem] = [line for line in result.stdout.splitlines() if line.startswith(f"problem  {folder} ")]
        assert problem.endswith("not mounted")
        assert "CAP_BPF is missing" not in result.stdout
    assert not [one for one in done_json("doctor")["findings"] if one["check"] in ("/proc", "/sys")]
