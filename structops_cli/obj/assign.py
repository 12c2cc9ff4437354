"""Set a variable, or a part of one, from the text of ``--const`` and ``--set``.

A path names the part as in C (``a.b[2]``). It may cross anonymous structs and
unions. The type of the part decides which text fits:

* integers: decimal, ``0x``, ``0o`` or ``0b``, with a sign, in the range of the type or bit-field;
* bool: ``true``, ``false``, ``1``, ``0``;
* enums: the name of a value, or a number;
* ``char``: one character, or a number;
* an array of ``char``: text, shorter than the array; the rest is zeroed;
* another array: the first elements, separated by commas; the rest is zeroed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from structops_cli.btf.btf import Btf
from structops_cli.btf.layout import CUT, may_be_cut, resolve, size_of
from structops_cli.btf.types import Array, BtfType, Composite, Enum, Enum64, Float, Int, Ptr, Struct, Union
from structops_cli.errors import UsageError
from structops_cli.obj.sparse_bytes import SparseBytes
from structops_cli.syscall.uapi import BtfIntEncoding

_BOOLS = {"true": 1, "false": 0, "1": 1, "0": 0}
_MAX_SUGGESTIONS = 64


class Location(NamedTuple):
    """A part of a variable. ``type`` is resolved; offsets count from the variable's start."""

    path: str
    type: BtfType
    bit_offset: int
    bit_size: int

    @property
    def first_byte(self) -> int:
        """The first byte of the part."""
        return self.bit_offset // 8

    @property
    def end_byte(self) -> int:
        """One past the last byte of the part."""
        return -(-(self.bit_offset + self.bit_size) // 8)


def locate(btf: Btf, type_id: int, name: str, rest: str) -> Location:
    """Follow a path such as ``.b[2]`` from the variable ``name`` of type ``type_id``.

    Raises UsageError with the existing names for a path that leads nowhere.
    """
    path, bit_offset, bit_size = name, 0, 0
    for member, index in _steps(name, rest):
        target = resolve(btf, type_id)
        if member:
            type_id, offset, bit_size = _member(btf, target, path, member)
            path = f"{path}.{member}"
        else:
            type_id, offset, bit_size = _element(btf, target, path, int(index))
            path = f"{path}[{index}]"
        bit_offset += offset
    return Location(path, resolve(btf, type_id), bit_offset, bit_size or size_of(btf, type_id) * 8)


def stored(btf: Btf, data: bytes | SparseBytes, location: Location, text: str) -> bytes:
    """Return the bytes of the part at ``location`` after it is set to ``text``.

    The bytes of an array end with its last element in ``text``. Raises
    UsageError for text that does not fit the type.
    """
    if isinstance(location.type, Array):
        return _elements(btf, location, location.type, text)
    first, end = location.first_byte, location.end_byte
    shift, mask = location.bit_offset % 8, (1 << location.bit_size) - 1
    bits = int.from_bytes(data[first:end], "little") & ~(mask << shift)
    bits |= (_value(location, text) & mask) << shift
    return bits.to_bytes(end - first, "little")


def out_of_place(location: Location, size_bytes: int) -> UsageError:
    """Return the error for a part beyond the end of its variable."""
    return _refused(location, f"it ends at byte {location.end_byte}, and the variable has {size_bytes} bytes")


def _steps(name: str, rest: str) -> Iterator[tuple[str, str]]:
    """Yield each step of a path as (member, "") or ("", index)."""
    end = 0
    for step in re.finditer(r"\.([^\W\d]\w*)|\[(\d{1,10})\]", rest):
        if step.start() != end:
            break
        end = step.end()
        yield step[1] or "", step[2] or ""
    if end != len(rest):
        why = f"{rest[end:]} is neither a member nor an element"
        hint = "write members as .NAME, elements as [NUMBER]"
        raise UsageError(f"{name}{rest} is not a path", why=why, hint=hint, variable=name)


def _member(btf: Btf, target: BtfType, path: str, name: str) -> tuple[int, int, int]:
    """Return type id, bit offset and bit-field size of a member. The size is 0 without a bit-field."""
    if not isinstance(target, Struct | Union):
        raise UsageError(f"{path} has no members", why=f"it is {_label(target)}", variable=path)
    known: list[str] = []
    for found, place in _members(btf, target):
        if found == name:
            return place
        known.append(found)
    why = f"the members are {', '.join(known[:_MAX_SUGGESTIONS])}"
    raise UsageError(f"{path} has no member {name}", why=why, variable=path, member=name, candidates=known)


def _members(btf: Btf, composite: Composite) -> Iterator[tuple[str, tuple[int, int, int]]]:
    """Yield named members with their places, through anonymous structs and unions."""
    for member in composite.members:
        inner = None if member.name else resolve(btf, member.type)
        if member.name:
            yield member.name, (member.type, member.bit_offset, member.bit_size)
        elif isinstance(inner, Struct | Union):
            for name, (type_id, offset, size) in _members(btf, inner):
                yield name, (type_id, member.bit_offset + offset, size)


def _element(btf: Btf, target: BtfType, path: str, index: int) -> tuple[int, int, int]:
    if not isinstance(target, Array):
        raise UsageError(f"{path} has no elements", why=f"it is {_label(target)}", variable=path)
    if index >= target.count:
        why = f"it has {target.count}, counted from 0"
        raise UsageError(f"{path} has no element {index}", why=why, variable=path)
    return target.element_type, index * size_of(btf, target.element_type) * 8, 0


def _elements(btf: Btf, location: Location, array: Array, text: str) -> bytes:
    """Return the bytes of an array: text for char, numbers for other elements."""
    element = resolve(btf, array.element_type)
    if isinstance(element, Int) and element.name == "char":
        return _characters(location, array, text)
    size = size_of(btf, array.element_type)
    if isinstance(element, Array | Struct | Union):
        why = f"it is an array of {array.count} elements: each is {_label(element)}"
        raise _refused(location, why, f"set parts of them: {location.path}[0]...={text}")
    words = text.split(",")
    if len(words) > array.count:
        why = f"{text!r} has {len(words)} elements; there is room for {array.count}"
        raise _refused(location, why)
    places = (Location(f"{location.path}[{index}]", element, 0, 8 * size) for index in range(len(words)))
    return b"".join(
        stored(btf, bytes(size), place, word.strip()) for place, word in zip(places, words, strict=True)
    )


def _characters(location: Location, array: Array, text: str) -> bytes:
    raw = text.encode()
    if len(raw) >= array.count:
        raise _refused(
            location, f"{text!r} has {len(raw)} bytes; there is room for {max(array.count - 1, 0)}"
        )
    if 0 in raw:
        raise _refused(location, f"{text!r} contains a NUL")
    return raw


def _value(location: Location, text: str) -> int:
    """Return the number that a text means for the type at a location."""
    target = location.type
    if isinstance(target, Enum | Enum64):
        return _enumerator(location, target, text)
    if isinstance(target, Int) and target.encoding & BtfIntEncoding.BOOL:
        if text not in _BOOLS:
            raise _refused(location, f"{text!r} is not one of {', '.join(_BOOLS)}")
        return _BOOLS[text]
    if isinstance(target, Int):
        if target.name == "char" and len(text) == 1 and text.isascii() and not text.isdigit():
            return ord(text)
        return _number(location, text, bool(target.encoding & BtfIntEncoding.SIGNED))
    hints = {
        Float: "BPF has no floating point",
        Ptr: "an address cannot be given as text",
        Struct: "set its members",
    }
    raise _refused(location, f"it is {_label(target)}", hints.get(type(target), ""))


def _enumerator(location: Location, enum: Enum | Enum64, text: str) -> int:
    for name, value in enum.values:
        if name == text and may_be_cut(enum):
            raise _refused(location, f"the object's BTF has {CUT}", "give the number")
        if name == text:
            return value
    if text[:1].isdigit() or text[:1] in {"-", "+"}:
        return _number(location, text, enum.signed)
    names = [value.name for value in enum.values]
    why = f"{text!r} is not one of {', '.join(names[:_MAX_SUGGESTIONS])}"
    raise UsageError(f"{location.path} cannot be set", why=why, variable=location.path, candidates=names)


def _number(location: Location, text: str, signed: bool) -> int:
    try:
        value = int(text, 0)
    except ValueError as error:
        raise _refused(location, f"{text!r} is not a whole number") from error
    low = -(1 << location.bit_size - 1) if signed else 0
    high = (1 << location.bit_size - signed) - 1
    if not low <= value <= high:
        raise _refused(location, f"{text} is not within {low} to {high}")
    return value


def _refused(location: Location, why: str, hint: str = "") -> UsageError:
    return UsageError(f"{location.path} cannot be set", why=why, hint=hint, variable=location.path)


def _label(target: BtfType) -> str:
    name = getattr(target, "name", "")
    return f"{type(target).__name__.lower()} {name}".rstrip()
