"""Types by id: the cache, split BTF, and changed sections."""

from __future__ import annotations

import pytest

from structops_cli.btf.btf import Btf
from structops_cli.btf.types import (
    Datasec,
    DatasecEntry,
    Member,
    Ptr,
    Struct,
    Typedef,
)
from structops_cli.errors import BtfError
from structops_cli.syscall.uapi import BtfKind
from tests.btf_writers import (
    M,
    datasec,
    func,
    int_,
    proto,
    ptr,
    struct_,
    typedef,
    var,
    write_btf,
)


def test_kind_and_name_do_not_decode() -> None:
    btf = Btf(write_btf([struct_("sock", 4, M(0x7FFFFFFF, 1))]))
    assert (btf.kind(1), btf.name(1)) == (BtfKind.STRUCT, "sock")
    with pytest.raises(BtfError):
        btf.type(1)


BASE = Btf(write_btf([int_("int"), struct_("sock", 4, M("id", 1))]), origin="vmlinux")
BASE_STRINGS = len("\0int\0sock\0id\0")


def test_split_btf_continues_its_base() -> None:
    data = write_btf(
        [ptr(2), struct_("sock", 12, M(1, 1), M("up", 3, 32)), typedef(5, 4)], strings_start=BASE_STRINGS
    )
    split = Btf(data, base=BASE, origin="module")
    split.check()
    assert (split.base, split.start_id, split.end_id) == (BASE, 3, 6)
    assert split.type(2) is BASE.type(2)
    assert (split.kind(1), split.name(2)) == (BtfKind.INT, "sock")
    assert split.type(4) == Struct(
        4, "sock", 12, (Member("int", 1, 0, 0), Member("up", 3, 32, 0)), kind_flag=False
    )
    assert list(split.types()) == [split.type(3), split.type(4), Typedef(5, "sock", 4)]
    assert (split.string(1), split.string(BASE_STRINGS)) == ("int", "sock")
    assert split.ids("sock") == (2, 4, 5)
    assert split.find("sock") == 2
    assert split.find("sock", BtfKind.TYPEDEF) == 5
    assert split.candidates("sock") == (4, 5)
    assert split.with_prefix("so") == (4, 5)
    assert split.raw() == data


def test_split_btf_on_split_btf() -> None:
    middle = Btf(write_btf([ptr(2)], strings_start=BASE_STRINGS, more_strings=["own"]), base=BASE)
    top = Btf(
        write_btf([typedef(BASE_STRINGS, 3), typedef(1, 4)], strings_start=BASE_STRINGS + 4), base=middle
    )
    top.check()
    assert list(top.types()) == [Typedef(4, "own", 3), Typedef(5, "int", 4)]
    assert (top.ids("int"), top.candidates("own")) == ((1, 5), (4,))


def test_split_btf_may_have_no_strings_of_its_own() -> None:
    split = Btf(write_btf([ptr(2)], strings_start=BASE_STRINGS), base=BASE)
    split.check()
    assert split.type(3) == Ptr(3, 2)
    assert split.find("sock") == 2


def test_a_split_btf_whose_strings_do_not_end() -> None:
    with pytest.raises(BtfError, match="the string section does not end with a NUL"):
        Btf(write_btf([ptr(2)], strings_start=BASE_STRINGS, last_string=b"x"), base=BASE)


def test_a_split_btf_names_the_offset_in_itself() -> None:
    data = write_btf([ptr(2), typedef(BASE_STRINGS, 1)], strings_start=BASE_STRINGS)
    with pytest.raises(BtfError) as caught:
        Btf(data, base=BASE, origin="module")
    assert str(caught.value) == (
        f"module is damaged at type 4, byte 36: its name is at offset {BASE_STRINGS}, beyond the strings"
    )


def test_an_id_beyond_a_split_btf() -> None:
    split = Btf(write_btf([ptr(2)], strings_start=BASE_STRINGS), base=BASE, origin="module")
    with pytest.raises(BtfError) as caught:
        split.type(4)
    assert str(caught.value) == "module has no type 4: the last one is 3"


SECTIONS = Btf(
    write_btf(
        [
            int_("int"),  # 1
            var("a", 1),  # 2
            var("b", 1),  # 3
            datasec(".data", 0, (2, 0, 4), (3, 0, 4)),  # 4
            proto(0),  # 5
            func("f", 5, linkage=2),  # 6
            datasec(".ksyms", 0, (6, 0, 0)),  # 7
        ]
    ),
    origin="object",
)


def test_sections_get_their_sizes_and_offsets() -> None:
    repaired = Datasec(4, ".data", 12, (DatasecEntry(3, 0, 4), DatasecEntry(2, 8, 4)))
    changed = SECTIONS.with_datasecs([repaired])
    assert changed.type(4) == repaired
    assert [changed.type(number) for number in (1, 2, 3, 5, 6, 7)] == [
        SECTIONS.type(number) for number in (1, 2, 3, 5, 6, 7)
    ]
    assert SECTIONS.type(4) == Datasec(4, ".data", 0, (DatasecEntry(2, 0, 4), DatasecEntry(3, 0, 4)))
    assert len(changed.raw()) == len(SECTIONS.raw())
    assert changed.origin == "object"
    assert Btf(changed.raw()).type(4) == repaired


def test_no_sections_change_nothing() -> None:
    assert SECTIONS.with_datasecs([]).raw() == SECTIONS.raw()


@pytest.mark.parametrize(
    ("datasec", "why"),
    [
        (Datasec(2, "a", 0, ()), "type 2 is not a section of these 0 variables"),
        (Datasec(0, "", 0, ()), "type 0 is not a section of these 0 variables"),
        (Datasec(4, ".data", 0, (DatasecEntry(2, 0, 4),)), "type 4 is not a section of these 1 variables"),
        (
            Datasec(4, ".data", 0, (DatasecEntry(2, 0, 4), DatasecEntry(2, 0, 4))),
            "type 4 is not a section of these 2 variables",
        ),
        (
            Datasec(7, ".ksyms", 1 << 32, (DatasecEntry(6, 0, 0),)),
            "section .ksyms: a size or offset does not fit in 32 bits",
        ),
        (
            Datasec(7, ".ksyms", 0, (DatasecEntry(6, -1, 0),)),
            "section .ksyms: a size or offset does not fit in 32 bits",
        ),
    ],
)
def test_a_section_that_cannot_be_changed(datasec: Datasec, why: str) -> None:
    with pytest.raises(BtfError) as caught:
        SECTIONS.with_datasecs([datasec])
    assert str(caught.value) == f"object cannot be changed: {why}"
    assert caught.value.fields == {"type_id": datasec.id}


def test_sections_of_a_split_btf() -> None:
    data = write_btf([var("v", 1), datasec(".data", 0, (3, 0, 4))], strings_start=BASE_STRINGS)
    changed = Btf(data, base=BASE).with_datasecs([Datasec(4, ".data", 4, (DatasecEntry(3, 0, 4),))])
    assert changed.type(4) == Datasec(4, ".data", 4, (DatasecEntry(3, 0, 4),))
    assert changed.base is BASE
