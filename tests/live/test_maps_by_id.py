"""A process looks once at each map that is no struct_ops map, and never at its own."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from structops_cli.runtime import maps_by_id
from structops_cli.runtime.inventory import list_maps
from structops_cli.runtime.kernel import live_kernel
from structops_cli.syscall import bpf, bpf_maps
from structops_cli.syscall.fd import Fd
from structops_cli.syscall.info import map_info
from structops_cli.syscall.uapi import BpfMapType
from tests.cli_runner import refused
from tests.compile import FLAGS, OBJECTS, compile_object
from tests.live.live_state import eventually


@pytest.fixture
def by_id(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """Record id and type of each map that this process opens by id."""
    seen: list[tuple[int, int]] = []
    open_it = bpf.map_get_fd_by_id

    def open_and_note(map_id: int) -> Fd:
        fd = open_it(map_id)
        seen.append((map_id, map_info(fd).map_type))
        return fd

    monkeypatch.setattr(bpf, "map_get_fd_by_id", open_and_note)
    return seen


@contextmanager
def one_map(map_type: BpfMapType) -> Iterator[int]:
    """Hold a new map and yield its id."""
    with bpf_maps.map_create(map_type, key_size=4, value_size=4, max_entries=1, name="t_other") as fd:
        yield map_info(fd).id


def test_a_map_of_another_sort_is_opened_once(by_id: list[tuple[int, int]]) -> None:
    with one_map(BpfMapType.ARRAY) as number:
        for _ in range(3):
            list_maps(live_kernel())
        assert by_id.count((number, BpfMapType.ARRAY)) == 1
        assert number in maps_by_id._others
    list_maps(live_kernel())
    assert number not in maps_by_id._others


def test_a_program_array_is_opened_again_when_the_kernel_is_through_with_it(
    by_id: list[tuple[int, int]],
) -> None:
    with one_map(BpfMapType.PROG_ARRAY) as number:
        list_maps(live_kernel())
        started = time.monotonic()
        with maps_by_id.open_map_by_id(number) as (_, info):
            assert info.map_type == BpfMapType.PROG_ARRAY
        assert time.monotonic() - started >= maps_by_id.SETTLE_S / 2
        assert by_id.count((number, BpfMapType.PROG_ARRAY)) == 2


def test_a_program_array_that_was_just_made_is_left_alone(
    tmp_path: Path, name: str, by_id: list[tuple[int, int]]
) -> None:
    path = tmp_path / "map_in_map.bpf.o"
    path.write_bytes(compile_object(OBJECTS / "map_in_map.bpf.c", flags=FLAGS))
    before = frozenset(bpf.map_ids())
    words = ("--only", "inner_ops", "--set", f"name={name}", "--map", "array_of_maps.inner.max_entries=3")
    error = refused("register", str(path), *words)
    assert error["map"] == "array_of_maps"
    list_maps(live_kernel())
    assert not [number for number, sort in by_id if sort == BpfMapType.PROG_ARRAY and number not in before]


def test_nothing_is_left_of_program_arrays_that_close_as_maps_are_looked_at() -> None:
    """On one processor the kernel's work waits for this process: one in twenty was left."""
    list_maps(live_kernel())
    before = frozenset(bpf.map_ids())
    for _ in range(200):
        with bpf_maps.map_create(
            BpfMapType.PROG_ARRAY, key_size=4, value_size=4, max_entries=1, name="t_other"
        ) as fd:
            maps_by_id.note_created_map(fd)
        list_maps(live_kernel())
    assert eventually(lambda: frozenset(bpf.map_ids()) <= before)
