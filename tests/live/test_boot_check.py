"""Test the guest part of ``check --boot``: it registers, inspects and unregisters objects."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from structops_cli.cli.boot_check import register_and_remove
from structops_cli.vm.boot_check import BootVerdict, answer_of_guest
from tests.live.objects import live_ops_file


@pytest.mark.parametrize("options", [(), ("--no-link",)])
def test_an_object_is_registered_and_gone_again(
    tmp_path: Path, name: str, pin_dir: str, options: tuple[str, ...]
) -> None:
    steps = register_and_remove(live_ops_file(tmp_path), (f"--set=name={name}", *options), pin_dir)
    found = answer_of_guest(steps)
    assert (found.verdict, found.findings) == (BootVerdict.REGISTERED, ())
    assert [one["name"] for one in found.registered] == [name]
    assert [one["exit_code"] for one in steps["unregister"]] == [0]
    assert not any(files for _, _, files in os.walk(pin_dir))


def test_the_verifiers_refusal_comes_with_its_whole_log(tmp_path: Path, name: str, pin_dir: str) -> None:
    path = live_ops_file(tmp_path, "REFUSED_WRITE")
    (finding,) = answer_of_guest(register_and_remove(path, (f"--set=name={name}",), pin_dir)).findings
    assert finding.fields["operation"] == "PROG_LOAD"
    assert len(finding.fields["log"].splitlines()) > 3


def test_the_kernel_is_asked_where_the_rules_would_refuse(tmp_path: Path, pin_dir: str) -> None:
    path = live_ops_file(tmp_path)
    (finding,) = answer_of_guest(register_and_remove(path, ("--set=name=not/a name",), pin_dir)).findings
    assert finding.fields["errno"] == "EINVAL", finding
