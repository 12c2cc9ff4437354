"""The bytes of a value: written for an update, read from a lookup."""

from __future__ import annotations

import struct

import pytest

from structops_cli.errors import BtfError
from structops_cli.struct_ops.catalogue import find_type
from structops_cli.struct_ops.plan import Selection, plan_object
from structops_cli.struct_ops.value import (
    decode_value,
    encode_value,
    read_name,
    read_programs,
    read_state,
    state_name,
)
from tests.synthetic_kernels import kernel
from tests.unit.struct_ops.objects import spec


@pytest.mark.parametrize("new", [True, False])
def test_an_update_holds_fds_and_data_at_the_kernels_offsets_and_zeros_elsewhere(new: bool) -> None:
    plan = plan_object(spec(), kernel(new=new), Selection(members={("", "flags"): "3"})).maps[0]
    raw = encode_value(plan, {"p_ssthresh": 7, "p_cong_avoid": 8, "p_undo_cwnd": 9})
    expected = bytearray(64 + 56)
    struct.pack_into("<QQQ16sI", expected, 64, 7, 8, 9, b"t_one", 3)
    assert raw == expected


def test_a_lookup_is_read_back_by_member() -> None:
    kernel_type = find_type(kernel(), "tcp_congestion_ops")
    raw = bytearray(kernel_type.value.size_bytes)
    struct.pack_into("<II", raw, 0, 5, 2)
    struct.pack_into("<QQQ16sI", raw, 64, 70, 0, 71, b"t_one", 1)
    value = decode_value(kernel_type, bytes(raw))
    assert (value.state, value.refcnt) == (2, 5)
    assert read_state(kernel_type, bytes(raw)) == (2, 5)
    assert {m.member.name: m.program_id or m.value for m in value.members} == {
        "ssthresh": 70, "cong_avoid": None, "undo_cwnd": 71, "name": "t_one", "flags": 1, "owner": 0,
    }  # fmt: skip
    assert read_programs(kernel_type, bytes(raw)) == {70: ["ssthresh"], 71: ["undo_cwnd"]}
    assert read_name(kernel_type, bytes(raw)) == "t_one"


def test_a_value_of_another_size_is_refused() -> None:
    with pytest.raises(BtfError, match="the value has 3 bytes"):
        read_state(find_type(kernel(), "tcp_congestion_ops"), b"abc")


def test_states_have_the_kernels_names() -> None:
    assert [state_name(n) for n in range(5)] == ["init", "inuse", "tobefree", "ready", "state 4"]
