"""The bytes of a data member as the kernel's struct has it, where the object's declares it in another way."""

from __future__ import annotations

from typing import TypeAlias

from structops_cli.btf.types import BtfType, Enum, Enum64, Int
from structops_cli.syscall.uapi import BtfIntEncoding

__all__ = ["Scalar", "as_the_kernels"]

Scalar: TypeAlias = Int | Enum | Enum64
"""Integers, bools and enums: a number of some bytes."""


def as_the_kernels(local: BtfType, kernels: BtfType, data: bytes) -> bytes | None:
    """Return the number that ``data`` holds in the size of the kernel's type; None when it does not fit there.

    None as well when either is no number. A number of the same size keeps its
    bytes, whatever the two types say of its sign.
    """
    if not isinstance(local, Scalar) or not isinstance(kernels, Scalar):
        return None
    if local.size_bytes == kernels.size_bytes:
        return data
    number = int.from_bytes(data, "little", signed=_is_signed(local))
    try:
        return number.to_bytes(kernels.size_bytes, "little", signed=_is_signed(kernels))
    except OverflowError:
        return None


def _is_signed(number: Scalar) -> bool:
    if isinstance(number, Int):
        return bool(number.encoding & BtfIntEncoding.SIGNED)
    return number.signed
