"""C headers: their contents and their order."""

from __future__ import annotations

import pytest

from structops_cli.btf.btf import Btf
from structops_cli.btf.c_header import header
from structops_cli.errors import BtfError, NotFoundError
from tests.btf_writers import (
    LATER,
    M,
    Record,
    array,
    const,
    enum,
    enum64,
    fwd,
    int_,
    proto,
    ptr,
    struct_,
    type_tag,
    typedef,
    union,
    write_btf,
)

TOP = """\
#pragma once

#ifndef BPF_NO_PRESERVE_ACCESS_INDEX
#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)
#endif

"""
BOTTOM = """
#ifndef BPF_NO_PRESERVE_ACCESS_INDEX
#pragma clang attribute pop
#endif
"""


def body(records: list[Record], *names: str) -> str:
    """Return the header of some types without what every header begins and ends with."""
    btf = Btf(write_btf(records), origin="b")
    btf.check()
    text = header(btf, names)
    assert text.startswith(TOP)
    assert text.endswith(BOTTOM)
    return text.removeprefix(TOP).removesuffix(BOTTOM)


OPS = [
    int_("unsigned int"),  # 1
    typedef("__u32", 1),  # 2
    typedef("u32", 2),  # 3
    struct_("sock", 4, M("id", 1)),  # 4
    ptr(4),  # 5
    proto(3, ("sk", 5)),  # 6
    ptr(6),  # 7
    ptr(9),  # 8
    struct_("list_head", 16, M("next", 8), M("prev", 8, 64)),  # 9
    struct_("", 4, M("counter", 1)),  # 10
    typedef("atomic_t", 10),  # 11
    int_("char", 1),  # 12
    array(12, 1, 16),  # 13
    fwd("module"),  # 14
    ptr(14),  # 15
    enum("tcp_ca_event", {"CA_EVENT_TX_START": 0}),  # 16
    proto(0, ("event", 16)),  # 17
    ptr(17),  # 18
    struct_("unrelated", 4, M("a", 1)),  # 19
    struct_(
        "ops",
        72,
        M("ssthresh", 7),
        M("list", 9, 64),
        M("refs", 11, 192),
        M("key", 3, 224),
        M("name", 13, 256),
        M("owner", 15, 384),
        M("event", 18, 448),
        M("self", 21, 512),
    ),  # 20
    ptr(20),  # 21
]


def test_just_what_is_needed_in_order() -> None:
    assert (
        body(OPS, "ops")
        == """\
typedef unsigned int __u32;
typedef __u32 u32;

struct sock;

struct list_head {
	struct list_head *next;
	struct list_head *prev;
};

typedef struct {
	unsigned int counter;
} atomic_t;

struct module;

enum tcp_ca_event {
	CA_EVENT_TX_START = 0,
};

struct ops {
	u32 (*ssthresh)(struct sock *sk);
	struct list_head list;
	atomic_t refs;
	u32 key;
	char name[16];
	struct module *owner;
	void (*event)(enum tcp_ca_event event);
	struct ops *self;
};
"""
    )


def test_several_names_and_one_twice() -> None:
    text = body(OPS, "sock", "u32", "list_head", "sock")
    assert (
        text
        == """\
struct sock {
	unsigned int id;
};

typedef unsigned int __u32;
typedef __u32 u32;

struct list_head {
	struct list_head *next;
	struct list_head *prev;
};
"""
    )


def test_what_is_pointed_at_is_defined_when_it_is_asked_for_too() -> None:
    text = body(OPS, "ops", "sock")
    assert text.index("struct sock;") < text.index("typedef struct {") < text.index("struct sock {")
    assert "unrelated" not in text


def test_a_struct_and_a_typedef_of_one_name_are_both_there() -> None:
    records = [int_("int"), struct_("pair", 4, M("a", 1)), typedef("pair", 1)]
    assert body(records, "pair") == "struct pair {\n\tint a;\n};\n\ntypedef int pair;\n"


def test_a_typedef_comes_before_the_struct_that_uses_it_for_itself() -> None:
    records = [
        typedef("node_t", 2),
        struct_("node", 8, M("next", 3)),
        ptr(1),
        struct_("list", 8, M("first", 1)),
    ]
    assert (
        body(records, "list")
        == """\
struct node;

typedef struct node node_t;

struct node {
	node_t *next;
};

struct list {
	node_t first;
};
"""
    )


def test_a_typedef_of_what_is_only_pointed_at() -> None:
    records = [
        struct_("sock", 4, M("a", 4)),
        typedef("sock_t", 1),
        ptr(2),
        int_("int"),
        struct_("s", 8, M("sk", 3)),
    ]
    assert (
        body(records, "s") == "struct sock;\n\ntypedef struct sock sock_t;\n\nstruct s {\n\tsock_t *sk;\n};\n"
    )


def test_a_pointer_to_an_array_needs_its_elements() -> None:
    records = [
        int_("int"),
        struct_("cell", 4, M("a", 1)),
        array(2, 1, 4),
        ptr(3),
        struct_("s", 8, M("cells", 4)),
    ]
    assert body(records, "s") == (
        "struct cell {\n\tint a;\n};\n\nstruct s {\n\tstruct cell (*cells)[4];\n};\n"
    )


def test_two_types_of_one_name() -> None:
    records = [
        int_("int"),  # 1
        struct_("irq", 4, M("a", 1)),  # 2
        struct_("irq", 8, M("b", 1)),  # 3
        ptr(3),  # 4
        struct_("both", 16, M("first", 2), M("second", 4, 64)),  # 5
        enum("", {"ON": 1}),  # 6
        enum("", {"ON": 2}),  # 7
        struct_("flags", 8, M("a", 6), M("b", 7, 32)),  # 8
        typedef("ON", 1),  # 9
        union("irq", 4, M("c", 9)),  # 10
        struct_("third", 4, M("c", 10)),  # 11
    ]
    assert (
        body(records, "both", "flags", "third")
        == """\
struct irq {
	int a;
};

struct irq___2;

struct both {
	struct irq first;
	struct irq___2 *second;
};

struct flags {
	enum {
		ON = 1,
	} a;
	enum {
		ON___2 = 2,
	} b;
};

typedef int ON___3;

union irq___3 {
	ON___3 c;
};

struct third {
	union irq___3 c;
};
"""
    )


def test_the_type_that_was_asked_for_keeps_its_name() -> None:
    records = [
        int_("int"),
        struct_("irq", 4, M("a", 1)),
        struct_("irq", 8, M("b", 5)),
        struct_("user", 8, M("irq", 3)),
        ptr(2),
    ]
    assert "struct irq {\n\tint a;\n};" in body(records, "user", "irq")
    assert "struct irq___2 irq;" in body(records, "user", "irq")


def test_a_forward_declaration_in_btf_shares_the_name_of_the_definition() -> None:
    records = [
        fwd("sock"),
        ptr(1),
        int_("int"),
        struct_("sock", 4, M("a", 3)),
        struct_("s", 16, M("p", 2), M("q", 4, 64)),
    ]
    assert body(records, "s") == (
        "struct sock {\n\tint a;\n};\n\nstruct s {\n\tstruct sock *p;\n\tstruct sock q;\n};\n"
    )


def test_the_compilers_own_types_are_not_redefined() -> None:
    records = [
        int_("int"),
        struct_("__va_list_tag", 4, M("a", 1)),
        array(2, 1, 1),
        typedef("__builtin_va_list", 3),
        typedef("va_list", 4),
    ]
    assert (
        "typedef struct __va_list_tag __builtin_va_list___2[1];\ntypedef __builtin_va_list___2 va_list;"
        in body(records, "va_list")
    )


def test_enums_of_all_sorts() -> None:
    records = [
        enum("opaque", {}),
        enum64("large", {"L": 1 << 40}),
        struct_("s", 16, M("l", 2), M("p", 4, 64)),
        ptr(1),
    ]
    assert body(records, "s", "large") == (
        "enum large {\n\tL = 1099511627776LL,\n};\n\nenum opaque {\n\topaque___opaque = 0,\n};\n\nstruct s {\n\tenum large l;\n\tenum opaque *p;\n};\n"
    )


def test_modifiers_and_tags_lead_on() -> None:
    records = [
        int_("int"),
        typedef("u32", 1),
        const(2),
        type_tag("user", 3),
        ptr(4),
        struct_("s", 16, M("p", 5), M("v", 3, 64)),
    ]
    assert body(records, "s") == ("typedef int u32;\n\nstruct s {\n\tconst u32 *p;\n\tconst u32 v;\n};\n")


@pytest.mark.parametrize("name", ["nothing", "", "id", "unsigned int", "ops\0"])
def test_a_name_that_no_such_type_has(name: str) -> None:
    with pytest.raises(NotFoundError) as caught:
        header(Btf(write_btf(OPS), origin="b"), ["ops", name])
    assert str(caught.value) == (
        f"there is no type {name!r}: b has no struct, union, enum or typedef of that name"
    )
    assert caught.value.fields == {"type_name": name}


def test_without_names_there_is_nothing() -> None:
    assert header(Btf(write_btf(OPS)), []) == TOP + BOTTOM


def test_a_type_that_contains_itself() -> None:
    btf = Btf(write_btf([struct_("a", 8, M("b", 2)), struct_("b", 8, M("a", 1))]), origin="b")
    with pytest.raises(BtfError) as caught:
        header(btf, ["a"])
    assert str(caught.value) == "b: type 1 cannot be written as C: it contains itself"


def test_types_that_lie_too_deep_in_one_another() -> None:
    records = [int_("int")] + [struct_(f"s{at}", 4, M("m", at)) for at in range(1, 1000)]
    btf = Btf(write_btf(records), origin="b")
    assert "struct s150 {" in header(btf, ["s150"])
    with pytest.raises(BtfError, match="more than 200 types are nested"):
        header(btf, ["s900"])


def test_a_type_that_is_only_declared_cannot_be_a_member() -> None:
    btf = Btf(write_btf([fwd("later"), struct_("s", 4, M("a", 1))]), origin="b")
    with pytest.raises(BtfError, match="type 1 has no size: it is a Fwd"):
        header(btf, ["s"])


def test_what_is_of_a_later_kind_is_named_and_its_bytes_are_padding() -> None:
    records = [
        int_("int"),  # 1
        Record(20, "sites", 7, vlen=1, rest=(0, 1, 2)),  # 2
        array(2, 1, 2),  # 3
        ptr(2),  # 4
        struct_("s", 32, M("a", 1), M("odd", 3, 32), M("at", 4, 128), M("b", 1, 192)),  # 5
        typedef("t", 2),  # 6
    ]
    btf = Btf(write_btf(records, layout=LATER), origin="b")
    assert header(btf, ["s"]).removeprefix(TOP).removesuffix(BOTTOM) == (
        "struct s {\n"
        "\tint a;\n"
        "\tint: 32;\n"
        "\tlong: 64;\n"
        "\tvoid *at;\n"
        "\tint b;\n"
        "\t/* at byte 4: odd, sites of BTF kind 20, which structops does not know */\n"
        "};\n"
    )
    with pytest.raises(NotFoundError, match="b has sites of BTF kind 20, which structops does not know"):
        header(btf, ["sites"])
    with pytest.raises(BtfError) as caught:
        header(btf, ["t"])
    assert str(caught.value) == (
        "b: type 2 cannot be written as C: it is sites of BTF kind 20, which structops does not know"
    )


def test_an_enum_whose_values_may_be_cut_is_marked() -> None:
    records = [enum("flags", {"LOW": 1, "HIGH": 0}, size=8), enum("state", {"OPEN": 1})]
    assert body(records, "flags", "state") == (
        "enum flags {\n"
        "\t/* 8 bytes in a BTF_KIND_ENUM: its values may be cut to 32 bits */\n"
        "\tLOW = 1,\n"
        "\tHIGH = 0,\n"
        "} __attribute__((mode(DI)));\n\n"
        "enum state {\n\tOPEN = 1,\n};\n"
    )
