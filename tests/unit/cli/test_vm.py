"""``structops vm kernels``: the kernels that Debian has and those that are kept, each once."""

from __future__ import annotations

import pytest

from structops_cli.cli import vm
from structops_cli.errors import StructopsError
from structops_cli.vm.apt import KERNELS
from structops_cli.vm.kernels import Kernel, Offer
from tests.cli_runner import done, done_json, run_cli

OFFERED = ("6.12.9+deb13-amd64", "6.12.9+deb13-cloud-amd64", "6.12.8+deb13-amd64", "7.3.1-amd64")


@pytest.fixture(autouse=True)
def kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    kept = [Kernel("6.12.8+deb13-amd64", "/nowhere"), Kernel("6.1.5-amd64", "/nowhere")]
    monkeypatch.setattr(vm, "kept_kernels", lambda: kept)
    monkeypatch.setattr(vm, "offered_kernels", lambda: [Offer(release, KERNELS) for release in OFFERED])


def rows(*words: str) -> list[list[str]]:
    return [line.split() for line in done("vm", "kernels", *words).stdout.splitlines()[1:]]


def test_the_newest_of_each_version_and_flavour_and_all_that_is_kept() -> None:
    other = "6.12.7+deb13-amd64"
    assert rows() == [
        ["6.12", OFFERED[0], "-", "yes"],
        ["6.12", OFFERED[1], "-", "yes"],
        ["6.12", OFFERED[2], "yes", "yes"],
        ["7.3", OFFERED[3], "-", "yes"],
        ["6.1", "6.1.5-amd64", "yes", "-"],
    ]
    assert vm._newest_of_each([*OFFERED, other], set()) == [OFFERED[0], OFFERED[1], OFFERED[3]]


def test_json_has_truth_values() -> None:
    [*_, last] = done_json("vm", "kernels", "--all")["kernels"]
    assert last == {"version": "6.1", "release": "6.1.5-amd64", "kept": True, "offered": False}


def test_without_a_network_the_kept_ones_are_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise StructopsError("mirror.example cannot be reached")

    monkeypatch.setattr(vm, "offered_kernels", fail)
    result = done("vm", "kernels")
    assert [line.split()[1:] for line in result.stdout.splitlines()[1:]] == [
        ["6.1.5-amd64", "yes", "-"],
        ["6.12.8+deb13-amd64", "yes", "-"],
    ]
    assert result.stderr == "note: only what is kept: mirror.example cannot be reached\n"
    monkeypatch.setattr(vm, "kept_kernels", list)
    assert run_cli("vm", "kernels").exit_code == 1


def test_a_run_needs_a_kernel_and_a_command() -> None:
    for words, missing in (
        (("true",), "Missing option '-k' / '--kernel'"),
        (("-k", "6.12"), "Missing argument 'COMMAND...'"),
    ):
        result = run_cli("vm", "run", *words)
        assert (result.exit_code, missing in result.stderr) == (2, True)
