"""Convert data members to text and back: names, numbers, flags, and nested values."""

from __future__ import annotations

from collections.abc import Iterable
from enum import IntEnum
from struct import Struct as Layout
from typing import TYPE_CHECKING, Self, TypeAlias

from structops_cli.btf.btf import Btf
from structops_cli.btf.layout import innermost, may_be_cut, resolve, size_of
from structops_cli.btf.types import Array, BtfType, Enum, Enum64, Int, Ptr, Struct, Union, UnknownKind
from structops_cli.errors import UsageError
from structops_cli.obj.assign import locate, stored
from structops_cli.struct_ops.catalogue import KernelMember, StructOpsType
from structops_cli.struct_ops.kinds import kind_of
from structops_cli.struct_ops.kinds.kind import Need
from structops_cli.syscall.uapi import BtfIntEncoding

if TYPE_CHECKING:
    from typing import Protocol

    class Readable(Protocol):
        """An object that is sliced like bytes."""

        def __getitem__(self, part: slice, /) -> bytes: ...


MOST_ELEMENTS = 16
"""The elements of an array that a command shows."""
CHARACTERS_PER_ELEMENT = 16
"""The characters of a text that count as one element."""
TEXT_BYTES = 4096
"""Bytes that are looked at for the end of a text before all are."""

MemberValue: TypeAlias = "int | bool | str | list[MemberValue] | dict[str, MemberValue] | None"


class EnumeratorName(str):
    """The name of an enumerator; C writes it without quotes."""

    __slots__ = ()


class ShortList(list[MemberValue]):
    """The first elements of an array; ``omitted`` others follow."""

    __slots__ = ("omitted",)

    def __init__(self, values: list[MemberValue], omitted: int) -> None:
        super().__init__(values)
        self.omitted = omitted


class ShortText(str):
    """The beginning of a text, or of bytes in hexadecimal; ``omitted`` bytes follow."""

    __slots__ = ("omitted",)
    omitted: int

    def __new__(cls, text: str, omitted: int) -> Self:
        """Return a text with the number of its missing bytes."""
        short = super().__new__(cls, text)
        short.omitted = omitted
        return short


def encode_member(kernel_type: StructOpsType, member: KernelMember, text: str) -> bytes:
    """Return the bytes of a data member from text: a name, a number, or flags such as ``A|B``."""
    if member.proto is not None:
        raise UsageError(
            f"{kernel_type.name}.{member.name} is a function pointer, and only data members can be set",
            hint="assign a program to it in the object",
            member=member.name,
        )
    kind = kind_of(kernel_type.name)
    if kind.need(member.name) is Need.RESERVED:
        if text == "0":
            return bytes(member.size_bytes)
        raise UsageError(
            f"{kernel_type.name}.{member.name} cannot be set",
            why="the kernel fills it itself",
            hint=f"--set {member.name}=0 leaves it to the kernel",
            member=member.name,
        )
    if member.name in kind.data.flags:
        text = str(_flags(kind.data.flags[member.name], kind.data.flag_prefix, text))
    return encode_text(kernel_type.btf, member.type_id, text, f"{kernel_type.name}.{member.name}")


def encode_text(btf: Btf, type_id: int, text: str, name: str) -> bytes:
    """Return the bytes of a value of any BTF type from text; errors use ``name``."""
    size = size_of(btf, type_id)
    return stored(btf, bytes(size), locate(btf, type_id, name, ""), text).ljust(size, b"\0")


def _flags(flags: type[IntEnum], prefix: str, text: str) -> int:
    """Add up ``A|B``, ``a,b`` or a number."""
    known = {name: int(value) for name, value in flags.__members__.items()}
    total = 0
    for word in text.replace(",", "|").split("|"):
        name = word.strip().upper().removeprefix(prefix)
        try:
            total |= known[name] if name in known else int(word, 0)
        except ValueError:
            raise UsageError(
                f"{word.strip()!r} is no flag and no number", hint=f"flags: {', '.join(known).lower()}"
            ) from None
    return total


def flag_names(kernel_type: StructOpsType, member: str, value: int) -> str:
    """Return the names of the bits of a flags member, "" without names."""
    flags = kind_of(kernel_type.name).data.flags.get(member)
    if flags is None or not value:
        return ""
    names = [item.name.lower() for item in flags if item.name and value & item.value]
    rest = value & ~sum(item.value for item in flags)
    return "|".join([*names, hex(rest)] if rest else names)


def decode_member(kernel_type: StructOpsType, member: KernelMember, raw: bytes) -> MemberValue:
    """Return a data member as text, number, list or mapping; a pointer as a number."""
    return decode_bytes(kernel_type.btf, member.type_id, raw)


def decode_bytes(btf: Btf, type_id: int, raw: bytes) -> MemberValue:
    """Return bytes of any BTF type as text, number, list or mapping."""
    return decode_part(btf, type_id, raw, 0)


def decode_part(btf: Btf, type_id: int, data: Readable, start: int, most: int | None = None) -> MemberValue:
    """Return the value at ``start`` of ``data`` as text, number, list or mapping.

    None for an unknown BTF kind. With ``most``, an array ends as ``ShortList`` or ``ShortText`` after that number of elements, and a nested
    array after half of it. Only the shown part is read.
    """
    kind = resolve(btf, type_id)
    if isinstance(kind, Array):
        return _decode_array(btf, kind, data, start, most)
    if isinstance(kind, Struct | Union):
        return _decode_members(btf, kind, data, start, most)
    if isinstance(kind, UnknownKind):
        return None
    raw = data[start : start + size_of(btf, type_id)]
    if isinstance(kind, Int):
        number = int.from_bytes(raw, "little", signed=bool(kind.encoding & BtfIntEncoding.SIGNED))
        return bool(number) if kind.encoding & BtfIntEncoding.BOOL else number
    if isinstance(kind, Enum | Enum64):
        number = int.from_bytes(raw, "little", signed=kind.signed)
        names = () if may_be_cut(kind) else kind.values
        return next((EnumeratorName(item.name) for item in names if item.value == number), number)
    return int.from_bytes(raw, "little") if isinstance(kind, Ptr) else raw.hex()


def omitted_elements(value: MemberValue) -> int:
    """Return the number of elements and characters that ``decode_part`` left out."""
    parts = value if isinstance(value, list) else value.values() if isinstance(value, dict) else ()
    return getattr(value, "omitted", 0) + sum(map(omitted_elements, parts))


def _decode_array(btf: Btf, array: Array, data: Readable, start: int, most: int | None) -> MemberValue:
    element = resolve(btf, array.element_type)
    if isinstance(element, Int) and element.size_bytes == 1:
        return _decode_text(data, start, array.count, most)
    if isinstance(innermost(btf, array.element_type), UnknownKind):
        return None
    size = size_of(btf, array.element_type)
    count = array.count if size else 0
    shown = count if most is None else min(count, most)
    values = _decode_numbers(element, data, start, shown)
    if values is None:
        places = range(start, start + size * shown, size or 1)
        less = None if most is None else max(most // 2, 1)
        values = _decode_elements(btf, array.element_type, (data[at : at + size] for at in places), less)
    return ShortList(values, count - shown) if shown < count else values


def _decode_numbers(element: BtfType, data: Readable, start: int, count: int) -> list[MemberValue] | None:
    """Return the elements of an array of numbers at once: it may have millions; None for other elements."""
    if not isinstance(element, Int) or element.encoding & BtfIntEncoding.BOOL:
        return None
    code = {2: "h", 4: "i", 8: "q"}.get(element.size_bytes)
    if code is None:
        return None
    layout = Layout(f"<{count}{code if element.encoding & BtfIntEncoding.SIGNED else code.upper()}")
    return list(layout.unpack(data[start : start + layout.size]))


def _decode_elements(
    btf: Btf, type_id: int, elements: Iterable[bytes], most: int | None
) -> list[MemberValue]:
    """Return the elements of an array; those of the same bytes, of which most arrays have many, are one object."""
    known: dict[bytes, MemberValue] = {}
    found = []
    for raw in elements:
        if raw not in known:
            known[raw] = decode_part(btf, type_id, raw, 0, most)
        found.append(known[raw])
    return found


def _decode_text(data: Readable, start: int, count: int, most: int | None) -> str:
    """Return an array of bytes as text, or in hexadecimal."""
    shown = count if most is None else min(count, most * CHARACTERS_PER_ELEMENT)
    raw = data[start : start + min(shown, TEXT_BYTES)]
    if b"\0" not in raw:  # most texts end there, and bytes by the hundred million are not read for them
        raw = data[start : start + shown]
    text, end, _ = raw.partition(b"\0")
    printable = text.isascii() and all(32 <= byte < 127 for byte in text)
    said = text.decode() if printable else data[start : start + shown].hex()
    return said if shown == count or (printable and end) else ShortText(said, count - shown)


def _decode_members(
    btf: Btf, composite: Struct | Union, data: Readable, start: int, most: int | None
) -> MemberValue:
    values: dict[str, MemberValue] = {}
    for index, member in enumerate(composite.members):
        at, shift = start + member.bit_offset // 8, member.bit_offset % 8
        if member.bit_size:
            raw = data[at : at + -(-(shift + member.bit_size) // 8)]
            value: MemberValue = int.from_bytes(raw, "little") >> shift & (1 << member.bit_size) - 1
        else:
            value = decode_part(btf, member.type, data, at, most)
        values[member.name or f"anonymous_{index}"] = value
    return values
