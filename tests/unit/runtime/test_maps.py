"""Sizes that depend on the machine, and maps that a kernel takes only without their types."""

from __future__ import annotations

import os
from errno import EINVAL, ENOMEM, EPERM
from struct import unpack_from

import pytest

from structops_cli.errors import KernelError, NotPermittedError
from structops_cli.obj.spec import MapSpec
from structops_cli.runtime import maps
from structops_cli.runtime.maps import adjusted, creates_map, possible_cpus
from structops_cli.syscall import command
from structops_cli.syscall.fd import Fd
from structops_cli.syscall.uapi import BpfMapType
from tests.unit.syscall.fake_lib import FakeLib, real_fd

PAGE = os.sysconf("SC_PAGE_SIZE")
BTF_FD, KEY_TYPE, VALUE_TYPE = 48, 52, 56
"""Offsets in the attribute of MAP_CREATE."""


def map_spec(map_type: int = BpfMapType.HASH, max_entries: int = 1) -> MapSpec:
    return MapSpec("t_map", map_type, 4, 8, max_entries, 0, 0, None, 1, 2, False)


@pytest.mark.parametrize(
    ("wanted", "given"), [(1, PAGE), (PAGE, PAGE), (PAGE + 1, 2 * PAGE), (5 * PAGE, 8 * PAGE)]
)
def test_a_ring_buffer_has_whole_pages_in_a_power_of_two(wanted: int, given: int) -> None:
    assert adjusted(map_spec(BpfMapType.RINGBUF, wanted)).max_entries == given


def test_an_event_array_has_an_element_for_each_cpu() -> None:
    assert adjusted(map_spec(BpfMapType.PERF_EVENT_ARRAY, 0)).max_entries == possible_cpus() >= 1
    assert adjusted(map_spec(BpfMapType.PERF_EVENT_ARRAY, 3)).max_entries == 3


def field(attr: bytes, offset: int) -> int:
    return int.from_bytes(attr[offset : offset + 4], "little")


def test_a_map_whose_types_are_refused_is_created_without(monkeypatch: pytest.MonkeyPatch) -> None:
    lib = FakeLib([-EINVAL, lambda _: real_fd()])
    monkeypatch.setattr(command, "lib", lib)
    with Fd(real_fd()) as btf:
        maps._create_map(map_spec(), btf).close()
        (_, typed), (_, untyped) = lib.calls
        assert [unpack_from("<I", typed, at)[0] for at in (BTF_FD, KEY_TYPE, VALUE_TYPE)] == [
            btf.fileno(),
            1,
            2,
        ]
        assert [field(untyped, at) for at in (BTF_FD, KEY_TYPE, VALUE_TYPE)] == [0, 0, 0]


def test_the_refusal_with_types_is_the_one_that_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "lib", FakeLib([-EINVAL, -EPERM]))
    with Fd(real_fd()) as btf, pytest.raises(KernelError) as caught:
        maps._create_map(map_spec(), btf)
    assert (caught.value.errno, caught.value.fields["map"]) == (EINVAL, "t_map")


def test_types_that_no_kernel_takes_are_not_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    lib = FakeLib([lambda _: real_fd()])
    monkeypatch.setattr(command, "lib", lib)
    with Fd(real_fd()) as btf:
        maps._create_map(map_spec(BpfMapType.QUEUE), btf).close()
    assert field(lib.calls[0][1], BTF_FD) == 0


@pytest.mark.parametrize(("answer", "expected"), [(-ENOMEM, False), (0, True)])
def test_asking_for_a_map_leaves_none(monkeypatch: pytest.MonkeyPatch, answer: int, expected: bool) -> None:
    monkeypatch.setattr(command, "lib", FakeLib([answer or (lambda _: real_fd())]))
    assert creates_map(map_spec()) is expected


def test_a_missing_privilege_is_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "lib", FakeLib([-EPERM]))
    with pytest.raises(NotPermittedError):
        creates_map(map_spec())
