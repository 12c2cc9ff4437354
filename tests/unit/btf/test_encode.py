"""Encode types, compare with the decoder and with handwritten BTF, and rewrite types."""

from __future__ import annotations

import pytest

from structops_cli.btf.btf import Btf
from structops_cli.btf.encode import encode, rewrite
from structops_cli.btf.types import (
    BtfType,
    Const,
    Datasec,
    DatasecEntry,
    Enum,
    Enum64,
    Enumerator,
    Func,
    Int,
    Member,
    Ptr,
    Struct,
    Typedef,
    TypeTag,
    UnknownKind,
    Void,
)
from structops_cli.errors import BtfError
from tests.btf_writers import enum64, every_kind, int_, ptr, typedef, write_btf


def test_every_kind_comes_out_as_it_was_written() -> None:
    data = write_btf(every_kind())
    assert encode(Btf(data).types()) == data


def test_decoding_gives_back_what_was_encoded() -> None:
    types = list(Btf(write_btf(every_kind())).types())
    again = list(Btf(encode(types)).types())
    assert again == types
    assert [type(item) for item in again] == [type(item) for item in types]


def test_a_name_is_stored_once() -> None:
    assert encode([Typedef(1, "u32", 0), Typedef(2, "u32", 1)]).endswith(b"\0u32\0")
    assert encode([Typedef(1, "u32", 0), Typedef(2, "u32", 1)]).count(b"u32") == 1


def test_nothing_is_a_btf() -> None:
    assert encode([]) == write_btf()


def test_split_btf_uses_the_empty_string_of_its_base() -> None:
    base = Btf(write_btf([int_("int")]))
    assert encode([Ptr(2, 1), Typedef(3, "p", 2)], base=base) == write_btf(
        [ptr(1), typedef("p", 2)], strings_start=5
    )


def test_split_btf() -> None:
    base = Btf(write_btf([]))
    types: list[BtfType] = [Int(1, "int", 4, 1, 0, 32), Ptr(2, 1)]
    split = Btf(encode(types, base=base), base=base)
    assert list(split.types()) == types
    above: list[BtfType] = [Typedef(3, "p", 2), Ptr(4, 3)]
    top = Btf(encode(above, base=split), base=split)
    assert list(top.types()) == above
    assert top.string(0) == ""


@pytest.mark.parametrize(
    ("types", "message"),
    [
        ([Ptr(2, 0)], "type 2 cannot be encoded: its id is 2, and its place is 1"),
        ([Ptr(1, 0), Ptr(1, 0)], "type 1 cannot be encoded: its id is 1, and its place is 2"),
        ([Void(1)], "type 1 cannot be encoded: it is void, type 0 of every BTF"),
        (
            [UnknownKind(1, "later", 20, bytes(12))],
            "type 1 cannot be encoded: its kind is unknown",
        ),
        (
            [Struct(1, "s", 4, (Member("a", 1, 1 << 24, 0),), kind_flag=True)],
            "type 1 cannot be encoded: a value does not fit in its field: 0 bits at 16777216",
        ),
        (
            [Struct(1, "s", 4, (Member("a", 1, 0, 256),), kind_flag=True)],
            "type 1 cannot be encoded: a value does not fit in its field: 256 bits at 0",
        ),
        (
            [Struct(1, "s", 4, (Member("a", 1, 0, 3),), kind_flag=False)],
            "type 1 cannot be encoded: a value does not fit in its field: 3 bits without kind_flag",
        ),
        (
            [Func(1, "f", 0, 1 << 24)],
            "type 1 cannot be encoded: a value does not fit in its field: 16777216 members",
        ),
        (
            [Int(1, "i", 4, 16, 0, 32)],
            "type 1 cannot be encoded: a value does not fit in its field: 32 bits at 0, encoding 16",
        ),
        (
            [Typedef(1, "a\0b", 0)],
            "type 1 cannot be encoded: a value does not fit in its field: a NUL in the name 'a\\x00b'",
        ),
    ],
)
def test_what_cannot_be_encoded(types: list[BtfType], message: str) -> None:
    with pytest.raises(BtfError) as caught:
        encode(types)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    "item",
    [
        Ptr(1, -1),
        Ptr(1, 1 << 32),
        Typedef(1, "\ud800", 0),
        Func(1, "f", 0, 1 << 24),
        Enum(1, "e", 4, signed=False, values=(Enumerator("A", -1),)),
        Enum(1, "e", 4, signed=True, values=(Enumerator("A", 1 << 31),)),
        Datasec(1, ".data", 0, (DatasecEntry(1, -1, 0),)),
        Int(1, "i", 4, -1, 0, 32),
    ],
)
def test_a_number_that_no_field_holds(item: BtfType) -> None:
    with pytest.raises(BtfError, match="type 1 cannot be encoded: a value does not fit in its field"):
        encode([item])


def test_nothing_changed_is_the_same_bytes() -> None:
    data = write_btf(every_kind())
    assert rewrite(Btf(data), ()) == data


def test_a_type_of_another_size_moves_no_id() -> None:
    btf = Btf(write_btf([int_("int"), enum64("e", {"A": 1, "B": 2}), ptr(2), typedef("t", 3)]))
    again = Btf(rewrite(btf, [Int(2, "e", 8, 0, 0, 64)]))
    assert list(again.types()) == [
        Int(1, "int", 4, 0, 0, 32),
        Int(2, "e", 8, 0, 0, 64),
        Ptr(3, 2),
        Typedef(4, "t", 3),
    ]
    again.check()


def test_strings_stay_where_they_are_and_new_ones_go_behind() -> None:
    btf = Btf(write_btf([int_("int"), ptr(1)], more_strings=["a line of C"]))
    end = btf.strings.end
    again = Btf(rewrite(btf, [Struct(2, "new", 4, (), False)]))
    assert again.raw().endswith(b"a line of C\0new\0")
    assert again.strings.text(end - 12) == "a line of C"


def test_types_may_be_added_behind_the_last_one() -> None:
    btf = Btf(write_btf([int_("int")]))
    again = Btf(rewrite(btf, [Ptr(3, 2), Const(2, 1)]))
    assert list(again.types())[1:] == [Const(2, 1), Ptr(3, 2)]


def test_a_split_btf_stays_one() -> None:
    base = Btf(write_btf([int_("int")]))
    split = Btf(write_btf([ptr(1), typedef("p", 2)], strings_start=5), base=base)
    again = Btf(rewrite(split, [TypeTag(2, "user", 1, False)]), base=base)
    assert list(again.types()) == [TypeTag(2, "user", 1, False), Typedef(3, "p", 2)]


@pytest.mark.parametrize("type_id", [0, 3, 9])
def test_an_id_that_is_none_of_its_own_is_refused(type_id: int) -> None:
    btf = Btf(write_btf([int_("int")]))
    with pytest.raises(BtfError, match="BTF cannot be changed") as caught:
        rewrite(btf, [Ptr(type_id, 1)])
    assert caught.value.fields["type_id"] in (type_id, 2)


def test_a_value_that_does_not_fit_is_refused() -> None:
    btf = Btf(write_btf([int_("int")]))
    with pytest.raises(BtfError, match="type 1 cannot be encoded"):
        rewrite(btf, [Enum64(1, "e", 8, False, (Enumerator("A", -1),))])
