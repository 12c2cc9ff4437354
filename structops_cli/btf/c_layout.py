"""Place members as a C compiler does, and find the padding that BTF offsets need.

BTF records offsets, not the attributes behind them. Larger alignment is
written as padding: an ``aligned`` attribute would also enlarge the type around it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from structops_cli.btf.btf import Btf
from structops_cli.btf.layout import align_of, is_packed, size_of
from structops_cli.btf.types import Composite, Member, Struct, Union
from structops_cli.errors import BtfError

_UNITS = (8, 16, 32, 64)
_MOST_PADDING = 512
"""The most bits of unnamed bit-fields. A larger hole becomes one array."""


class Padding(NamedTuple):
    """An unnamed bit-field of ``bits`` in a unit of ``unit_bits``."""

    unit_bits: int
    bits: int


class Filler(NamedTuple):
    """An array that fills a large hole, or gives a union its size. The printer names it."""

    size_bytes: int


class Layout(NamedTuple):
    """The text between the braces, and whether ``packed`` follows."""

    packed: bool
    items: tuple[Member | Padding | Filler, ...]


def lay_out(btf: Btf, composite: Composite) -> Layout:
    """Return the members, with padding where natural alignment differs from BTF.

    Raises BtfError for members that overlap or end beyond the size.
    """
    packed = is_packed(btf, composite)
    pen = _Pen(btf, composite, packed=packed)
    items = pen.struct(composite) if isinstance(composite, Struct) else pen.union(composite)
    return Layout(packed, tuple(items))


class _Pen:
    """Places members as a compiler does. Positions are bits from the start."""

    def __init__(self, btf: Btf, composite: Composite, *, packed: bool) -> None:
        self._btf = btf
        self._composite = composite
        self._packed = packed
        self._align = align_of(btf, composite.id)
        self._at = 0

    def struct(self, struct: Struct) -> Iterator[Member | Padding | Filler]:
        for member in struct.members:
            if self._natural(member) != member.bit_offset:
                yield from self._pad(member.bit_offset)
            yield member
            self._at = member.bit_offset + self._bits(member)
        size = struct.size_bytes * 8
        if _round_up(self._at, self._align * 8) != size:
            yield from self._pad(size)

    def union(self, union: Union) -> Iterator[Member | Filler]:
        largest = 0
        for member in union.members:
            if member.bit_offset:
                raise self._error(f"member {member.name!r} of a union begins at bit {member.bit_offset}")
            largest = max(largest, self._bits(member))
            yield member
        natural = _round_up(largest, self._align * 8) // 8
        if natural > union.size_bytes:
            raise self._error(f"it has {union.size_bytes} bytes, and its members need {natural}")
        if natural < union.size_bytes:
            yield Filler(union.size_bytes)

    def _bits(self, member: Member) -> int:
        return member.bit_size or size_of(self._btf, member.type) * 8

    def _natural(self, member: Member) -> int:
        """Return the bit at which a compiler puts the member."""
        align = 8 if self._packed else align_of(self._btf, member.type) * 8
        if member.bit_size == 0:
            return _round_up(self._at, align)
        unit = size_of(self._btf, member.type) * 8
        if self._packed or self._at % align + member.bit_size <= unit:
            return self._at
        return _round_up(self._at, align)

    def _pad(self, target: int) -> Iterator[Padding | Filler]:
        """Fill up to ``target``, with the largest unit from its first boundary on."""
        if target < self._at:
            raise self._error(f"the member at bit {target} overlaps the one that ends at bit {self._at}")
        while self._at < target:
            if self._at % 8 == 0 and target - self._at > _MOST_PADDING:
                size = (target - self._at) // 8
                yield Filler(size)
                self._at += size * 8
            else:
                padding = self._padding(target)
                yield padding
                self._at += padding.bits

    def _padding(self, target: int) -> Padding:
        """Return the largest piece that ends at or before ``target``, in the smallest unit."""
        padding = Padding(_UNITS[0], min(target, _round_up(self._at + 1, _UNITS[0])) - self._at)
        for unit in _UNITS[1:]:
            end = _round_up(self._at + 1, unit)
            if self._at + padding.bits < end <= target:
                padding = Padding(unit, end - self._at)
        return padding

    def _error(self, why: str) -> BtfError:
        what = f"{self._btf.origin}: type {self._composite.id} cannot be written as C"
        return BtfError(what, why=why, type_id=self._composite.id)


def _round_up(bits: int, unit: int) -> int:
    return (bits + unit - 1) // unit * unit
