"""Types by id: decoding of every kind, the cache, split BTF, and changed sections."""

from __future__ import annotations

import pytest

from structops_cli.btf import strings
from structops_cli.btf.btf import Btf
from structops_cli.btf.types import (
    Array,
    BtfType,
    Const,
    Datasec,
    DatasecEntry,
    DeclTag,
    Enum,
    Enum64,
    Enumerator,
    Float,
    Func,
    FuncProto,
    Fwd,
    Int,
    Member,
    Param,
    Ptr,
    Restrict,
    Struct,
    Typedef,
    TypeTag,
    Union,
    Var,
    Void,
    Volatile,
)
from structops_cli.errors import BtfError
from structops_cli.syscall.uapi import BtfKind
from tests.btf_writers import (
    M,
    datasec,
    every_kind,
    func,
    int_,
    proto,
    ptr,
    struct_,
    type_tag,
    typedef,
    var,
    write_btf,
)

EVERY = Btf.from_bytes(write_btf(every_kind()), origin="every kind")

DECODED: list[BtfType] = [
    Int(1, "int", 4, 1, 0, 32),
    Int(2, "unsigned int", 4, 0, 0, 32),
    Ptr(3, 6),
    Array(4, 1, 2, 16),
    Union(5, "", 8, (Member("whole", 2, 0, 0), Member("low", 1, 0, 5)), kind_flag=True),
    Struct(
        6,
        "sock",
        96,
        (
            Member("words", 4, 0, 0),
            Member("", 5, 512, 0),
            Member("flag", 2, 576, 1),
            Member("rest", 2, 577, 31),
            Member("next", 3, 640, 0),
        ),
        kind_flag=True,
    ),
    Enum(7, "state", 4, signed=True, values=(Enumerator("OFF", 0), Enumerator("LOST", -1))),
    Enum64(
        8, "mask", 8, signed=False, values=(Enumerator("LOW", 1), Enumerator("HIGH", 0xFFFFFFFF_00000000))
    ),
    Fwd(9, "module", is_union=False),
    Fwd(10, "cookie", is_union=True),
    Typedef(11, "u32", 2),
    Volatile(12, 11),
    Const(13, 12),
    Restrict(14, 3),
    FuncProto(15, 11, (Param("sk", 3), Param("state", 7))),
    Func(16, "ssthresh", 15, 0),
    FuncProto(17, 0, (Param("format", 3), Param("", 0))),
    Var(18, "counter", 13, 2),
    Datasec(19, ".data", 8, (DatasecEntry(18, 4, 4),)),
    Float(20, "double", 8),
    DeclTag(21, "kfunc", 16, -1, kind_flag=False),
    DeclTag(22, "nullable", 16, 0, kind_flag=True),
    TypeTag(23, "rcu", 6, kind_flag=False),
    Ptr(24, 23),
    Enum64(25, "offset", 8, signed=True, values=(Enumerator("NEAR", -1), Enumerator("FAR", -(1 << 63)))),
    TypeTag(26, "noderef", 2, kind_flag=True),
    Struct(27, "cursor", 16, (Member("at", 24, 0, 0), Member("count", 11, 64, 0)), kind_flag=False),
]


@pytest.mark.parametrize("expected", DECODED, ids=lambda item: f"{item.id}-{type(item).__name__}")
def test_every_kind_decodes(expected: BtfType) -> None:
    found = EVERY.type(expected.id)
    assert found == expected
    assert type(found) is type(expected)


def test_the_kinds_of_the_test_are_all_kinds() -> None:
    assert {EVERY.kind(item.id) for item in DECODED} == set(BtfKind) - {BtfKind.VOID}
    assert len({type(item) for item in DECODED}) == 19


def test_types_come_in_the_order_of_their_ids_and_are_kept() -> None:
    assert list(EVERY.types()) == DECODED
    assert EVERY.type(6) is EVERY.type(6)


def test_kind_and_name_do_not_decode() -> None:
    btf = Btf.from_bytes(write_btf([struct_("sock", 4, M(0x7FFFFFFF, 1))]))
    assert (btf.kind(1), btf.name(1)) == (BtfKind.STRUCT, "sock")
    with pytest.raises(BtfError):
        btf.type(1)


def test_type_0_is_void() -> None:
    assert EVERY.type(0) == Void()
    assert (EVERY.kind(0), EVERY.name(0)) == (BtfKind.VOID, "")


@pytest.mark.parametrize("type_id", [-1, 28, 1 << 31, 1 << 40])
@pytest.mark.parametrize("access", ["type", "kind", "name", "offset"])
def test_an_id_that_does_not_exist(access: str, type_id: int) -> None:
    with pytest.raises(BtfError) as caught:
        getattr(EVERY, access)(type_id)
    assert str(caught.value) == f"every kind has no type {type_id}: the last one is 27"
    assert caught.value.fields == {"type_id": type_id}


def test_a_member_named_beyond_the_strings() -> None:
    btf = Btf.from_bytes(write_btf([int_(), struct_("sock", 4, M(400, 1))]), origin="x")
    with pytest.raises(BtfError) as caught:
        btf.type(2)
    assert (
        str(caught.value) == "x is damaged at type 2, byte 40: a string is at offset 400, beyond the strings"
    )
    assert caught.value.fields == {"type_id": 2, "offset": 40}


def test_long_names_are_bounded_in_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(strings, "MAX_TAG_BYTES", 1024)
    records = [type_tag(letter * 512, 0) for letter in "abc"]
    btf = Btf.from_bytes(write_btf(records), origin="x")
    assert [btf.name(1), btf.name(2), btf.name(1)] == ["a" * 512, "b" * 512, "a" * 512]
    with pytest.raises(BtfError, match="its names longer than 511 characters have more than"):
        btf.name(3)
    assert btf.string(1) == "a" * 512


def test_strings() -> None:
    btf = Btf.from_bytes(write_btf([int_("int")], more_strings=["tp->snd_cwnd = 1;"]), origin="x")
    assert (btf.string(0), btf.string(1), btf.string(2), btf.string(5)) == (
        "",
        "int",
        "nt",
        "tp->snd_cwnd = 1;",
    )
    for offset in (-1, 23, 1 << 32, 1 << 64):
        with pytest.raises(BtfError) as caught:
            btf.string(offset)
        assert str(caught.value) == f"x is damaged: a string is at offset {offset}, beyond the strings"


def test_bytes_that_are_no_text_are_shown() -> None:
    btf = Btf.from_bytes(write_btf([int_(1)], last_string=b"a\xff\xc3\xa9\0"))
    assert btf.name(1) == "a\\xff\u00e9"


BASE = Btf.from_bytes(write_btf([int_("int"), struct_("sock", 4, M("id", 1))]), origin="vmlinux")
BASE_STRINGS = len("\0int\0sock\0id\0")


def test_split_btf_continues_its_base() -> None:
    data = write_btf(
        [ptr(2), struct_("sock", 12, M(1, 1), M("up", 3, 32)), typedef(5, 4)], strings_start=BASE_STRINGS
    )
    split = Btf.from_bytes(data, base=BASE, origin="module")
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
    middle = Btf.from_bytes(write_btf([ptr(2)], strings_start=BASE_STRINGS, more_strings=["own"]), base=BASE)
    top = Btf.from_bytes(
        write_btf([typedef(BASE_STRINGS, 3), typedef(1, 4)], strings_start=BASE_STRINGS + 4), base=middle
    )
    top.check()
    assert list(top.types()) == [Typedef(4, "own", 3), Typedef(5, "int", 4)]
    assert (top.ids("int"), top.candidates("own")) == ((1, 5), (4,))


def test_split_btf_may_have_no_strings_of_its_own() -> None:
    split = Btf.from_bytes(write_btf([ptr(2)], strings_start=BASE_STRINGS), base=BASE)
    split.check()
    assert split.type(3) == Ptr(3, 2)
    assert split.find("sock") == 2


def test_a_split_btf_whose_strings_do_not_end() -> None:
    with pytest.raises(BtfError, match="the string section does not end with a NUL"):
        Btf.from_bytes(write_btf([ptr(2)], strings_start=BASE_STRINGS, last_string=b"x"), base=BASE)


def test_a_split_btf_names_the_offset_in_itself() -> None:
    data = write_btf([ptr(2), typedef(BASE_STRINGS, 1)], strings_start=BASE_STRINGS)
    with pytest.raises(BtfError) as caught:
        Btf.from_bytes(data, base=BASE, origin="module")
    assert str(caught.value) == (
        f"module is damaged at type 4, byte 36: its name is at offset {BASE_STRINGS}, beyond the strings"
    )


def test_an_id_beyond_a_split_btf() -> None:
    split = Btf.from_bytes(write_btf([ptr(2)], strings_start=BASE_STRINGS), base=BASE, origin="module")
    with pytest.raises(BtfError) as caught:
        split.type(4)
    assert str(caught.value) == "module has no type 4: the last one is 3"


SECTIONS = Btf.from_bytes(
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
    assert Btf.from_bytes(changed.raw()).type(4) == repaired


def test_no_sections_change_nothing() -> None:
    assert SECTIONS.with_datasecs([]).raw() == SECTIONS.raw()


@pytest.mark.parametrize(
    ("datasec", "why"),
    [
        (Datasec(2, "a", 0, ()), "type 2 is no section of these 0 variables"),
        (Datasec(0, "", 0, ()), "type 0 is no section of these 0 variables"),
        (Datasec(4, ".data", 0, (DatasecEntry(2, 0, 4),)), "type 4 is no section of these 1 variables"),
        (
            Datasec(4, ".data", 0, (DatasecEntry(2, 0, 4), DatasecEntry(2, 0, 4))),
            "type 4 is no section of these 2 variables",
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
    changed = Btf.from_bytes(data, base=BASE).with_datasecs(
        [Datasec(4, ".data", 4, (DatasecEntry(3, 0, 4),))]
    )
    assert changed.type(4) == Datasec(4, ".data", 4, (DatasecEntry(3, 0, 4),))
    assert changed.base is BASE
