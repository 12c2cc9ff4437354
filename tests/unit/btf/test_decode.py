"""Decode a record of every kind."""

from __future__ import annotations

import pytest

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
    every_kind,
    int_,
    struct_,
    write_btf,
)

EVERY = Btf(write_btf(every_kind()), origin="every kind")


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
    btf = Btf(write_btf([int_(), struct_("sock", 4, M(400, 1))]), origin="x")
    with pytest.raises(BtfError) as caught:
        btf.type(2)
    assert (
        str(caught.value) == "x is damaged at type 2, byte 40: a string is at offset 400, beyond the strings"
    )
    assert caught.value.fields == {"type_id": 2, "offset": 40}
