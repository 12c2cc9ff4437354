"""Rewrite each type for a kernel that lacks a feature."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from structops_cli.btf.btf import Btf
from structops_cli.btf.sanitise import BtfFeature, features_used, sanitise
from structops_cli.btf.types import (
    BtfType,
    Const,
    Datasec,
    DatasecEntry,
    Enum,
    Enumerator,
    Func,
    FuncProto,
    Int,
    Param,
    Struct,
    Typedef,
)
from tests.btf_writers import (
    LATER,
    M,
    Record,
    const,
    datasec,
    decl_tag,
    enum,
    enum64,
    float_,
    func,
    fwd,
    int_,
    proto,
    ptr,
    struct_,
    type_tag,
    typedef,
    union,
    var,
    write_btf,
)

LONG = "n" * 130


def after(records: Sequence[Record], *lacking: BtfFeature) -> list[BtfType]:
    """Return the types behind the first, ``int``, of what these records become."""
    btf = Btf(write_btf([int_("int"), *records], layout=LATER))
    again = Btf(sanitise(btf, lacking))
    assert again.has_layout == (BtfFeature.LAYOUT not in lacking)
    assert again.end_id == btf.end_id, "no id moves"
    again.check()
    return list(again.types())[1:]


def kept(records: Sequence[Record]) -> list[BtfType]:
    return list(Btf(write_btf([int_("int"), *records])).types())[1:]


CASES: dict[BtfFeature, tuple[list[Record], list[BtfType]]] = {
    BtfFeature.FLOAT: (
        [float_("long double", 16), float_("float", 4)],
        [Struct(2, "", 16, (), False), Struct(3, "", 4, (), False)],
    ),
    BtfFeature.DECL_TAG: (
        [decl_tag("contains:a:b", 3), var("v", 1)],
        [Int(2, "contains:a:b", 1, 0, 0, 8), *kept([var("w", 1), var("v", 1)])[1:]],
    ),
    BtfFeature.TYPE_TAG: ([type_tag("kptr", 1), ptr(2)], [Const(2, 1), *kept([const(1), ptr(2)])[1:]]),
    BtfFeature.ENUM64: (
        [
            enum64("large", {"A": 1 << 40}),
            enum64("below", {"B": -1}, signed=True),
            enum("signed", {"C": -2}, signed=True),
        ],
        [
            Int(2, "large", 8, 0, 0, 64),
            Int(3, "below", 8, 1, 0, 64),
            Enum(4, "signed", 4, False, (Enumerator("C", 0xFFFFFFFE),)),
        ],
    ),
    BtfFeature.LONG_NAMES: ([typedef(LONG, 1)], [Typedef(2, "n" * 128, 1)]),
    BtfFeature.DOTTED_NAMES: (
        [proto(1), func("f.isra.0", 2, linkage=0)],
        [FuncProto(2, 1, ()), Func(3, "f_isra_0", 2, 0)],
    ),
    BtfFeature.SECTION_NAMES: (
        [var("v", 1), datasec("?.struct_ops.link", 4, (2, 0, 4)), datasec("1 a", 4, (2, 0, 4))],
        [
            *kept([var("v", 1)]),
            Datasec(3, "_.struct_ops.link", 4, (DatasecEntry(2, 0, 4),)),
            Datasec(4, "__a", 4, (DatasecEntry(2, 0, 4),)),
        ],
    ),
    BtfFeature.ATTRIBUTE_TAGS: (
        [type_tag("address_space(1)", 1, kind_flag=True), ptr(2), decl_tag("used", 5, kind_flag=True), var("v", 1)],
        [
            Const(2, 1),
            *kept([const(1), ptr(2)])[1:],
            Int(4, "used", 1, 0, 0, 8),
            *kept([ptr(1), ptr(1), ptr(1), var("v", 1)])[3:],
        ],
    ),
    BtfFeature.LAYOUT: ([ptr(1)], kept([ptr(1)])),
}  # fmt: skip


@pytest.mark.parametrize("feature", BtfFeature, ids=lambda feature: feature.name)
def test_what_a_kernel_does_not_know_is_written_as_something_older(feature: BtfFeature) -> None:
    before, expected = CASES[feature]
    found = after(before, feature)
    assert found == expected
    assert [type(item) for item in found] == [type(item) for item in expected]


@pytest.mark.parametrize("feature", BtfFeature, ids=lambda feature: feature.name)
def test_what_a_kernel_knows_stays(feature: BtfFeature) -> None:
    before, _ = CASES[feature]
    assert after(before, *(set(BtfFeature) - {feature, BtfFeature.DECL_TAG, BtfFeature.TYPE_TAG})) == kept(
        before
    )


@pytest.mark.parametrize("feature", BtfFeature, ids=lambda feature: feature.name)
def test_the_features_that_a_btf_uses_are_told(feature: BtfFeature) -> None:
    before, _ = CASES[feature]
    more = {BtfFeature.ATTRIBUTE_TAGS: {BtfFeature.DECL_TAG, BtfFeature.TYPE_TAG}}
    layout = LATER if feature is BtfFeature.LAYOUT else None
    assert features_used(Btf(write_btf([int_("int"), *before], layout=layout))) == {
        feature,
        *more.get(feature, ()),
    }


@pytest.mark.parametrize("lacking", [(), (BtfFeature.LAYOUT,)])
def test_a_type_of_a_later_kind_becomes_an_empty_struct(lacking: tuple[BtfFeature, ...]) -> None:
    """The kernel has refused the BTF: what it does not know must go, and no id moves."""
    before = [Record(20, "sites", 7, vlen=1, rest=(0, 1, 2)), struct_("s", 4, M("a", 1), M("odd", 2, 32))]
    assert after(before, *lacking) == [Struct(2, "", 0, (), False), *kept([ptr(1), before[1]])[1:]]


def test_a_header_that_is_longer_than_is_known_is_cut() -> None:
    data = write_btf([int_("int")], layout=LATER, tail=b"\1\0\0\0")
    made = sanitise(Btf(data), ())
    assert Btf(made).unknown_parts() == ()
    assert made == write_btf([int_("int")], layout=LATER)


def test_names_of_every_kind_that_must_be_identifiers_are_cut_and_lose_their_dots() -> None:
    name = f"a.{LONG}"
    records = [fwd(name), struct_(name, 0), union(name, 0), enum(name, {"A": 1}), typedef(name, 1)]
    for target in after(records, BtfFeature.LONG_NAMES, BtfFeature.DOTTED_NAMES):
        assert getattr(target, "name", "") == f"a_{'n' * 126}"


def test_a_variable_keeps_its_dots() -> None:
    assert after([var("function.static", 1)], *BtfFeature) == kept([var("function.static", 1)])


# What no kernel accepts


def test_an_enum_that_is_only_declared_gets_a_size() -> None:
    assert after([enum("e", {}, size=0)]) == [Enum(2, "e", 4, False, ())]


def test_variables_without_bytes_are_left_out_of_their_section() -> None:
    before = [var("v", 1), var("none", 1), datasec(".data", 4, (2, 0, 4), (3, 4, 0))]
    assert after(before)[2] == Datasec(4, ".data", 4, (DatasecEntry(2, 0, 4),))


def test_a_section_without_bytes_is_a_struct() -> None:
    assert after([datasec(".data", 0)]) == [Struct(2, "", 0, (), False)]


def test_parameters_of_functions_get_names() -> None:
    before = [proto(1, ("", 1), ("named", 1), ("", 0)), func("f", 2), proto(1, ("", 1)), ptr(4)]
    assert after(before) == [
        FuncProto(2, 1, (Param("arg1", 1), Param("named", 1), Param("", 0))),
        Func(3, "f", 2, 1),
        *kept(before)[2:],
    ]


def test_a_tag_behind_a_qualifier_is_one_more_qualifier() -> None:
    before = [ptr(3), const(4), type_tag("late", 1)]
    assert after(before) == [*kept(before)[:2], Const(4, 1)]


def test_what_every_kernel_accepts_is_the_same_bytes() -> None:
    data = write_btf([int_("int"), ptr(1), enum("e", {"A": 1}), proto(1, ("a", 1)), func("f", 4)])
    assert sanitise(Btf(data), set(BtfFeature)) == data
    assert features_used(Btf(data)) == set()
