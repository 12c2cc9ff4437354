"""Faults between the types of a BTF, one at a time, with the exact error."""

from __future__ import annotations

import contextlib
import time

import pytest

from structops_cli.btf.btf import Btf
from structops_cli.errors import BtfError
from tests.btf_writers import (
    M,
    Record,
    array,
    const,
    datasec,
    decl_tag,
    enum,
    enum64,
    every_kind,
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

INT = int_("int")


def test_every_kind_is_accepted() -> None:
    Btf(write_btf(every_kind())).check()


TAGS = pytest.mark.parametrize(
    "text", ["a" * 600, "two\nlines", "a\ttab", "é", " ", "1a", "kernel:module=x"], ids=repr
)


@TAGS
def test_a_tag_may_hold_any_text(text: str) -> None:
    """The kernel asks of a tag's text no more than that it is not empty: ``btf_decl_tag_check_meta``."""
    btf = Btf(write_btf([INT, type_tag(text, 1), typedef("t", 1), decl_tag(text, 3)]))
    btf.check()
    assert [btf.name(2), btf.name(4)] == [text, text]


def refusal(*records: Record) -> str:
    with pytest.raises(BtfError) as caught:
        Btf(write_btf(records), origin="x").check()
    return str(caught.value)


@pytest.mark.parametrize(
    ("record", "why"),
    [
        # names
        (struct_("a-b", 0), "its name, at offset 5, is too long or has a character that no name has"),
        (struct_("1a", 0), "its name, at offset 5, is too long or has a character that no name has"),
        (struct_("a\x1b[2J", 0), "its name, at offset 5, is too long or has a character that no name has"),
        (struct_("é", 0), "its name, at offset 5, is too long or has a character that no name has"),
        (struct_("a" * 512, 0), "its name, at offset 5, is too long or has a character that no name has"),
        (int_("a\nb"), "its name, at offset 5, is too long or has a character that no name has"),
        (datasec("\x7f", 0), "its name, at offset 5, is too long or has a character that no name has"),
        (
            struct_("s", 4, M("a b", 1)),
            "member 0: its name, at offset 7, is too long or has a character that no name has",
        ),
        (struct_("s", 4, M(9999, 1)), "member 0: its name is at offset 9999, beyond the strings"),
        (
            enum("e", {"a b": 1}),
            "value 0: its name, at offset 7, is too long or has a character that no name has",
        ),
        (enum("e", {"": 1}), "value 0: it has no name"),
        (enum64("e", {"A": 1, "": 2}), "value 1: it has no name"),
        (
            proto(0, ("a*", 1)),
            "parameter 0: its name, at offset 5, is too long or has a character that no name has",
        ),
        (typedef("", 1), "it has no name"),
        (fwd(""), "it has no name"),
        (func("", 1), "it has no name"),
        (var("", 1), "it has no name"),
        (datasec("", 0), "it has no name"),
        (decl_tag("", 1), "it has no name"),
        (type_tag("", 1), "it has no name"),
        (ptr(1).but(name="p"), "it has a name, at offset 5, which its kind has not"),
        (array(1, 1, 1).but(name="p"), "it has a name, at offset 5, which its kind has not"),
        (const(1).but(name="p"), "it has a name, at offset 5, which its kind has not"),
        (volatile(1).but(name="p"), "it has a name, at offset 5, which its kind has not"),
        (restrict(1).but(name="p"), "it has a name, at offset 5, which its kind has not"),
        (proto(1).but(name="p"), "it has a name, at offset 5, which its kind has not"),
        # sizes of scalars
        (int_("i", 3), "its kind has no size of 3 bytes"),
        (int_("i", 0), "its kind has no size of 0 bytes"),
        (int_("i", 32, bits=1), "its kind has no size of 32 bytes"),
        (int_("i", bits=0), "its bits are no part of its storage"),
        (int_("i", bits=33), "its bits are no part of its storage"),
        (int_("i", bits=30, bit_offset=3), "its bits are no part of its storage"),
        (float_("f", 3), "its kind has no size of 3 bytes"),
        (float_("f", 34), "its kind has no size of 34 bytes"),
        (enum("e", {"A": 1}, size=0), "its kind has no size of 0 bytes"),
        (enum("e", {"A": 1}, size=3), "its kind has no size of 3 bytes"),
        (enum("e", {"A": 1}, size=16), "its kind has no size of 16 bytes"),
        (enum64("e", {"A": 1}, size=0), "its kind has no size of 0 bytes"),
        # ids
        (ptr(3), "there is no type 3, the last one is 2"),
        (ptr(0xFFFFFFFF), "there is no type 4294967295, the last one is 2"),
        (const(3), "there is no type 3, the last one is 2"),
        (volatile(3), "there is no type 3, the last one is 2"),
        (restrict(3), "there is no type 3, the last one is 2"),
        (typedef("t", 3), "there is no type 3, the last one is 2"),
        (type_tag("t", 3), "there is no type 3, the last one is 2"),
        (array(3, 1, 1), "element: there is no type 3, the last one is 2"),
        (array(1, 3, 1), "index: there is no type 3, the last one is 2"),
        (struct_("s", 8, M("a", 1), M("b", 3)), "member 1: there is no type 3, the last one is 2"),
        (union("u", 8, M("a", 3)), "member 0: there is no type 3, the last one is 2"),
        (proto(3), "there is no type 3, the last one is 2"),
        (proto(0, ("a", 1), ("b", 3)), "parameter 1: there is no type 3, the last one is 2"),
        (func("f", 3), "there is no type 3, the last one is 2"),
        (var("v", 3), "there is no type 3, the last one is 2"),
        (datasec(".data", 8, (3, 0, 4)), "entry 0: there is no type 3, the last one is 2"),
        (decl_tag("t", 3), "there is no type 3, the last one is 2"),
        # kinds
        (func("f", 1), "type 1 is of a kind that cannot be there"),
        (func("f", 0), "type 0 is of a kind that cannot be there"),
        (datasec(".data", 8, (1, 0, 4)), "entry 0: type 1 is of a kind that cannot be there"),
        (decl_tag("t", 1), "type 1 is of a kind that cannot be there"),
        (decl_tag("t", 0), "type 0 is of a kind that cannot be there"),
        (array(1, 0, 1), "index: type 0 is of a kind that cannot be there"),
        (array(1, 2, 1), "index: type 2 is of a kind that cannot be there"),
        (struct_("s", 8, M("p", 2, bits=3)), "it contains type 2, which contains it"),
        (func("f", 2, linkage=3), "there is no linkage 3"),
        (var("v", 1, linkage=3), "there is no linkage 3"),
        (proto(0, ("", 0), ("a", 1)), "parameter 0: it is void, and not the end of a variadic prototype"),
        (proto(0, ("a", 0)), "parameter 0: it is void, and not the end of a variadic prototype"),
        # sizes of what is made of others
        (array(0, 1, 1), "type 2 has no size"),
        (array(1, 1, 0x40000000), "type 2 has 2**32 bytes or more"),
        (array(1, 1, 0xFFFFFFFF), "type 2 has 2**32 bytes or more"),
        (struct_("s", 8, M("a", 0)), "member 0: type 0 has no size"),
        (struct_("s", 3, M("a", 1)), "member 0: it begins at bit 0 and ends beyond the size of the whole"),
        (struct_("s", 4, M("a", 1, 1)), "member 0: it begins at bit 1 and ends beyond the size of the whole"),
        (union("u", 3, M("a", 1)), "member 0: it begins at bit 0 and ends beyond the size of the whole"),
        (
            struct_("s", 4, M("a", 1, 30, 3)),
            "member 0: it begins at bit 30 and ends beyond the size of the whole",
        ),
        (struct_("s", 8, M("a", 1, 32), M("b", 1)), "member 1: bit 0 is before the member in front of it"),
        (struct_("s", 8, M("a", 1, 0, 33)), "member 0: its bits are no part of its storage"),
    ],
)
def test_one_thing_wrong(record: Record, why: str) -> None:
    assert refusal(INT, record) == f"x is damaged at type 2, byte 40: {why}"


@pytest.mark.parametrize(
    ("records", "where", "why"),
    [
        (
            [proto(0, ("a", 1)), func("f", 2), decl_tag("t", 3, component=1)],
            4,
            "the tagged type has no component 1",
        ),
        ([var("v", 1), decl_tag("t", 2, component=0)], 3, "the tagged type has no component 0"),
        ([typedef("v", 1), decl_tag("t", 2, component=-2)], 3, "the tagged type has no component 4294967294"),
        (
            [struct_("s", 4, M("a", 1)), decl_tag("t", 2, component=1)],
            3,
            "the tagged type has no component 1",
        ),
        ([ptr(1), array(1, 2, 1)], 3, "index: type 2 is of a kind that cannot be there"),
        (
            [ptr(1), struct_("s", 8, M("a", 2, bits=3))],
            3,
            "member 0: type 2 is of a kind that cannot be there",
        ),
        ([fwd("f"), struct_("s", 8, M("a", 2))], 3, "member 0: type 2 has no size"),
        ([proto(0), struct_("s", 8, M("a", 2))], 3, "member 0: type 2 has no size"),
        ([fwd("f"), array(2, 1, 0)], 3, "type 3 has no size"),
        ([ptr(1), array(2, 1, 1 << 29)], 3, "type 3 has 2**32 bytes or more"),
        ([array(1, 1, 1 << 16), array(2, 1, 1 << 16)], 3, "type 3 has 2**32 bytes or more"),
    ],
)
def test_two_things_that_do_not_fit(records: list[Record], where: int, why: str) -> None:
    message = refusal(INT, *records)
    assert message.startswith(f"x is damaged at type {where}, byte ")
    assert message.endswith(f": {why}")


@pytest.mark.parametrize(
    ("records", "where", "other"),
    [
        ([typedef("a", 2)], 2, 2),
        ([const(3), volatile(2)], 3, 2),
        ([restrict(3), type_tag("t", 4), typedef("t", 2)], 4, 2),
        ([struct_("s", 8, M("a", 2))], 2, 2),
        ([struct_("s", 8, M("a", 1), M("b", 3)), array(4, 1, 1), union("u", 8, M("c", 2))], 4, 2),
        ([var("v", 2)], 2, 2),
        ([ptr(3), typedef("t", 4), struct_("s", 8, M("p", 2), M("t", 3, 64))], 4, 3),
    ],
)
def test_a_type_that_contains_itself(records: list[Record], where: int, other: int) -> None:
    message = refusal(INT, *records)
    assert message.startswith(f"x is damaged at type {where}, byte ")
    assert message.endswith(f": it contains type {other}, which contains it")


def test_a_pointer_may_lead_back() -> None:
    node = struct_("node", 16, M("next", 3), M("down", 4, 64))
    Btf(write_btf([INT, node, ptr(2), ptr(5), const(4)])).check()


def test_what_a_compiler_writes_is_accepted() -> None:
    """Typeless externs, empty sections, empty enums, flexible arrays, bit-fields of enums, empty structs."""
    records = [
        INT,  # 1
        const(0),  # 2
        var("ksym", 2, linkage=2),  # 3
        datasec(".ksyms", 0, (3, 0, 0)),  # 4
        enum("opaque", {}, size=0),  # 5
        array(1, 1, 0),  # 6
        struct_("flexible", 4, M("count", 1), M("data", 6, 32)),  # 7
        enum("small", {"A": 0}, size=1),  # 8
        struct_("flags", 1, M("a", 8, 0, 3), M("b", 8, 3, 5)),  # 9
        struct_("empty", 0),  # 10
        struct_("holds_empty", 4, M("none", 10), M("a", 1)),  # 11
        datasec(".rodata.str1.1", 0),  # 12
        datasec("?.struct_ops.link", 0),  # 13
        int_("__ARRAY_SIZE_TYPE__"),  # 14
        int_("long unsigned int", 8),  # 15
        array(6, 1, 0xFFFFFFFF),  # 16: of nothing
        float_("long double", 16),  # 17
        type_tag('user memory, "quoted"', 1),  # 18
        typedef("with.dot", 1),  # 19
        proto(0, ("context", 1)),  # 20
        func("bpf_kfunc", 20, linkage=2),  # 21
        datasec(".ksyms.more", 0, (21, 0, 0)),  # 22
        union("shifted", 8, M("a", 1, 32), M("b", 1)),  # 23
    ]
    Btf(write_btf(records)).check()


def test_a_chain_that_is_too_long_is_refused() -> None:
    chain = [const(number) for number in range(1, 70)]
    message = refusal(INT, *chain, struct_("s", 4, M("a", 70)))
    assert message.endswith("member 0: type 70 goes through too many typedefs, modifiers and arrays")
    short = [const(number) for number in range(1, 61)]
    Btf(write_btf([INT, *short, struct_("s", 4, M("a", 61))])).check()


def test_a_split_btf_is_checked_on_its_base() -> None:
    base = Btf(write_btf([INT, proto(0, ("a", 1))]), origin="base")
    start = len(b"\0int\0a\0")
    fine = [struct_("s", 4, M("a", 1)), func("f", 2), typedef("t", 3)]
    Btf(write_btf(fine, strings_start=start), base=base).check()
    with pytest.raises(BtfError) as caught:
        Btf(write_btf([func("f", 1)], strings_start=start), base=base, origin="x").check()
    assert str(caught.value) == "x is damaged at type 3, byte 24: type 1 is of a kind that cannot be there"
    with pytest.raises(BtfError) as caught:
        Btf(write_btf([ptr(4)], strings_start=start), base=base, origin="x").check()
    assert str(caught.value) == "x is damaged at type 3, byte 24: there is no type 4, the last one is 3"


def test_hostile_shapes_take_no_time() -> None:
    """A cycle through 60,000 types, a chain as deep, and structs that share everything."""
    count = 60_000
    cycle = [typedef("t", number % count + 1) for number in range(1, count + 1)]
    chain = [const(number + 1) for number in range(1, count)] + [INT]
    shared = [INT] + [struct_("s", 0xFFFFFFFF, *[M("m", number)] * 8) for number in range(1, 8_000)]
    started = time.monotonic()
    for records in (cycle, chain, shared):
        btf = Btf(write_btf(records))
        before = time.monotonic()
        with contextlib.suppress(BtfError):
            btf.check()
        assert time.monotonic() - before < 1
    assert time.monotonic() - started < 60
