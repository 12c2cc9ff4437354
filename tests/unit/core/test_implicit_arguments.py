"""Kernel functions with an argument of the kernel's own, whole and as a build that lost a part has them."""

from __future__ import annotations

import pytest

from structops_cli.btf.btf import Btf
from structops_cli.btf.types import Func
from structops_cli.core.implicit_arguments import lacks_implementation
from structops_cli.syscall.uapi import BtfKind
from tests.btf_writers import M, Record, const, func, int_, proto, ptr, struct_, write_btf

INT, AUX, POINTER = 1, 4, 3
TYPES = [
    int_("int"),
    const(AUX),
    ptr(2),
    struct_("bpf_prog_aux", 4, M("id", INT)),
    struct_("other", 4, M("id", INT)),
    ptr(5),
]


def found(name: str, *records: Record) -> bool:
    btf = Btf.from_bytes(write_btf([*TYPES, *records]))
    type_id = btf.find(name, BtfKind.FUNC)
    assert type_id
    function = btf.type(type_id)
    assert isinstance(function, Func)
    return lacks_implementation(btf, function)


OWN = proto(INT, ("node", INT), ("aux", POINTER))


def test_a_function_whose_other_half_is_lost() -> None:
    assert found("create", OWN, func("create", 7))


def test_a_function_that_is_there_twice() -> None:
    plain = proto(INT, ("node", INT))
    records = (OWN, func("create_impl", 7), plain, func("create", 9))
    assert not found("create", *records)
    assert not found("create_impl", *records)


@pytest.mark.parametrize(
    "prototype",
    [
        proto(INT),
        proto(INT, ("aux", INT)),
        proto(INT, ("other", POINTER)),
        proto(INT, ("aux", 6)),
        proto(INT, ("aux", POINTER), ("node", INT)),
    ],
)
def test_other_functions(prototype: Record) -> None:
    assert not found("create", prototype, func("create", 7))
