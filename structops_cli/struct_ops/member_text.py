"""Data members of a struct_ops type as text and back: names, numbers, flags by symbol, and whatever nests in them."""

from __future__ import annotations

from typing import TypeAlias

from structops_cli.btf.btf import Btf
from structops_cli.btf.layout import resolve, size_of
from structops_cli.btf.types import Array, Enum, Enum64, Int, Ptr, Struct, Union
from structops_cli.errors import UsageError
from structops_cli.obj.assign import locate, store
from structops_cli.records import IntEnum
from structops_cli.struct_ops.catalogue import KernelMember, StructOpsType
from structops_cli.struct_ops.kinds import Need, kind_of
from structops_cli.syscall.uapi import BtfIntEncoding

__all__ = [
    "MemberValue",
    "Symbol",
    "decode_bytes",
    "decode_member",
    "encode_member",
    "encode_text",
    "flag_names",
]

MemberValue: TypeAlias = "int | bool | str | list[MemberValue] | dict[str, MemberValue] | None"


class Symbol(str):
    """The name of an enumerator, as opposed to text."""

    __slots__ = ()


def encode_member(kernel_type: StructOpsType, member: KernelMember, text: str) -> bytes:
    """Return the bytes of a data member from text: a name, a number, an enumerator, or flags as ``A|B``."""
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
    if member.name in kind.flags:
        text = str(_flags(kind.flags[member.name], kind.flag_prefix, text))
    return encode_text(kernel_type.btf, member.type_id, text, f"{kernel_type.name}.{member.name}")


def encode_text(btf: Btf, type_id: int, text: str, name: str) -> bytes:
    """Return the bytes of a value of any BTF type from text; ``name`` is what an error calls it."""
    return store(btf, bytes(size_of(btf, type_id)), locate(btf, type_id, name, ""), text)


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
    """Return the names of the bits of a flags member, "" when the kind knows none."""
    flags = kind_of(kernel_type.name).flags.get(member)
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
    kind = resolve(btf, type_id)
    if isinstance(kind, Int):
        number = int.from_bytes(raw, "little", signed=bool(kind.encoding & BtfIntEncoding.SIGNED))
        return bool(number) if kind.encoding & BtfIntEncoding.BOOL else number
    if isinstance(kind, Enum | Enum64):
        number = int.from_bytes(raw, "little", signed=kind.signed)
        return next((Symbol(item.name) for item in kind.values if item.value == number), number)
    if isinstance(kind, Ptr):
        return int.from_bytes(raw, "little")
    if isinstance(kind, Array):
        return _decode_array(btf, kind, raw)
    if isinstance(kind, Struct | Union):
        return _decode_members(btf, kind, raw)
    return raw.hex()


def _decode_array(btf: Btf, array: Array, raw: bytes) -> MemberValue:
    element = resolve(btf, array.element_type)
    if isinstance(element, Int) and element.size_bytes == 1:
        text = raw.split(b"\0", 1)[0]
        if text.isascii() and all(32 <= byte < 127 for byte in text):
            return text.decode()
        return raw.hex()
    size = size_of(btf, array.element_type)
    return (
        [
            decode_bytes(btf, array.element_type, raw[at : at + size])
            for at in range(0, size * array.count, size)
        ]
        if size
        else []
    )


def _decode_members(btf: Btf, composite: Struct | Union, raw: bytes) -> MemberValue:
    values: dict[str, MemberValue] = {}
    for index, member in enumerate(composite.members):
        if member.bit_size:
            number = int.from_bytes(raw, "little") >> member.bit_offset
            value: MemberValue = number & (1 << member.bit_size) - 1
        else:
            start = member.bit_offset // 8
            value = decode_bytes(btf, member.type, raw[start : start + size_of(btf, member.type)])
        values[member.name or f"anonymous_{index}"] = value
    return values
