"""Numbers of a field: its load unit, its shifts, its sign and the sizes that it may be accessed in."""

from __future__ import annotations

import pytest

from structops_cli.btf.btf import Btf
from structops_cli.btf.encode import encode
from structops_cli.btf.types import Array, Enum, Enumerator, Int, Ptr
from structops_cli.core.access import Field
from structops_cli.core.values import access_size, enum_value, field_value, is_signed, measure, refuse_resize
from structops_cli.errors import RelocationError
from structops_cli.syscall.uapi import BtfIntEncoding, CoreReloKind

U32, S64, POINTER, WORDS = (
    Int(1, "u32", 4, 0, 0, 32),
    Int(2, "s64", 8, BtfIntEncoding.SIGNED, 0, 64),
    Ptr(3, 1),
    Array(4, 1, 1, 3),
)
U64 = Int(5, "u64", 8, 0, 0, 64)
BTF = Btf(encode([U32, S64, POINTER, WORDS, U64]), origin="a kernel")


@pytest.mark.parametrize(
    ("field", "kind", "expected"),
    [
        (Field(U32, 96, 0), CoreReloKind.FIELD_BYTE_OFFSET, 12),
        (Field(WORDS, 96, 0), CoreReloKind.FIELD_BYTE_SIZE, 12),
        (Field(POINTER, 64, 0), CoreReloKind.FIELD_BYTE_SIZE, 8),
        (Field(S64, 64, 0), CoreReloKind.FIELD_SIGNED, 1),
        (Field(U32, 35, 3), CoreReloKind.FIELD_BYTE_OFFSET, 4),
        (Field(U32, 35, 3), CoreReloKind.FIELD_LSHIFT_U64, 58),
        (Field(U32, 35, 3), CoreReloKind.FIELD_RSHIFT_U64, 61),
        (Field(U32, 30, 4), CoreReloKind.FIELD_BYTE_SIZE, 8),
    ],
)
def test_a_field_gives_its_number(field: Field, kind: CoreReloKind, expected: int) -> None:
    assert field_value(measure(BTF, field), kind) == expected


def test_a_bit_field_that_no_load_holds_is_refused() -> None:
    with pytest.raises(RelocationError, match="a bit-field of 5 bits at bit 62 cannot be loaded"):
        measure(BTF, Field(U32, 62, 5))


def test_an_access_of_an_array_is_one_of_its_first_element() -> None:
    assert access_size(BTF, measure(BTF, Field(WORDS, 0, 0))) == 4
    assert access_size(BTF, measure(BTF, Field(U32, 35, 3))) == 0


@pytest.mark.parametrize(
    ("ours", "theirs", "why"),
    [
        (Field(U32, 0, 0), Field(U64, 0, 0), ""),
        (Field(POINTER, 0, 0), Field(POINTER, 64, 0), ""),
        (Field(U32, 0, 0), Field(S64, 0, 0), "a signed integer"),
        (Field(U32, 0, 3), Field(U32, 0, 0), "it is a bit-field"),
        (Field(U32, 0, 0), Field(POINTER, 0, 0), "only pointers and unsigned integers"),
    ],
)
def test_only_zero_extended_fields_change_their_size(ours: Field, theirs: Field, why: str) -> None:
    local, target = measure(BTF, ours), measure(BTF, theirs)
    sizes = access_size(BTF, local), access_size(BTF, target)
    refusal = refuse_resize(local, target, sizes, "a kernel")
    assert why in (refusal or "")
    assert (why == "") is (refusal is None)


def test_an_enum_without_a_recorded_sign_is_read_with_that_of_the_other_side() -> None:
    enum = Enum(6, "e", 4, False, (Enumerator("LOST", 0xFFFFFFFF),))
    assert enum_value(enum.values[0], enum, signed=True) == -1
    assert enum_value(enum.values[0], enum, signed=False) == 0xFFFFFFFF
    assert not is_signed(enum)
