"""QEMU and the tools: which one is taken, and what is fetched again."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from structops_cli.errors import UnsupportedError
from structops_cli.vm import tools
from tests.unit.vm.fake_apt import REFUSED, fails, program


def test_no_qemu_and_none_can_be_fetched(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fails(store, REFUSED)
    monkeypatch.setattr("structops_cli.vm.tools.shutil.which", lambda _: None)
    with pytest.raises(UnsupportedError, match="Connection refused"):
        tools.qemu()
    assert os.listdir(store / "tools") == [".lock"]


def test_a_qemu_that_is_named_and_does_not_answer_is_said(
    store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STRUCTOPS_QEMU", "/nonexistent")
    with pytest.raises(UnsupportedError, match="/nonexistent, which"):
        tools.qemu()
    program(store, "own-qemu", "echo QEMU emulator version 7.1")
    monkeypatch.setenv("STRUCTOPS_QEMU", "own-qemu")
    assert tools.qemu() == tools.Tool(("own-qemu",), "7.1")


def test_tools_that_are_not_whole_are_fetched_again(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (store / "tools" / "root" / "usr" / "bin").mkdir(parents=True)
    (store / "tools" / "root" / "usr" / "bin" / "busybox").touch()
    asked: list[object] = []

    def download_with_dependencies(*arguments: object) -> list[str]:
        asked.append(arguments[1])
        return []

    monkeypatch.setattr(tools, "update_lists", lambda _: None)
    monkeypatch.setattr(tools, "download_with_dependencies", download_with_dependencies)
    tools.busybox()
    assert asked == [tools.PACKAGES]
