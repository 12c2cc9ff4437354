"""One live map: its flags, its programs, and those that are gone."""

from __future__ import annotations

from errno import ENOENT, EPERM

import pytest

from structops_cli.errors import NotPermittedError
from structops_cli.runtime.live_map import MapState, kernel_rendering, programs_of
from structops_cli.syscall import command
from structops_cli.syscall.uapi import BPF_F_LINK, BpfCmd
from tests.unit.operations.live_maps import TYPE, live
from tests.unit.syscall.fake_lib import FakeLib


def test_a_link_map_has_the_flag() -> None:
    one = live(7, "registered", 1)
    assert one.is_link_map
    assert not one._replace(info=one.info._replace(map_flags=0 & BPF_F_LINK)).is_link_map
    assert one.state is MapState.REGISTERED


def test_a_program_that_is_gone_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    member = next(item for item in TYPE.members if item.proto is not None)
    raw = bytearray(TYPE.value.size_bytes)
    start = TYPE.data_offset + member.offset_bytes
    raw[start : start + 8] = (12).to_bytes(8, "little")
    one = live(7, "registered", 1)._replace(raw=bytes(raw))
    assert one.program_ids == (12,)
    lib = FakeLib([-ENOENT])
    monkeypatch.setattr(command, "lib", lib)
    assert programs_of(one) == ()
    assert lib.commands == [BpfCmd.PROG_GET_FD_BY_ID]


def test_the_kernels_rendering_needs_the_map(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "lib", FakeLib([-EPERM]))
    with pytest.raises(NotPermittedError):
        kernel_rendering(7)
