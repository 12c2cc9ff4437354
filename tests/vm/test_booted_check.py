"""``check --boot`` on booted kernels; with stored kernels no test fetches a package.

Without QEMU and Debian's kernels the tests are skipped, but in CI they fail.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from structops_cli.errors import UnsupportedError
from structops_cli.vm.archives import userland_archive
from structops_cli.vm.boot_check import BootRequest, BootVerdict, boot_check
from structops_cli.vm.kernels import Kernel, kernel_for
from tests.cli_runner import Result, run_process
from tests.compile import OBJECTS, compile_object
from tests.live.objects import live_ops_file
from tests.missing import IN_CI

OLD, NEW = "5.10", "6.12"
NOBODY = "http://127.0.0.1:9"
"""An address that refuses connections."""
PANICS = ("bash", "-c", """echo '{"begin":0}'; sleep 1; echo c >/proc/sysrq-trigger""")


@pytest.fixture(scope="module")
def kernels() -> dict[str, Kernel]:
    """Return the kernels; fetch them if necessary."""
    try:
        found = {version: kernel_for(version) for version in (OLD, NEW)}
        userland_archive()
    except UnsupportedError as error:
        if IN_CI:
            raise
        pytest.skip(f"waits for Debian's kernels {OLD} and {NEW} and for QEMU: {error}")
    return found


def check(*words: str) -> Result:
    return run_process("check", *words, environment={"STRUCTOPS_DEBIAN_MIRROR": NOBODY})


@pytest.fixture(autouse=True)
def enough_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give the command enough time to boot."""
    monkeypatch.setattr("tests.cli_runner.TIMEOUT_S", 300.0)


def test_each_kernel_has_its_own_answer_without_a_network(kernels: dict[str, Kernel], tmp_path: Path) -> None:
    macros = (
        "-DCONTROL=struct sock *sk, const struct rate_sample *rs",
        "-DBODY=seen = ((const struct rate_sample *)arguments[1])->losses;",
    )
    control = tmp_path / "old_control.bpf.o"
    control.write_bytes(
        compile_object(OBJECTS / "check_arguments.bpf.c", flags=("-O2", "-g", "-mcpu=v3", *macros))
    )
    writes = live_ops_file(tmp_path, "REFUSED_WRITE", name="writes.bpf.o")
    (tmp_path / "latest.bpf.o").symlink_to(control)
    result = check("reno", str(tmp_path / "latest.bpf.o"), writes, "--boot", OLD, "--boot", NEW, "--json")
    assert result.exit_code == 1, result.stderr
    assert result.stderr == ""
    results = result.json()["results"]
    found = {(one["object"], one["kernel"]): one for one in results}
    yes, no = BootVerdict.REGISTERED.value, BootVerdict.REFUSED.value
    assert {key: (one["booted"]["fate"], one["booted"]["agrees"]) for key, one in found.items()} == {
        ("reno.bpf.o", kernels[OLD].release): (yes, True),
        ("latest.bpf.o", kernels[OLD].release): (yes, True),
        ("writes.bpf.o", kernels[OLD].release): (no, False),
        ("reno.bpf.o", kernels[NEW].release): (yes, True),
        ("latest.bpf.o", kernels[NEW].release): (no, True),
        ("writes.bpf.o", kernels[NEW].release): (no, False),
    }
    (old, new) = (found["reno.bpf.o", kernels[version].release] for version in (OLD, NEW))
    assert [linked(one) for one in (old, new)] == [False, True]
    finding: dict[str, Any] = found["writes.bpf.o", kernels[NEW].release]["findings"][0]
    assert (finding["operation"], finding["errno"]) == ("PROG_LOAD", "EACCES")
    assert "tcp_sock" in finding["log"]


def linked(result: dict[str, Any]) -> bool:
    (one,) = result["booted"]["registered"]
    assert (one["state"], one["name"]) == ("registered", "bpf_reno")
    return one["link_id"] is not None


def test_a_kernel_that_dies_of_an_object_is_booted_again_for_the_next(kernels: dict[str, Kernel]) -> None:
    reno = os.path.join(os.path.dirname(OBJECTS.parent), "structops_cli/objects/reno.bpf.o")
    objects = [(os.path.basename(reno), Path(reno).read_bytes())] * 2
    found = boot_check(kernels[NEW], BootRequest(tuple(objects), (), PANICS))
    assert [one.verdict for one in found] == [BootVerdict.REFUSED] * 2
    for one in found:
        assert "Kernel panic" in one.findings[0].why
        assert "sysrq triggered crash" in one.findings[0].fields["console"]


def test_options_reach_the_kernel(kernels: dict[str, Kernel]) -> None:
    release = kernels[NEW].release
    words = ("reno", "--boot", release, "--set=name=t_other", "--no-link", "-v")
    result = check(*words)
    assert result.exit_code == 0, result.stdout
    assert "as t_other, without a link" in result.stdout
    assert result.stderr.splitlines()[:2] == [f"{release}: booting", f"{release}: reno.bpf.o"]
