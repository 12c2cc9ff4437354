"""``structops map``: its words become members and keys; the kernel's state is explained."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from structops_cli.cli.raw_map import MEANINGS
from structops_cli.runtime import raw_map
from structops_cli.runtime.raw_map import RawResult
from structops_cli.struct_ops.value import decode_value, state_name
from structops_cli.syscall.uapi import StructOpsState
from tests.cli_runner import done, done_json, refused, run_cli
from tests.unit.cli.results import HOSTILE, SHOWN
from tests.unit.operations.live_maps import TYPE, live


@pytest.fixture(autouse=True)
def asked(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Answer every operation without a kernel; return what was asked for."""
    found: dict[str, Any] = {}
    value = decode_value(TYPE, bytes(TYPE.value.size_bytes))
    answer = RawResult("MAP_X", 0, live(7, "ready", 0).info, TYPE, value)

    @contextmanager
    def opened(*_: object, **__: object) -> Iterator[int]:
        yield 9

    def update(_kernel: None, _fd: int, pairs: dict[str, str], **more: int) -> RawResult:
        found.update(pairs=pairs, **more)
        return answer

    def create(_kernel: None, _type: str, _name: str, path: str, *, link: bool) -> RawResult:
        found.update(path=path, link=link)
        return answer

    monkeypatch.setattr("structops_cli.cli.raw_map.live_kernel", lambda: None)
    monkeypatch.setattr(raw_map, "open_map", opened)
    monkeypatch.setattr(raw_map, "update", update)
    monkeypatch.setattr(raw_map, "create", create)
    monkeypatch.setattr(raw_map, "lookup", lambda *_, **__: answer)
    monkeypatch.setattr(raw_map, "next_key", lambda *_, **__: 0)
    return found


def test_assignments_flags_and_keys_become_values(asked: dict[str, Any]) -> None:
    done("map", "update", "t", "name=a=b", "ssthresh=id:7", "--key", "1", "--flags", "4")
    assert asked == {"pairs": {"name": "a=b", "ssthresh": "id:7"}, "key": 1, "flags": 4}


def test_an_assignment_without_an_equals_sign() -> None:
    error = refused("map", "update", "t", "name", exit_code=2)
    assert (error["what"], error["hint"]) == ("name has no '='", "write MEMBER=VALUE")


@pytest.mark.parametrize(
    ("option", "number"), [("--key", "-1"), ("--key", "4294967296"), ("--flags", "18446744073709551616")]
)
def test_numbers_that_the_call_has_no_room_for(option: str, number: str) -> None:
    result = run_cli("map", "update", "t", option, number)
    assert (result.exit_code, f"Invalid value for '{option}'" in result.stderr) == (2, True)


def test_a_name_and_a_pin_cannot_forge_a_line(asked: dict[str, Any]) -> None:
    text = done("map", "create", "tcp_congestion_ops", HOSTILE, "--pin", f"/x/{HOSTILE}", "--link").stdout
    assert text.splitlines()[1] == f"created map 7 ({SHOWN}), pinned at /x/{SHOWN}"
    assert asked == {"path": f"/x/{HOSTILE}", "link": True}


def test_a_value_is_printed_member_by_member() -> None:
    lines = done("map", "lookup", "t").stdout.splitlines()
    assert lines[0].startswith("MAP_X answered 0; map 7 is ")
    assert lines[1] == "  ssthresh = none"
    assert done_json("map", "lookup", "t")["members"]["ssthresh"] == {"program_id": 0}
    assert done("map", "next-key", "t").stdout == "MAP_GET_NEXT_KEY answered key 0\n"
    assert done_json("map", "next-key", "t")["key"] is None


def test_each_state_of_the_kernel_has_a_meaning() -> None:
    assert {state_name(state) for state in StructOpsState} <= set(MEANINGS)
