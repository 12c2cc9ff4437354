"""The guest's end of ``check --boot``, on the running kernel: objects are registered, looked at, and gone again."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from structops_cli.cli import trial_here
from structops_cli.cli.trial_here import answer_of, tried
from structops_cli.vm.boot_check import BootVerdict, answer_of_guest
from tests.live.objects import live_ops_file


@pytest.mark.parametrize("options", [(), ("--no-link",)])
def test_an_object_is_registered_and_gone_again(
    tmp_path: Path, name: str, pin_dir: str, options: tuple[str, ...]
) -> None:
    steps = tried(live_ops_file(tmp_path), (f"--set=name={name}", *options), pin_dir)
    found = answer_of_guest(steps)
    assert (found.verdict, found.findings) == (BootVerdict.REGISTERED, ())
    assert [one["name"] for one in found.registered] == [name]
    assert [one["exit_code"] for one in steps["unregister"]] == [0]
    assert not any(files for _, _, files in os.walk(pin_dir))


def test_the_verifiers_refusal_comes_with_its_whole_log(tmp_path: Path, name: str, pin_dir: str) -> None:
    path = live_ops_file(tmp_path, "REFUSED_WRITE")
    (finding,) = answer_of_guest(tried(path, (f"--set=name={name}",), pin_dir)).findings
    assert finding.fields["operation"] == "PROG_LOAD"
    assert len(finding.fields["log"].splitlines()) > 3


def test_the_kernel_is_asked_where_the_rules_would_refuse(tmp_path: Path, pin_dir: str) -> None:
    path = live_ops_file(tmp_path)
    (finding,) = answer_of_guest(tried(path, ("--set=name=not/a name",), pin_dir)).findings
    assert finding.fields["errno"] == "EINVAL", finding


def test_a_command_that_hangs_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trial_here, "run", lambda _: signal.pause())
    assert answer_of("list", limit_s=0.1)["exit_code"] == -signal.SIGKILL


def test_what_is_no_json_is_handed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    def breaks(_: list[str]) -> int:
        os.write(2, b"Traceback\n")
        return 1

    monkeypatch.setattr(trial_here, "run", breaks)
    assert answer_of("list") == {"exit_code": 1, "data": None, "error": None, "said": "Traceback\n"}
