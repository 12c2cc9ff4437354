"""The catalogue of struct_ops types, on written kernels of both shapes."""

from __future__ import annotations

import pytest

from structops_cli.btf.btf import Btf
from structops_cli.btf.c_declarations import declare
from structops_cli.btf.kernel_types import KernelTypes, ModuleBtf, SkippedModule
from structops_cli.errors import BtfError, UnsupportedError
from structops_cli.struct_ops.catalogue import find_type, offered_types, type_of_value
from structops_cli.struct_ops.value import decode_value
from structops_cli.syscall.uapi import BtfKind
from tests.btf_writers import LATER, M, Record, int_, proto, ptr, struct_, write_btf
from tests.synthetic_kernels import BtfBuilder, kernel


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


# Types of kinds that are not known, and modules that cannot be read


def with_a_later_member() -> Btf:
    """Return BTF whose struct_ops type has a member of a kind that is not known, 16 bytes before the next one."""
    records = [
        int_("u32"),  # 1
        Record(20, "sites", 7, vlen=1, rest=(0, 1, 2)),  # 2
        proto(1),  # 3
        ptr(3),  # 4
        struct_("odd_ops", 32, M("fn", 4), M("odd", 2, 64), M("flags", 1, 192)),  # 5
        struct_("bpf_struct_ops_odd_ops", 128, M("refcnt", 1), M("state", 1, 32), M("data", 5, 512)),  # 6
    ]
    return Btf(write_btf(records, layout=LATER), origin="later")


def test_a_member_of_a_kind_that_is_not_known_ends_at_the_next_one() -> None:
    found = find_type(KernelTypes(with_a_later_member()), "odd_ops")
    assert [(m.name, m.offset_bytes, m.size_bytes) for m in found.members] == [
        ("fn", 0, 8),
        ("odd", 8, 16),
        ("flags", 24, 4),
    ]
    assert declare(found.btf, found.members[1].type_id, "odd") == "<BTF kind 20> odd"
    value = decode_value(found, bytes(64 + 24) + b"\5" + bytes(39))
    assert [item.value for item in value.members] == [None, None, 5]


def module(name: str, base: Btf, *records: Record) -> ModuleBtf:
    data = write_btf(records, strings_start=base.strings.end)
    return ModuleBtf(name, Btf(data, base=base, origin=name), 0)


def test_a_module_whose_types_are_damaged_is_left_out() -> None:
    vmlinux = kernel().vmlinux
    bad = struct_("bpf_struct_ops_bad", 8, M("data", vmlinux.end_id + 9))
    types = KernelTypes(vmlinux, lambda: [module("t_bad", vmlinux, bad), module("t_good", vmlinux)])
    assert [item.name for item in offered_types(types)] == ["tcp_congestion_ops"]
    assert [item.name for item in types.modules()] == ["t_good"]
    [skipped] = types.skipped
    assert (skipped.name, str(skipped.error)) == (
        "t_bad",
        f"t_bad has no type {vmlinux.end_id + 9}: the last one is {vmlinux.end_id}",
    )


def test_it_cannot_be_told_whether_a_module_that_cannot_be_read_has_a_type() -> None:
    unread = SkippedModule("t_bad", BtfError("t_bad is damaged", why="0 bytes are too few for a header"))
    types = KernelTypes(kernel().vmlinux, lambda: [unread])
    assert find_type(types, "tcp_congestion_ops").name == "tcp_congestion_ops", (
        "a type that is there needs no module"
    )
    with pytest.raises(UnsupportedError) as caught:
        find_type(types, "sched_ext_ops")
    assert caught.value.fields["unread_modules"] == ["t_bad"]
    assert str(caught.value) == (
        "it cannot be told whether this kernel has the struct_ops type sched_ext_ops: "
        "the BTF of module t_bad cannot be read: t_bad is damaged: 0 bytes are too few for a header"
    )
