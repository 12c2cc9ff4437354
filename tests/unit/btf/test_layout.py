"""Sizes, alignments, and the types behind typedefs."""

from __future__ import annotations

import pytest

from structops_cli.btf.btf import Btf
from structops_cli.btf.layout import align_of, is_packed, pointee_proto, resolve, size_of
from structops_cli.btf.types import FuncProto, Int, Struct, Union, Void
from structops_cli.errors import BtfError
from tests.btf_writers import (
    M,
    array,
    const,
    datasec,
    enum,
    enum64,
    float_,
    func,
    fwd,
    int_,
    proto,
    ptr,
    restrict,
    struct_,
    type_tag,
    typedef,
    union,
    var,
    volatile,
    write_btf,
)

BTF = Btf(
    write_btf(
        [
            int_("char", 1),  # 1
            int_("int", 4),  # 2
            int_("long", 8),  # 3
            int_("__int128", 16),  # 4
            ptr(0),  # 5
            array(2, 2, 5),  # 6
            array(6, 2, 3),  # 7
            array(3, 2, 0),  # 8
            struct_("mixed", 16, M("c", 1), M("l", 3, 64)),  # 9
            struct_("packed", 9, M("c", 1), M("l", 3, 8)),  # 10
            struct_("odd", 12, M("l", 3), M("i", 2, 64)),  # 11: a size that no alignment of 8 allows
            struct_("bits", 4, M("a", 2, 0, 3), M("b", 2, 3, 29)),  # 12
            struct_("crossing", 5, M("a", 2, 0, 30), M("b", 2, 30, 4)),  # 13
            union("either", 8, M("i", 2), M("l", 3)),  # 14
            enum("small", {"A": 1}, size=1),  # 15
            enum64("large", {"B": 1}),  # 16
            float_("long double", 16),  # 17
            typedef("t", 19),  # 18
            const(20),  # 19
            volatile(21),  # 20
            restrict(22),  # 21
            type_tag("rcu", 9),  # 22
            var("v", 18),  # 23
            datasec(".data", 123, (23, 0, 16)),  # 24
            proto(2, ("a", 2)),  # 25
            func("f", 25),  # 26
            ptr(25),  # 27
            const(27),  # 28
            typedef("callback_t", 28),  # 29
            fwd("later"),  # 30
            struct_("empty", 0),  # 31
            struct_("flexible", 8, M("n", 2), M("data", 8, 64)),  # 32
            array(9, 2, 0xFFFFFFF),  # 33
            array(33, 2, 0),  # 34
            array(33, 2, 16),  # 35
            struct_("holds", 40, M("p", 10), M("m", 9, 128)),  # 36
            float_("odd float", 12),  # 37
            struct_("zero_wide", 8, M("none", 31), M("l", 3)),  # 38
            ptr(18),  # 39
        ]
    ),
    origin="x",
)


@pytest.mark.parametrize(
    ("type_id", "size", "align"),
    [
        (1, 1, 1),
        (2, 4, 4),
        (3, 8, 8),
        (4, 16, 16),
        (5, 8, 8),
        (6, 20, 4),
        (7, 60, 4),
        (8, 0, 8),
        (9, 16, 8),
        (10, 9, 1),
        (11, 12, 1),
        (12, 4, 4),
        (13, 5, 1),
        (14, 8, 8),
        (15, 1, 1),
        (16, 8, 8),
        (17, 16, 16),
        (18, 16, 8),
        (22, 16, 8),
        (23, 16, 8),
        (24, 123, 1),
        (29, 8, 8),
        (31, 0, 1),
        (32, 8, 8),
        (34, 0, 8),
        (36, 40, 8),
        (37, 12, 4),
        (38, 8, 8),
    ],
)
def test_sizes_and_alignments(type_id: int, size: int, align: int) -> None:
    assert (size_of(BTF, type_id), align_of(BTF, type_id)) == (size, align)


@pytest.mark.parametrize(
    ("type_id", "packed"),
    [(9, False), (10, True), (11, True), (12, False), (13, True), (14, False), (31, False), (38, False)],
)
def test_packed(type_id: int, packed: bool) -> None:
    composite = BTF.type(type_id)
    assert isinstance(composite, Struct | Union)
    assert is_packed(BTF, composite) == packed


@pytest.mark.parametrize(
    ("type_id", "message"),
    [
        (0, "x: type 0 has no size: it is a Void"),
        (25, "x: type 25 has no size: it is a FuncProto"),
        (26, "x: type 26 has no size: it is a Func"),
        (30, "x: type 30 has no size: it is a Fwd"),
        (33, ""),
        (35, "x: type 35 is too large: it has 68719476480 bytes"),
        (40, "x has no type 40: the last one is 39"),
    ],
)
def test_what_has_no_size(type_id: int, message: str) -> None:
    if not message:
        assert size_of(BTF, type_id) == 16 * 0xFFFFFFF
        return
    with pytest.raises(BtfError) as caught:
        size_of(BTF, type_id)
    assert str(caught.value) == message


@pytest.mark.parametrize("type_id", [0, 25, 26, 30, 40])
def test_what_has_no_size_has_no_alignment(type_id: int) -> None:
    with pytest.raises(BtfError):
        align_of(BTF, type_id)


def test_resolve_goes_through_names_and_modifiers_only() -> None:
    assert resolve(BTF, 18) == BTF.type(9)
    assert resolve(BTF, 2) == Int(2, "int", 4, 0, 0, 32)
    assert resolve(BTF, 39) == BTF.type(39)
    assert resolve(BTF, 6) == BTF.type(6)
    assert resolve(BTF, 0) == Void()


@pytest.mark.parametrize("type_id", [27, 28, 29])
def test_a_pointer_to_a_function(type_id: int) -> None:
    found = pointee_proto(BTF, type_id)
    assert isinstance(found, FuncProto)
    assert found.id == 25


@pytest.mark.parametrize("type_id", [0, 2, 5, 9, 25, 26, 39])
def test_no_pointer_to_a_function(type_id: int) -> None:
    assert pointee_proto(BTF, type_id) is None


LOOPS = Btf(
    write_btf(
        [
            typedef("a", 2),  # 1
            const(1),  # 2
            array(3, 4, 2),  # 3
            int_(),  # 4
            struct_("s", 8, M("s", 5)),  # 5
            var("v", 6),  # 6
            array(8, 4, 2),  # 7
            array(7, 4, 2),  # 8
            struct_("t", 8, M("u", 10)),  # 9
            struct_("u", 8, M("t", 9)),  # 10
        ]
    ),
    origin="x",
)


@pytest.mark.parametrize("type_id", [1, 2])
def test_typedefs_that_do_not_end(type_id: int) -> None:
    with pytest.raises(BtfError) as caught:
        resolve(LOOPS, type_id)
    assert str(caught.value) == f"x: type {type_id} is damaged: its definition has more than 64 steps"


@pytest.mark.parametrize("type_id", [1, 3, 6, 7])
def test_sizes_that_do_not_end(type_id: int) -> None:
    with pytest.raises(BtfError, match="has more than 64 steps"):
        size_of(LOOPS, type_id)


@pytest.mark.parametrize("type_id", [1, 3, 5, 6, 7, 9])
def test_alignments_that_do_not_end(type_id: int) -> None:
    with pytest.raises(BtfError, match="has more than 64 steps"):
        align_of(LOOPS, type_id)


def test_shared_members_are_looked_at_once() -> None:
    """Sixty structs, each with the one before it eight times: 8**60 members in all."""
    records = [int_("int")]
    records += [
        struct_(f"s{number}", 0, *[M(f"m{at}", number) for at in range(8)]) for number in range(1, 61)
    ]
    assert align_of(Btf(write_btf(records)), 61) == 4
