"""Read maps of several types that programs wrote, decoded by the object's BTF."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from structops_cli.net.traffic import send_traffic
from structops_cli.runtime.map_values import MOST_ENTRIES, MapContents, read_contents
from structops_cli.runtime.objects import open_object
from structops_cli.syscall import bpf
from structops_cli.syscall.info import prog_info
from tests.cli_runner import done_json
from tests.compile import OBJECTS, compile_object


@pytest.fixture
def contents(tmp_path: Path, name: str, pin_dir: str) -> dict[str, MapContents]:
    """Return the contents of the maps of ``live_maps`` after some traffic."""
    path = tmp_path / "live_maps.bpf.o"
    path.write_bytes(compile_object(OBJECTS / "live_maps.bpf.c"))
    [one] = done_json("register", str(path), "--set", f"name={name}", "--pin-dir", pin_dir)["registered"]
    with bpf.enable_stats(0):
        send_traffic(name, 300_000)
        programs = [_info(item["id"]) for item in one["programs"]]
    runs = {info.name: info.run_count for info in programs}
    found = {item.name: item for item in read_contents(open_object(str(path)), programs)}
    assert runs["maps_init"] == 1
    found["runs"] = MapContents("runs", 0, tuple(runs.items()))
    return found


def _info(program_id: int) -> Any:
    with bpf.prog_get_fd_by_id(program_id) as fd:
        return prog_info(fd)


def test_a_value_for_every_possible_cpu(contents: dict[str, MapContents]) -> None:
    (first, values), (second, unused) = contents["per_cpu"].entries
    assert (first, second) == (0, 1)
    assert isinstance(values, list)
    cpus = os.sysconf("SC_NPROCESSORS_CONF")
    assert len(values) >= cpus
    assert unused == [0] * len(values)
    assert (
        sum(value for value in values if isinstance(value, int))
        == dict(contents["runs"].entries)["maps_cong_avoid"]
    )


def test_a_table_is_read_up_to_a_limit(contents: dict[str, MapContents]) -> None:
    entries = contents["table"].entries
    assert len(entries) == MOST_ENTRIES < 20
    for key, value in entries:
        assert isinstance(key, int)
        assert value == {"square": key * key, "pair": [key, key + 1]}
    assert len({key for key, _ in entries}) == MOST_ENTRIES


def test_a_map_without_keys_is_left_out(contents: dict[str, MapContents]) -> None:
    assert contents.keys() == {"per_cpu", "table", "runs"}
