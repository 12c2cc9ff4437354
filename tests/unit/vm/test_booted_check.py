"""``structops check --boot``: how a kernel's own answers are shown, with kernels that the tests write and answers that they make up."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from structops_cli.errors import NotFoundError, UnsupportedError
from structops_cli.runtime.objects import object_bytes
from structops_cli.struct_ops.findings import Finding, Severity
from structops_cli.vm import booted_check
from structops_cli.vm.boot_check import BootAnswer, BootRequest, BootVerdict
from structops_cli.vm.kernels import Kernel
from tests.cli_runner import refused, run_cli
from tests.compile import OBJECTS
from tests.golden_files import Golden, normalised_json, normalised_text
from tests.unit.cli.test_check import kernels as kernels  # noqa: PLC0414 -- a fixture

RELEASES = {"5.10": "5.10.0-9-cloud-amd64", "6.12": "6.12.9+deb13-cloud-amd64"}
LOG = "0: (95) exit\nR0 !read_ok\n"
VERIFIER = Finding(
    Severity.ERROR,
    "the verifier refused reno_ssthresh of reno.bpf.o (member ssthresh)",
    "R0 !read_ok, at reno.bpf.c:42: return 0;",
    "-v shows the verifier's whole log (2 lines)",
    {"operation": "PROG_LOAD", "errno": "EACCES", "log": LOG},
)
RENO = object_bytes("reno")
ENTRY = {"name": "bpf_reno", "type": "tcp_congestion_ops", "state": "registered", "map_id": 1}
YES = BootAnswer(BootVerdict.REGISTERED, (), (ENTRY,))
NO = BootAnswer(BootVerdict.REFUSED, (VERIFIER,))
LOST = BootAnswer(
    BootVerdict.UNTRIED,
    (Finding(Severity.UNKNOWN, "6.12.9 did not boot", "Kernel panic", "see its console", {"console": "x"}),),
)
Boots = Callable[[dict[str, tuple[BootAnswer, ...]]], list[BootRequest]]


@pytest.fixture
def boots(monkeypatch: pytest.MonkeyPatch, kernels: Path) -> Boots:
    """Return what makes each kernel answer as told, and gives what was asked of them."""
    wishes: list[BootRequest] = []

    def answer(answers: dict[str, tuple[BootAnswer, ...]]) -> list[BootRequest]:
        def tried(kernel: Kernel, wish: BootRequest, **_: object) -> tuple[BootAnswer, ...]:
            wishes.append(wish)
            return answers[
                next(version for version, release in RELEASES.items() if release == kernel.release)
            ]

        monkeypatch.setattr(booted_check, "boot_check", tried)
        return wishes

    def all_here(calls: list[Callable[[], object]], jobs: int) -> list[object]:
        return [call() for call in calls]

    def kernel_for(version: str, **_: object) -> Kernel:
        if version not in RELEASES:
            raise NotFoundError(f"Debian has no kernel {version}", why="there are 5.10, 6.12")
        return Kernel(RELEASES[version], str(kernels / f"{version}.btf"))

    monkeypatch.setattr(booted_check, "side_by_side", all_here)
    monkeypatch.setattr(booted_check, "_prepare", lambda: None)
    monkeypatch.setattr(booted_check, "kernel_for", kernel_for)
    monkeypatch.setattr(booted_check, "kept_kernels", lambda: [Kernel(r, "") for r in RELEASES.values()])
    monkeypatch.setattr(booted_check, "vmlinux", lambda kernel: kernel.folder)
    return answer


def test_a_matrix_and_what_the_kernels_said(golden: Golden, boots: Boots) -> None:
    boots({"5.10": (YES, YES), "6.12": (NO, NO)})
    result = run_cli("check", "reno", "dummy_ops", "--boot", "5.10", "--boot", "6.12")
    golden.check("check_boot.txt", normalised_text(result.stdout, {str(OBJECTS): "SOURCES"}))
    assert (result.exit_code, result.stderr) == (1, "")


def test_json(golden: Golden, boots: Boots, kernels: Path) -> None:
    boots({"5.10": (YES,), "6.12": (NO,)})
    data = run_cli("check", "reno", "--boot", "5.10", "--boot", "6.12", "--json").json()
    for one in data["results"]:
        one.update(variables=[], programs=[])
    golden.check("check_boot.json", normalised_json(data, {str(kernels): "KERNELS"}, volatile=frozenset()))


def test_the_verifiers_log_is_shown_when_asked_for(boots: Boots) -> None:
    boots({"6.12": (NO,)})
    assert LOG in run_cli("check", "reno", "--boot", "6.12", "-v").stdout
    assert LOG not in run_cli("check", "reno", "--boot", "6.12").stdout


@pytest.mark.parametrize(
    ("trial", "words", "exit_code"),
    [(YES, (), 0), (NO, (), 1), (LOST, (), 77), (YES, ("--strict",), 0)],
)
def test_the_kernel_decides_the_exit_code(
    boots: Boots, trial: BootAnswer, words: tuple[str, ...], exit_code: int
) -> None:
    boots({"6.12": (trial,)})
    assert run_cli("check", "reno", "--boot", "6.12", *words).exit_code == exit_code


def test_a_kernel_that_takes_what_the_check_refuses_is_a_warning(boots: Boots) -> None:
    boots({"6.12": (YES,)})
    result = run_cli("check", "dummy_ops", "--boot", "6.12")
    assert result.exit_code == 0
    assert "the kernel's types alone say that it would not register" in result.stdout
    assert run_cli("check", "dummy_ops", "--boot", "6.12", "--strict").exit_code == 1


def test_junit_has_the_kernels_answers(boots: Boots, tmp_path: Path) -> None:
    boots({"5.10": (YES,), "6.12": (NO,)})
    path = tmp_path / "results.xml"
    run_cli("check", "reno", "--boot", "5.10", "--boot", "6.12", "--junit", str(path))
    passed, failed = ET.parse(path).getroot()
    assert (passed.get("name"), passed.get("failures")) == ("structops check 5.10.0-9-cloud-amd64", "0")
    assert failed.find("testcase/failure") is not None


def test_the_options_of_register_are_handed_on(boots: Boots) -> None:
    wishes = boots({"6.12": (YES,)})
    options = ("--only=reno", "--set=name=a b", "--no-link")
    assert run_cli("check", "reno", "--boot", "6.12", *options).exit_code == 0
    (wish,) = wishes
    assert (wish.options, wish.runner[-1]) == (options, "structops_cli.cli.boot_check")
    assert wish.objects == (("reno.bpf.o", RENO),)


def test_an_object_that_cannot_be_read_is_not_tried(boots: Boots, tmp_path: Path) -> None:
    bad = tmp_path / "bad.bpf.o"
    bad.write_bytes(b"\x7fELF")
    wishes = boots({"6.12": (YES,)})
    data = run_cli("check", str(bad), "reno", "--boot", "6.12", "--json").json()
    assert [("booted" in one, one["verdict"]) for one in data["results"]] == [
        (False, "cannot tell"),
        (True, "would register"),
    ]
    assert run_cli("check", str(bad), "--boot", "6.12").exit_code == 1
    assert len(wishes) == 1, "nothing is booted for what nobody can read"


def test_a_kernel_of_a_file_may_stand_beside_one_that_is_booted(boots: Boots, kernels: Path) -> None:
    boots({"6.12": (YES,)})
    words = (
        "check",
        "reno",
        "--btf",
        str(kernels / "5.10.btf"),
        "--boot",
        "6.12",
        "--boot",
        "6.12",
    )
    data = run_cli(*words, "--json").json()
    assert [(one["kernel"], "booted" in one) for one in data["results"]] == [
        ("5.10.btf", False),
        (RELEASES["6.12"], True),
    ]


def test_a_kernel_that_nobody_has_leaves_the_others_their_answers(boots: Boots) -> None:
    wishes = boots({"6.12": (YES,)})
    result = run_cli("check", "reno", "--boot", "6.12", "--boot", "5.99", "--json")
    assert [(one["kernel"], "booted" in one, one["verdict"]) for one in result.json()["results"]] == [
        (RELEASES["6.12"], True, "would register"),
        ("5.99", False, "cannot tell"),
    ]
    assert (result.exit_code, len(wishes)) == (77, 1)


def test_without_qemu_the_other_kernels_have_their_answers(
    boots: Boots, kernels: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_qemu() -> None:
        raise UnsupportedError("there is no QEMU")

    boots({})
    monkeypatch.setattr(booted_check, "_prepare", no_qemu)
    words = ("check", "reno", "--btf", str(kernels / "5.10.btf"), "--boot", "6.12", "--json")
    result = run_cli(*words)
    assert [one["verdict"] for one in result.json()["results"]] == ["would register", "cannot tell"]
    assert (result.exit_code, result.json()["results"][1]["booted"]["fate"]) == (77, "could not be tried")
    error = refused("check", "reno", "--boot", "6.12", exit_code=77)
    assert error["what"] == "there is no QEMU"


def test_a_kernel_that_nobody_has_alone_is_an_error(boots: Boots) -> None:
    wishes = boots({})
    error = refused("check", "reno", "--boot", "5.99", exit_code=3)
    assert (error["what"], wishes) == ("Debian has no kernel 5.99", [])


def test_the_verifier_of_this_kernel_is_not_asked_of_another(boots: Boots) -> None:
    refused("check", "reno", "--boot", "6.12", "--verify", exit_code=2)
