"""The plan of a variable: object against kernel, member by member, by name."""

from __future__ import annotations

import pytest

from structops_cli.btf.types import BtfType, Enum, Enum64, Int, Struct
from structops_cli.errors import FitError, UsageError
from structops_cli.obj.spec import MemberFunction
from structops_cli.struct_ops.plan import Selection, plan_object
from structops_cli.struct_ops.plan_members import SkippedMember, as_the_kernels
from tests.synthetic_kernels import kernel
from tests.unit.struct_ops.objects import spec


def test_members_are_matched_by_name_and_indexed_by_the_kernel() -> None:
    plan = plan_object(spec(members=("undo_cwnd", "ssthresh")), kernel())
    assert [(m.member.name, m.member.member_index, m.program, m.data) for m in plan.maps[0].members] == [
        ("ssthresh", 0, "p_ssthresh", b""),
        ("undo_cwnd", 2, "p_undo_cwnd", b""),
        ("name", 3, "", b"t_one".ljust(16, b"\0")),
    ]
    assert [(p.name, p.member.member_index) for p in plan.programs] == [("p_undo_cwnd", 2), ("p_ssthresh", 0)]
    assert plan.maps[0].registered_name == "t_one"


def test_a_program_for_a_member_that_the_kernel_lacks_is_left_out_and_said_to_be() -> None:
    plan = plan_object(spec(members=("ssthresh", "brand_new")), kernel())
    assert plan.skipped == (SkippedMember("one", "brand_new", "p_brand_new"),)
    assert [p.name for p in plan.programs] == ["p_ssthresh"]
    assert plan.unused == ("p_brand_new",)


def test_an_unknown_member_that_is_not_zero_is_an_error_that_names_it() -> None:
    with pytest.raises(FitError) as caught:
        plan_object(spec(extra=b"\1\2\3\4\5\6\7\10"), kernel())
    assert caught.value.what == "one.extra does not fit the kernel's struct tcp_congestion_ops"
    assert caught.value.why == "the kernel's struct has no such member, and it is not zero"
    assert caught.value.hint == "--set one.extra=0 leaves it out; or register on a kernel that has it"
    assert caught.value.fields["member"] == "extra"


@pytest.mark.parametrize("variable", ["one", ""])
def test_set_to_zero_leaves_out_what_the_kernel_lacks(variable: str) -> None:
    here = kernel()
    plan = plan_object(spec(extra=b"12345678"), here, Selection(members={(variable, "extra"): "0"}))
    assert plan.skipped == ()
    assert plan.maps == plan_object(spec(), here).maps


def test_set_to_zero_leaves_out_the_program_of_a_member_that_the_kernel_lacks() -> None:
    plan = plan_object(
        spec(members=("ssthresh", "brand_new")), kernel(), Selection(members={("one", "brand_new"): "0"})
    )
    assert (plan.skipped, plan.unused) == ((), ("p_brand_new",))


def test_set_to_another_value_says_how_it_is_left_out() -> None:
    with pytest.raises(UsageError) as caught:
        plan_object(spec(extra=bytes(8)), kernel(), Selection(members={("", "extra"): "x"}))
    assert caught.value.hint == "--set one.extra=0 leaves it out"


def test_set_to_zero_of_one_variable_leaves_the_other_as_it_is() -> None:
    both = spec(extra=b"12345678", variables=("one", "two"))
    with pytest.raises(FitError, match=r"two\.extra does not fit"):
        plan_object(both, kernel(), Selection(members={("one", "extra"): "0"}))


def test_set_takes_the_place_of_a_value_that_does_not_fit() -> None:
    plan = plan_object(
        spec(flags=1 << 32, flags_size=8), kernel(), Selection(members={("one", "flags"): "1"})
    )
    assert [item.data for item in plan.maps[0].members if item.member.name == "flags"] == [b"\1\0\0\0"]


def test_what_the_kernel_fills_itself_can_be_set_to_zero() -> None:
    [one] = plan_object(spec(), kernel(), Selection(members={("", "owner"): "0"})).maps
    assert [item.data for item in one.members if item.member.name == "owner"] == [bytes(8)]


def test_an_unknown_member_that_is_zero_does_not_matter() -> None:
    assert plan_object(spec(extra=bytes(8)), kernel()).skipped == ()


def test_a_number_of_another_size_is_written_in_the_kernels() -> None:
    [one] = plan_object(spec(flags=3, flags_size=8), kernel()).maps
    assert [item.data for item in one.members if item.member.name == "flags"] == [b"\3\0\0\0"]


def test_a_number_that_does_not_fit_the_kernels_member_is_refused() -> None:
    with pytest.raises(
        FitError, match="its value needs more than the 4 bytes that it has in the kernel"
    ) as caught:
        plan_object(spec(flags=1 << 32, flags_size=8), kernel())
    assert caught.value.hint == "--set one.flags=VALUE, with a value that 4 bytes hold"


def test_a_program_within_a_member_is_refused() -> None:
    one = spec(extra=bytes(16))
    [variable] = one.struct_ops
    inner = MemberFunction(len(variable.data) - 8, "p_ssthresh")
    changed = variable._replace(functions=(*variable.functions, inner))
    with pytest.raises(FitError) as caught:
        plan_object(one._replace(struct_ops=(changed,)), kernel())
    assert caught.value.what == "one.extra has the program p_ssthresh within it"
    assert caught.value.fields["program"] == "p_ssthresh"


def test_a_program_where_the_kernel_has_data_is_refused() -> None:
    with pytest.raises(FitError, match="no pointer to a function"):
        plan_object(spec(members=("ssthresh", "owner")), kernel())


def test_set_overrides_a_member_by_name_and_flag_symbol() -> None:
    plan = plan_object(
        spec(),
        kernel(),
        Selection(members={("", "name"): "t_new", ("one", "flags"): "non_restricted|needs_ecn"}),
    )
    data = {m.member.name: m.data for m in plan.maps[0].members if not m.program}
    assert data == {"name": b"t_new".ljust(16, b"\0"), "flags": b"\3\0\0\0"}
    assert plan.maps[0].registered_name == "t_new"


@pytest.mark.parametrize(
    ("path", "text", "message"),
    [
        (("", "nosuch"), "1", "no member nosuch"),
        (("two", "name"), "x", "names no struct_ops variable"),
        (("", "ssthresh"), "1", "is a function pointer"),
        (("", "owner"), "1", "cannot be set"),
        (("", "flags"), "shiny", "'shiny' is no flag and no number"),
        (("", "name"), "a_name_that_is_far_too_long", "name"),
    ],
)
def test_set_refuses_what_makes_no_sense(path: tuple[str, str], text: str, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        plan_object(spec(), kernel(), Selection(members={path: text}))
    assert message in str(caught.value)


# Numbers in the size of the kernel


def number(size: int, *, signed: bool = False) -> Int:
    return Int(1, "n", size, int(signed), 0, 8 * size)


@pytest.mark.parametrize(
    ("local", "kernels", "data", "expected"),
    [
        (number(8), number(4), bytes([7, 0, 0, 0, 0, 0, 0, 0]), bytes([7, 0, 0, 0])),
        (number(1), number(8), b"\xff", b"\xff\0\0\0\0\0\0\0"),
        (number(1, signed=True), number(4, signed=True), b"\xfe", b"\xfe\xff\xff\xff"),
        (number(8, signed=True), number(2, signed=True), b"\xfe" + b"\xff" * 7, b"\xfe\xff"),
        (number(4), Enum(1, "e", 8, True, ()), b"\xff" * 4, b"\xff" * 4 + bytes(4)),
        (Enum64(1, "e", 8, True, ()), number(4, signed=True), b"\xff" * 8, b"\xff" * 4),
        (Enum(1, "e", 4, True, ()), number(4), b"\xff" * 4, b"\xff" * 4),
        # what does not fit
        (number(8), number(4), bytes([0, 0, 0, 0, 1, 0, 0, 0]), None),
        (number(4), number(2, signed=True), b"\0\x80\0\0", None),
        (number(1, signed=True), number(4), b"\xff", None),
        # what is no number
        (Struct(1, "s", 4, (), False), number(4), bytes(4), None),
        (number(4), Struct(1, "s", 4, (), False), bytes(4), None),
    ],
)
def test_a_number_keeps_its_value(
    local: BtfType, kernels: BtfType, data: bytes, expected: bytes | None
) -> None:
    assert as_the_kernels(local, kernels, data) == expected
