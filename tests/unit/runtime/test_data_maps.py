"""Names of data section maps, and reading their values in parts."""

from __future__ import annotations

from mmap import mmap

import pytest

from structops_cli.runtime.data_maps import LARGE_BYTES, DataMapValue, data_map_name
from structops_cli.syscall import bpf_maps
from structops_cli.syscall.fd import Fd
from structops_cli.syscall.info import MapInfo
from structops_cli.syscall.uapi import BPF_F_RDONLY_PROG, BpfMapType
from tests.unit.syscall.fake_lib import real_fd


@pytest.mark.parametrize(
    ("object_name", "section", "name"),
    [
        ("reno.bpf.o", ".bss", "reno.bss"),
        ("congestion.bpf.o", ".rodata", "congesti.rodata"),
        ("dir/reno.bpf.o", ".data", "reno.data"),
        ("reno.bpf.o", ".data.mine", ".data.mine"),
        ("congestion.bpf.o", ".rodatalong", "cong.rodatalong"),
    ],
)
def test_names(object_name: str, section: str, name: str) -> None:
    assert data_map_name(object_name, section) == name


def info(value_size: int) -> MapInfo:
    return MapInfo(1, BpfMapType.ARRAY, "t.rodata", 4, value_size, 1, BPF_F_RDONLY_PROG, 0, 0, 0, 0, 0, 0)


def test_a_small_value_is_looked_up_once(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []

    def lookup(_fd: Fd, _key: bytes, size: int) -> bytes:
        asked.append(size)
        return bytes(range(size))

    monkeypatch.setattr(bpf_maps, "map_lookup_elem", lookup)
    with Fd(real_fd()) as fd:
        value = DataMapValue(fd, info(16))
        assert (len(value), value[2:4], value[14:]) == (16, b"\2\3", b"\x0e\x0f")
    assert asked == [16]


def test_a_large_value_that_cannot_be_mapped_is_read_into_one_buffer(monkeypatch: pytest.MonkeyPatch) -> None:
    def lookup(_fd: Fd, _key: bytes, memory: mmap) -> None:
        memory[: len(memory)] = b"x" * len(memory)

    monkeypatch.setattr(bpf_maps, "map_lookup_into", lookup)
    with Fd(real_fd()) as fd:
        value = DataMapValue(fd, info(LARGE_BYTES + 1))
        assert value[LARGE_BYTES - 1 :] == b"xx"
