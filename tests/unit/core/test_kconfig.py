"""Convert a kernel's configuration to the types of an object's variables."""

from __future__ import annotations

import pytest

from structops_cli.btf.btf import Btf
from structops_cli.btf.encode import encode
from structops_cli.btf.types import Array, Const, Enum, Enum64, Enumerator, Int, Struct, Typedef, Volatile
from structops_cli.core.kconfig import number_bytes, option_bytes, version_code
from structops_cli.core.target import Mismatch
from structops_cli.syscall.uapi import BtfIntEncoding

SIGNED, BOOL_ENCODING = BtfIntEncoding.SIGNED, BtfIntEncoding.BOOL
TRISTATE_VALUES = (Enumerator("TRI_NO", 0), Enumerator("TRI_YES", 1), Enumerator("TRI_MODULE", 2))
TYPES = (
    Int(1, "_Bool", 1, BOOL_ENCODING, 0, 8),
    Int(2, "char", 1, SIGNED, 0, 8),
    Int(3, "unsigned char", 1, 0, 0, 8),
    Int(4, "short", 2, SIGNED, 0, 16),
    Int(5, "unsigned int", 4, 0, 0, 32),
    Int(6, "long long", 8, SIGNED, 0, 64),
    Int(7, "unsigned long long", 8, 0, 0, 64),
    Int(8, "__int128", 16, SIGNED, 0, 128),
    Int(9, "wide_bool", 4, BOOL_ENCODING, 0, 32),
    Enum(10, "libbpf_tristate", 4, False, TRISTATE_VALUES),
    Enum64(11, "libbpf_tristate", 8, False, TRISTATE_VALUES),
    Enum(12, "tristate", 4, False, TRISTATE_VALUES),
    Array(13, 2, 5, 6),
    Array(14, 2, 5, 0),
    Array(15, 5, 5, 6),
    Struct(16, "option", 4, (), False),
    Typedef(17, "bool", 1),
    Volatile(18, 17),
    Const(19, 18),
)
BTF = Btf(encode(TYPES))
(
    BOOL,
    CHAR,
    U8,
    S16,
    U32,
    S64,
    U64,
    S128,
    WIDE_BOOL,
    TRISTATE,
    TRISTATE64,
    OTHER_ENUM,
    TEXT,
    NO_TEXT,
    NUMBERS,
    STRUCT,
) = range(1, 17)
QUALIFIED_BOOL = 19


@pytest.mark.parametrize(
    ("type_id", "text", "expected"),
    [
        (BOOL, "y", "01"),
        (BOOL, "n", "00"),
        (QUALIFIED_BOOL, "y", "01"),
        (CHAR, "y", "79"),
        (CHAR, "m", "6d"),
        (U8, "n", "6e"),
        (TRISTATE, "n", "00000000"),
        (TRISTATE, "y", "01000000"),
        (TRISTATE, "m", "02000000"),
        (TRISTATE64, "m", "0200000000000000"),
        (CHAR, "-128", "80"),
        (U8, "255", "ff"),
        (S16, "-0x8000", "0080"),
        (S16, "32767", "ff7f"),
        (U32, "0xffffffff", "ffffffff"),
        (U32, "010", "08000000"),
        (U32, "+7", "07000000"),
        (S64, "-1", "ffffffffffffffff"),
        (S64, "0xdead000000000000", "000000000000adde"),
        (U64, "-1", "ffffffffffffffff"),
        (U64, "0xdead000000000000", "000000000000adde"),
        (TEXT, '"bbr"', "626272000000"),
        (TEXT, '""', "000000000000"),
        (TEXT, '"bbr_and_more"', "6262725f6100"),
        (TEXT, '"\udcff"', "ff0000000000"),
    ],
)
def test_values(type_id: int, text: str, expected: str) -> None:
    value = option_bytes(BTF, type_id, text)
    assert isinstance(value, bytes), value
    assert value.hex() == expected


@pytest.mark.parametrize(
    ("type_id", "text", "why"),
    [
        (BOOL, "m", "its value is m (module), which a bool cannot hold; declare an enum libbpf_tristate"),
        (BOOL, "1", "its value 1 is a number, and the object asks for a bool"),
        (U32, "y", "its value is y, and the object asks for a number"),
        (TEXT, "y", "its value is y, and the object asks for an array of char"),
        (TRISTATE, "2", "its value 2 is a number, and the object asks for an enum libbpf_tristate"),
        (U32, '"bbr"', 'its value "bbr" is text, and the object asks for a number'),
        (TEXT, '"bbr', 'its value "bbr has no closing quote'),
        (TEXT, '"', 'its value " has no closing quote'),
        (TEXT, "5", "its value 5 is a number, and the object asks for an array of char"),
        (U8, "256", "its value 0x100 does not fit the unsigned 8 bits of the object's variable"),
        (U8, "-1", "its value -0x1 does not fit the unsigned 8 bits of the object's variable"),
        (CHAR, "128", "its value 0x80 does not fit the signed 8 bits of the object's variable"),
        (S16, "32768", "its value 0x8000 does not fit the signed 16 bits of the object's variable"),
        (U64, "1" + "0" * 5000, "its value 0x10000000000000000 does not fit the unsigned 64 bits of the object's variable"),
        (U64, "09", "its value 0x10000000000000000 does not fit the unsigned 64 bits of the object's variable"),
        (U32, "maybe", "its value 'maybe' is not y, m, n, a number or quoted text"),
        (U32, "1\u0663", "its value '1\u0663' is not y, m, n, a number or quoted text"),
        (U32, "", "its value '' is not y, m, n, a number or quoted text"),
    ],
)  # fmt: skip
def test_values_that_the_type_cannot_say(type_id: int, text: str, why: str) -> None:
    assert option_bytes(BTF, type_id, text) == Mismatch(why)


@pytest.mark.parametrize("type_id", [S128, WIDE_BOOL, OTHER_ENUM, NO_TEXT, NUMBERS, STRUCT])
def test_types_that_no_option_has(type_id: int) -> None:
    for value in (option_bytes(BTF, type_id, "y"), number_bytes(BTF, type_id, 1)):
        assert isinstance(value, Mismatch)
        assert value.why.endswith(
            "and the supported types are: a bool, a char, a number, an enum libbpf_tristate, an array of char"
        )


@pytest.mark.parametrize(
    ("type_id", "number", "expected"),
    [(BOOL, 1, b"\1"), (U8, 1, b"\1"), (U64, 1, b"\1" + bytes(7)), (U32, 0x61237, b"\x37\x12\x06\0")],
)
def test_numbers(type_id: int, number: int, expected: bytes) -> None:
    assert number_bytes(BTF, type_id, number) == expected


@pytest.mark.parametrize(
    ("type_id", "why"),
    [
        (BOOL, "its value 397875 is not 0 or 1"),
        (S16, "its value 0x61233 does not fit the signed 16 bits of the object's variable"),
        (TRISTATE, "its value 397875 is a number, and the object asks for an enum libbpf_tristate"),
    ],
)
def test_numbers_that_the_type_cannot_say(type_id: int, why: str) -> None:
    assert number_bytes(BTF, type_id, 0x61233) == Mismatch(why)


def test_the_patch_level_ends_at_255() -> None:
    assert (version_code(6, 18, 44), version_code(4, 9, 337)) == (0x06122C, 0x0409FF)
