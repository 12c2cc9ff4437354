"""A BTF with some types in another form: ids and strings stay."""

from __future__ import annotations

import pytest

from structops_cli.btf.btf import Btf
from structops_cli.btf.rewrite import rewrite
from structops_cli.btf.types import Const, Enum64, Enumerator, Int, Ptr, Struct, Typedef, TypeTag
from structops_cli.errors import BtfError
from tests.btf_writers import enum64, every_kind, int_, ptr, typedef, write_btf


def test_nothing_changed_is_the_same_bytes() -> None:
    data = write_btf(every_kind())
    assert rewrite(Btf.from_bytes(data), ()) == data


def test_a_type_of_another_size_moves_no_id() -> None:
    btf = Btf.from_bytes(write_btf([int_("int"), enum64("e", {"A": 1, "B": 2}), ptr(2), typedef("t", 3)]))
    again = Btf.from_bytes(rewrite(btf, [Int(2, "e", 8, 0, 0, 64)]))
    assert list(again.types()) == [
        Int(1, "int", 4, 0, 0, 32),
        Int(2, "e", 8, 0, 0, 64),
        Ptr(3, 2),
        Typedef(4, "t", 3),
    ]
    again.check()


def test_strings_stay_where_they_are_and_new_ones_go_behind() -> None:
    btf = Btf.from_bytes(write_btf([int_("int"), ptr(1)], more_strings=["a line of C"]))
    end = btf.strings.end
    again = Btf.from_bytes(rewrite(btf, [Struct(2, "new", 4, (), False)]))
    assert again.raw().endswith(b"a line of C\0new\0")
    assert again.strings.text(end - 12) == "a line of C"


def test_types_may_be_added_behind_the_last_one() -> None:
    btf = Btf.from_bytes(write_btf([int_("int")]))
    again = Btf.from_bytes(rewrite(btf, [Ptr(3, 2), Const(2, 1)]))
    assert list(again.types())[1:] == [Const(2, 1), Ptr(3, 2)]


def test_a_split_btf_stays_one() -> None:
    base = Btf.from_bytes(write_btf([int_("int")]))
    split = Btf.from_bytes(write_btf([ptr(1), typedef("p", 2)], strings_start=5), base=base)
    again = Btf.from_bytes(rewrite(split, [TypeTag(2, "user", 1, False)]), base=base)
    assert list(again.types()) == [TypeTag(2, "user", 1, False), Typedef(3, "p", 2)]


@pytest.mark.parametrize("type_id", [0, 3, 9])
def test_an_id_that_is_none_of_its_own_is_refused(type_id: int) -> None:
    btf = Btf.from_bytes(write_btf([int_("int")]))
    with pytest.raises(BtfError, match="BTF cannot be changed") as caught:
        rewrite(btf, [Ptr(type_id, 1)])
    assert caught.value.fields["type_id"] in (type_id, 2)


def test_a_value_that_does_not_fit_is_refused() -> None:
    btf = Btf.from_bytes(write_btf([int_("int")]))
    with pytest.raises(BtfError, match="type 1 cannot be encoded"):
        rewrite(btf, [Enum64(1, "e", 8, False, (Enumerator("A", -1),))])
