"""Prototypes of an object and of a kernel, argument by argument."""

from __future__ import annotations

from typing import Any

import pytest

from structops_cli.btf.types import Const, Enum, Enumerator, Func, FuncProto, Fwd, Param, Typedef
from structops_cli.struct_ops.prototypes import (
    compare_prototypes,
    describe_parameters,
    is_context,
    typed_body,
    words_of,
)
from structops_cli.syscall.uapi import BtfIntEncoding
from tests.synthetic_kernels import BtfBuilder
from tests.unit.struct_ops.objects import function


class Side:
    """The types of one side, by a short name each."""

    def __init__(self, *, flavour: str = "") -> None:
        self.b = BtfBuilder()
        self.ids = {"void": 0}
        number = self.b.integer("unsigned int", 4)
        sock = self.b.struct("sock", 4, [("x", number, 0)])
        inet = self.b.struct("inet_sock", 4, [("sk", sock, 0)])
        tcp = self.b.struct(f"tcp_sock{flavour}", 4, [("inet", inet, 0)])
        sample = self.b.struct(f"rate_sample{flavour}", 4, [("x", number, 0)])
        self.ids |= {
            "u32": self.b.add(Typedef, "u32", number),
            "int": self.b.integer("int", 4, BtfIntEncoding.SIGNED),
            "u8": self.b.integer("unsigned char", 1),
            "u64": self.b.integer("unsigned long long", 8),
            "enum": self.b.add(Enum, "event", 4, False, (Enumerator("A", 0),)),
            "pair": self.b.struct("pair", 16, []),
            "sock": self.pointer(sock),
            "tcp_sock": self.pointer(tcp),
            "sample": self.pointer(self.b.add(Const, sample)),
            "fwd": self.pointer(self.b.add(Fwd, "sock", False)),
            "void *": self.pointer(0),
        }
        self.ids["u64 *"] = self.pointer(self.ids["u64"])
        self.ids["u32 *"] = self.pointer(self.ids["u32"])
        self.ids["sock **"] = self.pointer(self.ids["sock"])

    def pointer(self, target: int) -> int:
        from structops_cli.btf.types import Ptr

        return self.b.add(Ptr, target)

    def proto(self, returns: str, *params: str) -> tuple[Any, FuncProto]:
        named = tuple(Param(f"a{at}", self.ids[param]) for at, param in enumerate(params, 1))
        found = self.b.add(FuncProto, self.ids[returns], named)
        btf = self.b.btf("a side")
        proto = btf.type(found)
        assert isinstance(proto, FuncProto)
        return btf, proto


def differences(local: tuple[str, ...], kernel: tuple[str, ...]) -> list[str]:
    found = compare_prototypes(*Side(flavour="___mine").proto(*local), *Side().proto(*kernel))
    return [difference.describe() for difference in found]


@pytest.mark.parametrize(
    ("local", "kernel"),
    [
        ("u32", "u32"),
        ("u32", "enum"),
        ("enum", "u32"),
        ("sock", "tcp_sock"),
        ("tcp_sock", "sock"),
        ("sample", "sample"),
        ("void *", "sample"),
        ("sock", "void *"),
        ("fwd", "sock"),
        ("sock **", "sock **"),
        ("pair", "pair"),
    ],
)
def test_alike(local: str, kernel: str) -> None:
    assert differences(("void", local), ("void", kernel)) == []


@pytest.mark.parametrize(
    ("local", "kernel"),
    [
        ("u32", "int"),
        ("u32", "u64"),
        ("u8", "u32"),
        ("sample", "u32"),
        ("u64", "sock"),
        ("sock", "sample"),
        ("u32 *", "u64 *"),
        ("sock **", "sock"),
        ("pair", "u64"),
    ],
)
def test_not_alike(local: str, kernel: str) -> None:
    (said,) = differences(("void", local), ("void", kernel))
    assert said.startswith("argument 1 is read as ")


def test_cong_control_before_and_after_6_10() -> None:
    old, new = ("void", "sock", "sample"), ("void", "sock", "u32", "int", "sample")
    assert differences(old, new) == [
        "argument 2 is read as const struct rate_sample___mine *a2 where the kernel passes u32 a2 (that is argument 4 there)",
        "argument 3 of the kernel, int a3, is one that the object does not take",
        "argument 4 of the kernel, const struct rate_sample *a4, is one that the object does not take",
    ]
    assert differences(new, old) == [
        "argument 2 is read as u32 a2 where the kernel passes const struct rate_sample *a2",
        "argument 3, int a3, is one that the kernel does not pass",
        "argument 4, const struct rate_sample___mine *a4, is one that the kernel does not pass (that is argument 2 there)",
    ]


def test_what_is_returned() -> None:
    assert differences(("void", "sock"), ("u32", "sock")) == [
        "it returns void in the object and u32 in the kernel"
    ]
    assert differences(("int", "sock"), ("u32", "sock")) == [
        "it returns int in the object and u32 in the kernel"
    ]


def test_parameters_as_text() -> None:
    assert describe_parameters(*Side().proto("void", "sock", "u32")) == "(struct sock *a1, u32 a2)"
    assert describe_parameters(*Side().proto("void")) == "(void)"


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        (("u64 *",), True),
        (("void *",), True),
        (("sock",), False),
        (("u64",), False),
        (("u64 *", "u64 *"), False),
        ((), False),
        (("u32 *",), False),
    ],
)
def test_the_array_of_words_says_nothing(params: tuple[str, ...], expected: bool) -> None:
    assert is_context(*Side().proto("void", *params)) is expected


def test_the_body_that_bpf_prog_makes_says_more() -> None:
    side = Side()
    btf, proto = side.proto("void", "u64 *", "sock", "u32")
    side.b.add(Func, "____p_one", proto.id, 0)
    btf = side.b.btf()
    body = typed_body(btf, function("p_one"))
    assert body is not None
    assert describe_parameters(btf, body) == "(struct sock *a2, u32 a3)"
    assert typed_body(btf, function("p_two")) is None


def test_a_struct_of_two_words_takes_two_words() -> None:
    assert words_of(*Side().proto("void", "sock", "pair", "u8")) == (1, 2, 2, 3)
