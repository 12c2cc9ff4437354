"""The catalogue of struct_ops types, on written kernels of both shapes."""

from __future__ import annotations

import pytest

from structops_cli.errors import BtfError, UnsupportedError
from structops_cli.struct_ops.catalogue import find_type, has_links, offered_types, type_of_value
from structops_cli.syscall.uapi import BtfKind
from tests.kernel_shapes import BtfBuilder, kernel


@pytest.mark.parametrize("new", [True, False])
def test_state_refcnt_and_data_are_found_by_name_and_type(new: bool) -> None:
    found = offered_types(kernel(new=new))
    assert [item.name for item in found] == ["tcp_congestion_ops"]
    assert (found[0].data_offset, found[0].state_offset, found[0].refcnt_offset) == (64, 4, 0)


def test_the_kernels_own_structs_are_no_types() -> None:
    names = {item.name for item in offered_types(kernel())}
    assert names.isdisjoint({"value", "map", "link"})


def test_members_carry_index_offset_and_prototype() -> None:
    members = find_type(kernel(), "tcp_congestion_ops").members
    assert [(m.name, m.member_index, m.offset_bytes, m.size_bytes, m.proto is not None) for m in members] == [
        ("ssthresh", 0, 0, 8, True),
        ("cong_avoid", 1, 8, 8, True),
        ("undo_cwnd", 2, 16, 8, True),
        ("name", 3, 24, 16, False),
        ("flags", 4, 40, 4, False),
        ("owner", 5, 48, 8, False),
    ]


def test_an_unknown_type_lists_what_there_is() -> None:
    with pytest.raises(UnsupportedError) as caught:
        find_type(kernel(), "sched_ext_ops")
    assert caught.value.what == "this kernel has no struct_ops type sched_ext_ops"
    assert caught.value.hint == "it offers: tcp_congestion_ops"
    assert caught.value.fields["type_name"] == "sched_ext_ops"


def test_links_show_in_the_btf() -> None:
    assert has_links(kernel(links=True))
    assert not has_links(kernel(links=False))


def test_data_is_found_by_type_wherever_it_stands() -> None:
    b = BtfBuilder()
    u32 = b.integer("unsigned int", 4)
    ops = b.struct("odd_ops", 8, [("fn", b.function_pointer(), 0)])
    b.struct("bpf_struct_ops_odd_ops", 200, [("other", ops, 128), ("state", u32, 0), ("refcnt", u32, 4)])
    btf = b.btf()
    found = type_of_value(btf, btf.ids("bpf_struct_ops_odd_ops", BtfKind.STRUCT)[0])
    assert (found.data_offset, found.state_offset, found.refcnt_offset) == (128, 0, 4)


def test_a_struct_that_holds_no_struct_of_its_name_is_refused() -> None:
    types = kernel()
    other = types.vmlinux.ids("sock", BtfKind.STRUCT)[0]
    with pytest.raises(BtfError, match="no struct_ops value"):
        type_of_value(types.vmlinux, other)
