"""Why a type of a kernel's BTF cannot be registered."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from structops_cli.btf.kernel_types import KernelTypes
from structops_cli.btf.types import FuncProto, Member, Param, Ptr, Struct
from structops_cli.struct_ops.rules.offered import WhyNot, not_offered
from tests.synthetic_kernels import BtfBuilder, kernel


class Types(BtfBuilder):
    """A kernel of today with one struct_ops type ``t_ops``."""

    def __init__(self) -> None:
        super().__init__()
        self.u32 = self.integer("unsigned int", 4)
        self.common = self.struct("bpf_struct_ops_common_value", 8, [("state", self.u32, 0)])
        self.struct("bpf_struct_ops_desc", 8, [("type_id", self.u32, 0)])
        self.struct("bpf_struct_ops_link", 8, [("map", self.u32, 0)])

    def ops(self, *members: tuple[str, int, int]) -> int:
        return self.struct("t_ops", 64, list(members))

    def value(self, *members: tuple[str, int, int]) -> None:
        self.struct("bpf_struct_ops_t_ops", 128, list(members))

    def reasons(self) -> list[WhyNot]:
        return [item for item in not_offered(KernelTypes(self.btf())) if item.rule != "kernels-own"]


def with_function(make: Callable[[Types], int]) -> Types:
    """Return types whose ``t_ops`` has one member ``go`` of a made type."""
    types = Types()
    ops = types.ops(("go", make(types), 0))
    types.value(("common", types.common, 0), ("data", ops, 64))
    return types


def pointer_to(types: Types, returns: int, *params: Param) -> int:
    return types.add(Ptr, types.add(FuncProto, returns, params))


def test_a_type_that_can_be_registered() -> None:
    assert with_function(lambda types: types.function_pointer(types.u32, returns=types.u32)).reasons() == []


def test_the_kernels_own_are_told_from_types() -> None:
    assert [item.type_name for item in not_offered(kernel())] == ["common_value", "link", "map", "value"]


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (lambda t: t.function_pointer(*[t.u32] * 13), "go takes 13 arguments, and a trampoline carries 12"),
        (lambda t: pointer_to(t, 0, Param("a", t.u32), Param("", 0)), "go takes a variable number of arguments"),
        (lambda t: t.function_pointer(t.struct("wide", 24, [("a", t.u32, 0)])),
         "go takes an argument (0) that has 24 bytes, and a trampoline carries 16"),
        (lambda t: t.function_pointer(returns=t.struct("pair", 8, [("a", t.u32, 0)])),
         "go returns neither a number nor a pointer"),
        (lambda t: t.function_pointer(returns=t.add(Ptr, t.u32)),
         "go returns a pointer to something that is no struct"),
        (lambda t: t.function_pointer(t.add(FuncProto, 0, ())),
         "go takes an argument (0) that is neither a number, a pointer nor a struct"),
    ],
)  # fmt: skip
def test_prototypes_that_no_trampoline_carries(make: Callable[[Types], int], why: str) -> None:
    assert with_function(make).reasons() == [WhyNot("t_ops", "", "prototype", "go", why, certain=False)]


def test_twelve_arguments_of_sixteen_bytes_are_carried() -> None:
    types = with_function(lambda t: t.function_pointer(*[t.struct("pair", 16, [("a", t.u32, 0)])] * 12))
    assert types.reasons() == []


def test_members_that_are_refused() -> None:
    types = Types()
    ops = types.add(Struct, "t_ops", 64, (Member("", types.u32, 0, 0),), False)
    types.value(("common", types.common, 0), ("data", ops, 64))
    assert [(item.rule, item.why) for item in types.reasons()] == [
        ("anonymous", "it has an anonymous member")
    ]

    types = Types()
    ops = types.add(Struct, "t_ops", 64, (Member("narrow", types.u32, 0, 3),), True)
    types.value(("common", types.common, 0), ("data", ops, 64))
    assert [(item.rule, item.member, item.why) for item in types.reasons()] == [
        ("bit-field", "narrow", "narrow is a bit-field")
    ]

    types = Types()
    ops = types.ops(*((f"m{at}", types.u32, 0) for at in range(65)))
    types.value(("common", types.common, 0), ("data", ops, 64))
    assert [item.why for item in types.reasons()] == ["struct t_ops has 65 members, and this kernel takes 64"]


def test_values_that_are_not_of_the_kernels_shape() -> None:
    types = Types()
    types.value(("common", types.common, 0))
    assert types.reasons()[0].why == "there is no struct t_ops"

    types = Types()
    ops = types.ops(("x", types.u32, 0))
    types.value(("refcnt", types.u32, 0), ("state", types.u32, 4), ("data", ops, 64))
    assert types.reasons()[0].why == "struct bpf_struct_ops_t_ops has 3 members and not 2"

    types = Types()
    ops = types.ops(("x", types.u32, 0))
    types.value(("common", types.u32, 0), ("data", ops, 64))
    assert types.reasons()[0].rule == "value"

    types = Types()
    types.ops(("x", types.u32, 0))
    types.value(("common", types.common, 0), ("data", types.u32, 64))
    assert types.reasons()[0].why == "struct bpf_struct_ops_t_ops does not hold struct t_ops"
