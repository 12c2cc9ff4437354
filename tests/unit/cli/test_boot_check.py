"""The guest's part of ``check --boot`` runs each command in a fork, with a time limit."""

from __future__ import annotations

import os
import signal

import pytest

from structops_cli.cli import boot_check
from structops_cli.cli.boot_check import answer_of


def test_a_command_that_hangs_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(boot_check, "run", lambda _: signal.pause())
    assert answer_of("list", limit_s=0.1)["exit_code"] == -signal.SIGKILL


def test_output_that_is_no_json_is_passed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    def breaks(_: list[str]) -> int:
        os.write(2, b"Traceback\n")
        return 1

    monkeypatch.setattr(boot_check, "run", breaks)
    assert answer_of("list") == {"exit_code": 1, "data": None, "error": None, "said": "Traceback\n"}
