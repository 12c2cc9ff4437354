"""Entries of maps, to the last key or to a limit, and a value for each CPU."""

from __future__ import annotations

from collections.abc import Iterator
from errno import ENOENT, EPERM

import pytest

from structops_cli.errors import KernelError
from structops_cli.obj.spec import MapSpec
from structops_cli.runtime import map_values
from structops_cli.syscall import bpf_maps
from structops_cli.syscall.fd import Fd
from structops_cli.syscall.info import MapInfo
from structops_cli.syscall.uapi import BpfMapType
from tests.unit.struct_ops.objects import spec
from tests.unit.syscall.fake_lib import real_fd

KNOWN = MapSpec("t_map", BpfMapType.HASH, 1, 4, 64, 0, 0, None, 1, 2, False)


def info(map_type: int = BpfMapType.HASH) -> MapInfo:
    return MapInfo(1, map_type, "t_map", 1, 4, 64, 0, 0, 0, 0, 0, 1, 2)


@pytest.fixture
def fd(monkeypatch: pytest.MonkeyPatch) -> Iterator[Fd]:
    monkeypatch.setattr(map_values, "decode_bytes", lambda _btf, _type, raw: raw.hex())
    with Fd(real_fd()) as opened:
        yield opened


def with_keys(monkeypatch: pytest.MonkeyPatch, last: int, errno: int = ENOENT) -> None:
    def following(_fd: Fd, key: bytes | None, _size: int) -> bytes:
        number = 0 if key is None else key[0] + 1
        if number > last:
            raise KernelError("no key", errno=errno, operation="MAP_GET_NEXT_KEY")
        return bytes([number])

    monkeypatch.setattr(bpf_maps, "map_get_next_key", following)
    monkeypatch.setattr(bpf_maps, "map_lookup_elem", lambda _fd, key, size: key * size)


def test_entries_end_with_the_last_key(monkeypatch: pytest.MonkeyPatch, fd: Fd) -> None:
    with_keys(monkeypatch, 1)
    found = list(map_values._entries(spec(), fd, info(), KNOWN))
    assert found == [("00", "00000000"), ("01", "01010101")]


def test_a_large_map_is_read_to_a_limit(monkeypatch: pytest.MonkeyPatch, fd: Fd) -> None:
    with_keys(monkeypatch, 200)
    assert len(list(map_values._entries(spec(), fd, info(), KNOWN))) == map_values.MOST_ENTRIES


def test_a_refusal_is_no_end(monkeypatch: pytest.MonkeyPatch, fd: Fd) -> None:
    with_keys(monkeypatch, 0, EPERM)
    with pytest.raises(KernelError):
        list(map_values._entries(spec(), fd, info(), KNOWN))


def test_a_per_cpu_map_has_a_value_in_eight_bytes_for_each_cpu(
    monkeypatch: pytest.MonkeyPatch, fd: Fd
) -> None:
    monkeypatch.setattr(map_values, "possible_cpus", lambda: 2)
    monkeypatch.setattr(bpf_maps, "map_lookup_elem", lambda *_: b"\1\0\0\0pad.\2\0\0\0pad.")
    found = map_values._value(spec(), fd, info(BpfMapType.PERCPU_HASH), KNOWN, b"\0")
    assert found == ["01000000", "02000000"]
