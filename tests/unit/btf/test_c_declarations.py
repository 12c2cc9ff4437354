"""C declarations of one variable: every shape of declarator."""

from __future__ import annotations

import pytest

from structops_cli.btf import c_declarations
from structops_cli.btf.btf import Btf
from structops_cli.btf.c_declarations import declare, prototype
from structops_cli.btf.types import FuncProto
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

COMMON = [
    int_("int"),  # 1
    struct_("sock", 4, M("id", 1)),  # 2
    ptr(2),  # 3
    typedef("u32", 1),  # 4
    proto(1, ("sk", 3), ("ack", 4)),  # 5
    ptr(5),  # 6
    const(1),  # 7
    ptr(7),  # 8
    array(1, 1, 4),  # 9
]


def text(*records: Record, name: str = "x") -> str:
    """Declare something of the last record's type; its first record is type 10."""
    btf = Btf(write_btf([*COMMON, *records]), origin="b")
    btf.check()
    return declare(btf, btf.end_id - 1, name)


@pytest.mark.parametrize(
    ("records", "expected"),
    [
        # specifiers
        ([int_("long unsigned int", 8)], "long unsigned int x"),
        ([float_("double", 8)], "double x"),
        ([typedef("u64", 1)], "u64 x"),
        ([struct_("tcp_sock", 0)], "struct tcp_sock x"),
        ([union("tcp_cc_info", 0)], "union tcp_cc_info x"),
        ([enum("tcp_ca_event", {"A": 0})], "enum tcp_ca_event x"),
        ([enum64("large", {"A": 0})], "enum large x"),
        ([fwd("module")], "struct module x"),
        ([fwd("cookie", is_union=True)], "union cookie x"),
        ([struct_("", 4, M("a", 1))], "struct { ... } x"),
        ([union("", 4, M("a", 1))], "union { ... } x"),
        ([enum("", {"A": 0})], "enum { ... } x"),
        # pointers and qualifiers
        ([ptr(0)], "void *x"),
        ([ptr(3)], "struct sock **x"),
        ([ptr(7)], "const int *x"),
        ([const(3)], "struct sock *const x"),
        ([const(8)], "const int *const x"),
        ([const(11), volatile(1)], "volatile int x"),
        ([volatile(1), const(10)], "const volatile int x"),
        ([const(11), const(1)], "const int x"),
        ([const(1), const(10)], "const int x"),
        ([restrict(3)], "struct sock *restrict x"),
        ([const(0), ptr(10), volatile(11), ptr(12)], "const void *volatile *x"),
        ([type_tag("rcu", 2), ptr(10)], "struct sock *x"),
        # arrays
        ([array(1, 1, 16)], "int x[16]"),
        ([array(1, 1, 0)], "int x[0]"),
        ([array(9, 1, 2)], "int x[2][4]"),
        ([array(3, 1, 8)], "struct sock *x[8]"),
        ([ptr(9)], "int (*x)[4]"),
        ([array(7, 1, 3)], "const int x[3]"),
        ([const(9)], "const int x[4]"),
        ([const(11), ptr(9)], "int (*x)[4]"),
        ([const(9), ptr(10)], "const int (*x)[4]"),
        ([ptr(9), const(10)], "int (*const x)[4]"),
        ([ptr(9), array(10, 1, 2)], "int (*x[2])[4]"),
        # functions
        ([ptr(5)], "int (*x)(struct sock *sk, u32 ack)"),
        ([proto(1)], "int x(void)"),
        ([proto(0), ptr(10)], "void (*x)(void)"),
        ([const(6)], "int (*const x)(struct sock *sk, u32 ack)"),
        ([array(6, 1, 3)], "int (*x[3])(struct sock *sk, u32 ack)"),
        ([ptr(6)], "int (**x)(struct sock *sk, u32 ack)"),
        ([proto(6, ("n", 1)), ptr(10)], "int (*(*x)(int n))(struct sock *sk, u32 ack)"),
        ([ptr(9), proto(10), ptr(11)], "int (*(*x)(void))[4]"),
        ([proto(3, ("", 3), ("", 1)), ptr(10)], "struct sock *(*x)(struct sock *, int)"),
        ([proto(0, ("format", 8), ("", 0)), ptr(10)], "void (*x)(const int *format, ...)"),
        ([proto(1, ("", 0)), ptr(10)], "int (*x)()"),
        ([proto(0, ("callback", 6)), ptr(10)], "void (*x)(int (*callback)(struct sock *sk, u32 ack))"),
        ([proto(0), volatile(10), ptr(11)], "void (*x)(void)"),
    ],
)
def test_declarations(records: list[Record], expected: str) -> None:
    assert text(*records) == expected


@pytest.mark.parametrize(
    ("records", "expected"),
    [
        ([typedef("u64", 1)], "u64"),
        ([ptr(2)], "struct sock *"),
        ([ptr(7), const(10)], "const int *const"),
        ([array(1, 1, 16)], "int [16]"),
        ([ptr(5)], "int (*)(struct sock *sk, u32 ack)"),
        ([ptr(9)], "int (*)[4]"),
        ([func("tcp_reno_ssthresh", 5)], "int tcp_reno_ssthresh(struct sock *sk, u32 ack)"),
        ([var("tcp_memory", 9)], "int tcp_memory[4]"),
    ],
)
def test_without_a_name(records: list[Record], expected: str) -> None:
    assert text(*records, name="") == expected


def test_void() -> None:
    assert declare(Btf(write_btf()), 0, "nothing") == "void nothing"


def test_a_prototype() -> None:
    btf = Btf(write_btf([*COMMON, proto(6, ("sk", 3))]))
    simple, returns_a_function = btf.type(5), btf.type(10)
    assert isinstance(simple, FuncProto)
    assert isinstance(returns_a_function, FuncProto)
    assert prototype(btf, simple, "cong_avoid") == "int cong_avoid(struct sock *sk, u32 ack)"
    assert (
        prototype(btf, returns_a_function, "find") == "int (*find(struct sock *sk))(struct sock *sk, u32 ack)"
    )


@pytest.mark.parametrize(
    ("records", "why"),
    [
        ([datasec(".data", 0)], "kind Datasec is not a type of C"),
        ([decl_tag("kfunc", 2)], "kind DeclTag is not a type of C"),
        ([func("f", 5), ptr(10)], "kind Func is not a type of C"),
    ],
)
def test_what_is_no_type_of_c(records: list[Record], why: str) -> None:
    with pytest.raises(BtfError) as caught:
        text(*records)
    assert str(caught.value) == f"b: type 10 cannot be written as C: {why}"


def test_declarations_that_do_not_end() -> None:
    btf = Btf(
        write_btf([ptr(1), const(3), ptr(2), proto(5), ptr(4), proto(0, ("a", 7)), ptr(6), var("v", 8)]),
        origin="b",
    )
    endings = {
        1: "its declaration has more than 64 steps",
        2: "its declaration has more than 64 steps",
        5: "its declaration has more than 64 steps",
        7: "more than 32 prototypes and bodies are nested",
        8: "kind Var is not a type of C",
    }
    for type_id, why in endings.items():
        with pytest.raises(BtfError) as caught:
            declare(btf, type_id, "x")
        assert str(caught.value).endswith(why), type_id


def test_a_small_btf_cannot_be_a_huge_text(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each prototype has two parameters of the one before: 2**30 in all."""
    monkeypatch.setattr(c_declarations, "_MAX_PARTS", 5000)
    records = [ptr(0)]
    for number in range(30):
        records += [proto(0, ("a", 2 * number + 1), ("b", 2 * number + 1)), ptr(2 * number + 2)]
    btf = Btf(write_btf(records), origin="b")
    btf.check()
    with pytest.raises(BtfError) as caught:
        declare(btf, 61, "x")
    assert str(caught.value).endswith("cannot be written as C: it has more than 5000 parts")
