"""Unregistering by delete or detach, and maps that nothing registers."""

from __future__ import annotations

from errno import EINPROGRESS, ENOENT, ENOLINK, EPERM

import pytest

from structops_cli.errors import KernelError, StateError
from structops_cli.runtime import unregistration
from structops_cli.runtime.unregistration import UnregisterMethod, unregister
from structops_cli.syscall import command
from structops_cli.syscall.info import LinkInfo
from structops_cli.syscall.uapi import BpfCmd, BpfLinkType
from tests.unit.operations.live_maps import live
from tests.unit.syscall.fake_lib import Answer, FakeLib, real_fd


def opened(_: object) -> int:
    return real_fd()


def run(monkeypatch: pytest.MonkeyPatch, *answers: Answer) -> FakeLib:
    lib = FakeLib(answers)
    monkeypatch.setattr(command, "lib", lib)
    return lib


@pytest.mark.parametrize("state", ["retired", "ready", "unset"])
def test_a_map_that_nothing_registers_is_left_alone(monkeypatch: pytest.MonkeyPatch, state: str) -> None:
    run(monkeypatch)
    done = unregister(live(7, state, 1), settle=False)
    assert (done.how, done.changed) == (UnregisterMethod.NOTHING, False)


@pytest.mark.parametrize("answer", [0, -EINPROGRESS, -ENOENT])
def test_a_map_without_a_link_is_deleted(monkeypatch: pytest.MonkeyPatch, answer: int) -> None:
    lib = run(monkeypatch, opened, answer)
    done = unregister(live(7, "registered", 1), settle=False)
    assert (done.how, done.changed) == (UnregisterMethod.DELETE, True)
    assert lib.commands == [BpfCmd.MAP_GET_FD_BY_ID, BpfCmd.MAP_DELETE_ELEM]


def test_a_refused_delete_names_the_map(monkeypatch: pytest.MonkeyPatch) -> None:
    run(monkeypatch, opened, -EPERM)
    with pytest.raises(KernelError, match="could not be unregistered"):
        unregister(live(7, "registered", 1), settle=False)


@pytest.mark.parametrize("answer", [0, -ENOLINK])
def test_a_link_is_detached(monkeypatch: pytest.MonkeyPatch, answer: int) -> None:
    lib = run(monkeypatch, opened, answer)
    monkeypatch.setattr(unregistration, "link_info", lambda _: LinkInfo(3, BpfLinkType.STRUCT_OPS, 7))
    done = unregister(live(7, "registered", 1, link=3), settle=False)
    assert (done.how, done.link_ids) == (UnregisterMethod.DETACH, (3,))
    assert lib.commands == [BpfCmd.LINK_GET_FD_BY_ID, BpfCmd.LINK_DETACH]


def test_a_link_that_got_another_map_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    lib = run(monkeypatch, opened)
    monkeypatch.setattr(unregistration, "link_info", lambda _: LinkInfo(3, BpfLinkType.STRUCT_OPS, 8))
    with pytest.raises(StateError, match="replaced meanwhile"):
        unregister(live(7, "registered", 1, link=3), settle=False)
    assert lib.commands == [BpfCmd.LINK_GET_FD_BY_ID]
