"""A live map as plain data, and values as C."""

from __future__ import annotations

import pytest

from structops_cli.cli import live
from structops_cli.cli.live import c_text, holders, map_data, member_data, one_or_several
from structops_cli.runtime.live_map import LiveProgram
from structops_cli.struct_ops.member_text import MemberValue
from tests.unit.cli.results import program
from tests.unit.operations.live_maps import TYPE
from tests.unit.operations.live_maps import live as live_map


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (True, "true"),
        (7, "7"),
        ("t", '"t"'),
        ({"a": False, "b": [1, {"c": "x"}]}, '{.a = false, .b = {1, {.c = "x"}}}'),
        ([], "{}"),
    ],
)
def test_values_are_c_initialisers(value: MemberValue, text: str) -> None:
    assert c_text(value) == text


@pytest.mark.parametrize(
    ("state", "cell"),
    [("registered", "4"), ("retired", "4"), ("ready", "-"), ("ejected", "-"), ("unset", "-")],
)
def test_holders_are_counted_in_the_states_that_have_some(state: str, cell: str) -> None:
    assert holders(live_map(7, state, 4)) == cell


def test_one_selector_gets_the_map_and_several_get_a_list() -> None:
    assert one_or_several(["t"], [{"a": 1}]) == {"a": 1}
    assert one_or_several(["t", "id:7"], [{"a": 1}]) == {"maps": [{"a": 1}]}


def test_a_map_of_a_module_and_of_the_kernel() -> None:
    of_kernel = live_map(7, "registered", 4)
    of_module = of_kernel._replace(type=of_kernel.type._replace(module="tcp_x"))
    assert [map_data(item)["module"] for item in (of_kernel, of_module)] == ["vmlinux", "tcp_x"]
    assert (map_data(of_kernel)["link_map"], map_data(of_kernel)["programs"]) == (True, [])


def test_a_member_has_the_name_of_its_program(monkeypatch: pytest.MonkeyPatch) -> None:
    """A program that is gone has an id and no name."""
    raw = bytearray(TYPE.value.size_bytes)
    for at, number in enumerate((11, 12)):
        start = TYPE.data_offset + TYPE.members[at].offset_bytes
        raw[start : start + 8] = number.to_bytes(8, "little")
    found = (LiveProgram(("ssthresh",), program(11)),)
    monkeypatch.setattr(live, "programs_of", lambda _: found)
    members = member_data(live_map(7, "registered", 4)._replace(raw=bytes(raw)))
    assert [item.get("program") for item in members[:3]] == [
        {"id": 11, "name": "t_ssthresh"},
        {"id": 12, "name": ""},
        None,
    ]
