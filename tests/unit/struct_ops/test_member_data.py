"""Numbers of a struct_ops variable in the size that the kernel has for them."""

from __future__ import annotations

import pytest

from structops_cli.btf.types import BtfType, Enum, Enum64, Int, Struct
from structops_cli.struct_ops.plan_members import as_the_kernels


def number(size: int, *, signed: bool = False) -> Int:
    return Int(1, "n", size, int(signed), 0, 8 * size)


@pytest.mark.parametrize(
    ("local", "kernels", "data", "expected"),
    [
        (number(8), number(4), bytes([7, 0, 0, 0, 0, 0, 0, 0]), bytes([7, 0, 0, 0])),
        (number(1), number(8), b"\xff", b"\xff\0\0\0\0\0\0\0"),
        (number(1, signed=True), number(4, signed=True), b"\xfe", b"\xfe\xff\xff\xff"),
        (number(8, signed=True), number(2, signed=True), b"\xfe" + b"\xff" * 7, b"\xfe\xff"),
        (number(4), Enum(1, "e", 8, True, ()), b"\xff" * 4, b"\xff" * 4 + bytes(4)),
        (Enum64(1, "e", 8, True, ()), number(4, signed=True), b"\xff" * 8, b"\xff" * 4),
        (Enum(1, "e", 4, True, ()), number(4), b"\xff" * 4, b"\xff" * 4),
        # what does not fit
        (number(8), number(4), bytes([0, 0, 0, 0, 1, 0, 0, 0]), None),
        (number(4), number(2, signed=True), b"\0\x80\0\0", None),
        (number(1, signed=True), number(4), b"\xff", None),
        # what is no number
        (Struct(1, "s", 4, (), False), number(4), bytes(4), None),
        (number(4), Struct(1, "s", 4, (), False), bytes(4), None),
    ],
)
def test_a_number_keeps_its_value(
    local: BtfType, kernels: BtfType, data: bytes, expected: bytes | None
) -> None:
    assert as_the_kernels(local, kernels, data) == expected
