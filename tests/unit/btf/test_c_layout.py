"""Whole definitions: bodies, bit-fields, padding and attributes."""

from __future__ import annotations

import pytest

from structops_cli.btf import c_declarations
from structops_cli.btf.btf import Btf
from structops_cli.btf.c_declarations import definition
from structops_cli.errors import BtfError
from tests.btf_writers import (
    M,
    Record,
    array,
    enum,
    enum64,
    func,
    fwd,
    int_,
    proto,
    ptr,
    struct_,
    typedef,
    union,
    var,
    write_btf,
)

COMMON = [
    int_("char", 1),  # 1
    int_("short", 2),  # 2
    int_("int", 4),  # 3
    int_("long", 8),  # 4
    ptr(0),  # 5
    struct_("", 8, M("a", 3), M("b", 3, 32)),  # 6
    union("", 8, M("whole", 4), M("half", 3)),  # 7
    enum("", {"OFF": 0, "ON": 1}),  # 8
    array(1, 3, 0),  # 9
    proto(0, ("sk", 5)),  # 10
    ptr(10),  # 11
    array(6, 3, 2),  # 12
]


def text(*records: Record) -> str:
    btf = Btf(write_btf([*COMMON, *records]), origin="b")
    return definition(btf, btf.end_id - 1)


def test_a_struct_of_everything() -> None:
    record = struct_(
        "all",
        80,
        M("c", 1),
        M("i", 3, 32),
        M("", 7, 64),
        M("pair", 6, 128),
        M("pairs", 12, 192),
        M("callback", 11, 320),
        M("state", 8, 384),
        M("low", 3, 416, 5),
        M("high", 3, 421, 27),
        M("p", 5, 448),
        M("rest", 9, 512),
        M("end", 4, 576),
    )
    assert (
        text(record)
        == """\
struct all {
	char c;
	int i;
	union {
		long whole;
		int half;
	};
	struct {
		int a;
		int b;
	} pair;
	struct {
		int a;
		int b;
	} pairs[2];
	void (*callback)(void *sk);
	enum {
		OFF = 0,
		ON = 1,
	} state;
	int low: 5;
	int high: 27;
	void *p;
	char rest[0];
	long: 64;
	long end;
};"""
    )


def struct_body(record: Record) -> str:
    """Return what is between the braces, on one line, and what follows them."""
    inside, _, after = text(record).partition("{")[2].rpartition("}")
    return " ".join([*inside.split(), f"}}{after}"])


@pytest.mark.parametrize(
    ("record", "expected"),
    [
        # natural alignment needs no words
        (struct_("s", 16, M("c", 1), M("l", 4, 64)), "char c; long l; };"),
        (struct_("s", 16, M("l", 4), M("c", 1, 64)), "long l; char c; };"),
        (struct_("s", 0), "};"),
        # holes that alignment does not explain
        (struct_("s", 16, M("c", 1), M("i", 3, 64)), "char c; long: 56; int i; int: 32; };"),
        (struct_("s", 12, M("i", 3), M("j", 3, 64)), "int i; int: 32; int j; };"),
        (struct_("s", 4, M("c", 1), M("d", 1, 24)), "char c; char: 8; char: 8; char d; };"),
        (struct_("s", 16, M("i", 3, 64)), "long: 64; int i; int: 32; };"),
        (struct_("s", 8), "long: 64; };"),
        (struct_("s", 3), "short: 16; char: 8; };"),
        (struct_("s", 64, M("l", 4)), "long l; " + "long: 64; " * 7 + "};"),
        (struct_("s", 192, M("l", 4), M("m", 4, 1472)), "long l; unsigned char __btf_pad1[176]; long m; };"),
        # bit-fields
        (struct_("s", 4, M("a", 3, 0, 3), M("b", 3, 3, 29)), "int a: 3; int b: 29; };"),
        (struct_("s", 4, M("a", 3, 0, 3), M("b", 3, 8, 3)), "int a: 3; char: 5; int b: 3; };"),
        (struct_("s", 4, M("a", 3, 0, 3), M("b", 3, 5, 3)), "int a: 3; char: 2; int b: 3; };"),
        (struct_("s", 8, M("a", 3, 0, 30), M("b", 3, 32, 4)), "int a: 30; int b: 4; };"),
        (struct_("s", 4, M("a", 3, 0, 3), M("c", 1, 8)), "int a: 3; char c; };"),
        (struct_("s", 4, M("a", 3, 0, 3), M("c", 1, 16)), "int a: 3; short: 13; char c; };"),
        (struct_("s", 4, M("a", 3, 31, 1)), "short: 16; char: 8; char: 7; int a: 1; };"),
        (struct_("s", 2, M("a", 1, 0, 1), M("b", 1, 8, 8)), "char a: 1; char b: 8; };"),
        (struct_("s", 8, M("a", 4, 3, 61)), "char: 3; long a: 61; };"),
        # packed
        (struct_("s", 5, M("c", 1), M("i", 3, 8)), "char c; int i; } __attribute__((packed));"),
        (struct_("s", 12, M("l", 4), M("i", 3, 64)), "long l; int i; } __attribute__((packed));"),
        (
            struct_("s", 8, M("c", 1), M("i", 3, 8), M("j", 2, 48)),
            "char c; int i; char: 8; short j; } __attribute__((packed));",
        ),
        (
            struct_("s", 5, M("a", 3, 0, 30), M("b", 3, 30, 4)),
            "int a: 30; int b: 4; } __attribute__((packed));",
        ),
        (
            struct_("s", 7, M("a", 3, 0, 3), M("l", 3, 8), M("c", 1, 48)),
            "int a: 3; int l; char: 8; char c; } __attribute__((packed));",
        ),
        (
            struct_("s", 5, M("a", 3, 0, 7), M("b", 3, 7, 31)),
            "int a: 7; int b: 31; } __attribute__((packed));",
        ),
        # unions
        (union("u", 8, M("i", 3), M("l", 4)), "int i; long l; };"),
        (union("u", 4, M("a", 3, 0, 3)), "int a: 3; };"),
        (union("u", 64, M("i", 3)), "int i; unsigned char __btf_pad1[64]; };"),
        (
            union("u", 5, M("i", 3), M("c", 1)),
            "int i; char c; unsigned char __btf_pad1[5]; } __attribute__((packed));",
        ),
        (union("u", 0), "};"),
        (union("u", 16), "unsigned char __btf_pad1[16]; };"),
    ],
)
def test_layouts(record: Record, expected: str) -> None:
    assert struct_body(record) == expected


def test_fillers_of_nested_bodies_have_names_of_their_own() -> None:
    btf = Btf(
        write_btf(
            [
                int_("int"),
                union("", 16, M("a", 1)),
                union("", 16, M("b", 1)),
                struct_("s", 32, M("", 2), M("", 3, 128)),
            ]
        )
    )
    assert (
        definition(btf, 4)
        == """\
struct s {
	union {
		int a;
		unsigned char __btf_pad1[16];
	};
	union {
		int b;
		unsigned char __btf_pad2[16];
	};
};"""
    )


def test_an_anonymous_member_of_a_named_type_has_its_members_written() -> None:
    """-fms-extensions, which the kernel uses from 6.19 on."""
    btf = Btf(
        write_btf(
            [
                int_("int"),
                struct_("inner", 4, M("a", 1)),
                typedef("inner_t", 2),
                struct_("s", 8, M("", 3), M("b", 1, 32)),
            ]
        )
    )
    assert definition(btf, 4) == "struct s {\n\tstruct {\n\t\tint a;\n\t};\n\tint b;\n};"


@pytest.mark.parametrize(
    ("record", "expected"),
    [
        (enum("e", {"A": 0, "B": 4294967295}), "enum e {\n\tA = 0,\n\tB = 4294967295,\n};"),
        (enum("e", {"A": -1, "B": -(1 << 31)}, signed=True), "enum e {\n\tA = -1,\n\tB = -2147483648,\n};"),
        (enum("e", {"A": 1}, size=1), "enum e {\n\tA = 1,\n} __attribute__((mode(QI)));"),
        (enum("e", {"A": 1}, size=2), "enum e {\n\tA = 1,\n} __attribute__((mode(HI)));"),
        (enum64("e", {"A": 1}), "enum e {\n\tA = 1,\n} __attribute__((mode(DI)));"),
        (enum64("e", {"A": 1 << 32}), "enum e {\n\tA = 4294967296LL,\n};"),
        (enum64("e", {"A": (1 << 64) - 1}), "enum e {\n\tA = 18446744073709551615ULL,\n};"),
        (enum64("e", {"A": -(1 << 63)}, signed=True), "enum e {\n\tA = -9223372036854775807LL - 1,\n};"),
        (enum64("e", {"A": -(1 << 40)}, signed=True), "enum e {\n\tA = -1099511627776LL,\n};"),
        (enum("e", {}), "enum e;"),
        (fwd("module"), "struct module;"),
        (fwd("cookie", is_union=True), "union cookie;"),
        (typedef("u32", 3), "typedef int u32;"),
        (typedef("callback_t", 11), "typedef void (*callback_t)(void *sk);"),
        (typedef("array_t", 12), "typedef struct {\n\tint a;\n\tint b;\n} array_t[2];"),
        (typedef("state_t", 8), "typedef enum {\n\tOFF = 0,\n\tON = 1,\n} state_t;"),
        (func("ssthresh", 10), "void ssthresh(void *sk);"),
        (var("counter", 4), "long counter;"),
    ],
)
def test_other_definitions(record: Record, expected: str) -> None:
    assert text(record) == expected


@pytest.mark.parametrize(
    ("record", "why"),
    [
        (int_("i"), "kind Int has no definition of its own"),
        (ptr(1), "kind Ptr has no definition of its own"),
        (
            struct_("s", 8, M("a", 3), M("b", 3)),
            "the member at bit 0 overlaps the one that ends at bit 32",
        ),
        (struct_("s", 4, M("a", 4)), "the member at bit 32 overlaps the one that ends at bit 64"),
        (union("u", 8, M("a", 3, 32)), "member 'a' of a union begins at bit 32"),
        (union("u", 4, M("a", 12)), "it has 4 bytes, and its members need 16"),
    ],
)
def test_what_no_c_can_say(record: Record, why: str) -> None:
    with pytest.raises(BtfError) as caught:
        text(record)
    assert str(caught.value) == f"b: type 13 cannot be written as C: {why}"


def test_bodies_that_do_not_end() -> None:
    with pytest.raises(BtfError, match="has more than 64 steps"):
        text(struct_("", 8, M("a", 13)))


def test_a_hole_of_four_gigabytes_is_one_line() -> None:
    assert struct_body(struct_("s", 0xFFFFFFFF)) == "unsigned char __btf_pad1[4294967295]; };"


def test_a_small_btf_cannot_be_a_huge_definition(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(c_declarations, "_MAX_PARTS", 5000)
    records = [int_("int")] + [struct_("", 0, *[M("", number)] * 8) for number in range(1, 30)]
    records[1] = struct_("", 0)
    btf = Btf(write_btf(records), origin="b")
    with pytest.raises(BtfError) as caught:
        definition(btf, 30)
    assert str(caught.value).endswith("cannot be written as C: it has more than 5000 parts")
