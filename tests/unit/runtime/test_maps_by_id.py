"""Maps of other types are opened once, and program arrays not right after a close."""

from __future__ import annotations

import time

import pytest

from structops_cli.runtime import maps_by_id
from structops_cli.runtime.maps_by_id import map_ids_to_open, note_created_map, open_map_by_id
from structops_cli.syscall import bpf
from structops_cli.syscall.fd import Fd
from structops_cli.syscall.info import MapInfo
from structops_cli.syscall.uapi import BpfMapType
from tests.unit.syscall.fake_lib import real_fd

TYPES = {5: BpfMapType.STRUCT_OPS, 6: BpfMapType.HASH, 7: BpfMapType.PROG_ARRAY}


@pytest.fixture
def asleep(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Put three maps into a kernel; return the times that somebody slept."""
    slept: list[float] = []
    opened: list[int] = []

    def by_id(map_id: int) -> Fd:
        opened.append(map_id)
        return Fd(real_fd())

    def infos(_: Fd) -> MapInfo:
        return MapInfo(opened[-1], TYPES[opened[-1]], "t", 4, 4, 1, 0, 0, 0, 0, 0, 0, 0)

    monkeypatch.setattr(maps_by_id, "_others", set())
    monkeypatch.setattr(maps_by_id, "_closed", {})
    monkeypatch.setattr(maps_by_id, "map_info", infos)
    monkeypatch.setattr(bpf, "map_ids", lambda: iter(TYPES))
    monkeypatch.setattr(bpf, "map_get_fd_by_id", by_id)
    monkeypatch.setattr(time, "sleep", slept.append)
    return slept


def test_only_struct_ops_maps_are_opened_again(asleep: list[float]) -> None:
    for map_id in map_ids_to_open():
        with open_map_by_id(map_id) as (_, info):
            assert info.map_type == TYPES[map_id]
    assert list(map_ids_to_open()) == [5]
    assert not asleep


def test_a_program_array_is_opened_again_after_the_kernels_work(asleep: list[float]) -> None:
    for _ in range(2):
        with open_map_by_id(7):
            pass
    [waited] = asleep
    assert 0 < waited <= maps_by_id.SETTLE_S


def test_a_map_that_this_process_created_is_left_out(asleep: list[float]) -> None:
    with bpf.map_get_fd_by_id(6) as fd:
        note_created_map(fd)
    assert list(map_ids_to_open()) == [5, 7]


def test_ids_that_are_gone_are_forgotten(asleep: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
    with open_map_by_id(6):
        pass
    monkeypatch.setattr(bpf, "map_ids", lambda: iter((5,)))
    assert list(map_ids_to_open()) == [5]
    assert maps_by_id._others == set()
