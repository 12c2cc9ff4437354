"""Decode the header of a BTF (``struct btf_header``, ``include/uapi/linux/btf.h``).

Since Linux 7.1 the header has 32 bytes and names a layout section, with
``{u8 info_sz, u8 elem_sz, u16 flags}`` for each kind. A reader skips types
of unknown kinds by it. A longer header states its own length.
"""

from __future__ import annotations

from itertools import combinations
from struct import Struct
from typing import TYPE_CHECKING, NamedTuple

from structops_cli.errors import BtfError
from structops_cli.syscall.uapi import BTF_MAGIC

if TYPE_CHECKING:
    from mmap import mmap

_PREAMBLE = Struct("<HBBI")
_LENGTHS = Struct("<IIII")
_LAYOUT = Struct("<II")
_SWAPPED_MAGIC = int.from_bytes(BTF_MAGIC.to_bytes(2, "little"), "big")
_SHORTEST = _PREAMBLE.size + _LENGTHS.size
_KNOWN_LENGTH = _SHORTEST + _LAYOUT.size


class Preamble(NamedTuple):
    """The first fields of the headers of BTF and of .BTF.ext."""

    magic: int
    version: int
    flags: int
    length: int


class Sections(NamedTuple):
    """Absolute offsets and lengths of the sections, in bytes.

    The layout has length 0 if there is none. ``unknown_header`` counts the
    unknown bytes at the end of the header, 0 if all are zero.
    """

    types_offset: int
    types_length: int
    strings_offset: int
    strings_length: int
    layout_offset: int
    layout_length: int
    unknown_header: int


def parse_preamble(data: bytes | mmap, shortest: int, origin: str) -> Preamble:
    """Decode the first 8 bytes of a header of BTF or of .BTF.ext.

    Raises BtfError for another magic, version, byte order or flags, and for a
    header shorter than ``shortest`` or longer than the data.
    """
    if len(data) < _PREAMBLE.size:
        raise BtfError(f"{origin} is damaged", why=f"{len(data)} bytes are too few for a header")
    preamble = Preamble._make(_PREAMBLE.unpack_from(data))
    if preamble.magic == _SWAPPED_MAGIC:
        why = "its byte order is big-endian"
        raise BtfError(f"{origin} cannot be read", why=why, hint="build it for a little-endian target")
    if preamble.magic != BTF_MAGIC:
        why = f"it begins with {preamble.magic:#06x}, not with {BTF_MAGIC:#06x}"
        raise BtfError(f"{origin} is not BTF", why=why)
    if preamble.version != 1:
        raise BtfError(
            f"{origin} cannot be read", why=f"its version is {preamble.version}, and only 1 is known"
        )
    if preamble.flags != 0:
        raise BtfError(f"{origin} cannot be read", why=f"its header has unknown flags {preamble.flags:#x}")
    _check_length(data, preamble.length, shortest, origin)
    return preamble


def _check_length(data: bytes | mmap, length: int, shortest: int, origin: str) -> None:
    if length < shortest:
        raise BtfError(f"{origin} is damaged", why=f"a header of {length} bytes is shorter than {shortest}")
    if length > len(data):
        why = f"its header has {length} bytes, and the whole has {len(data)}"
        raise BtfError(f"{origin} is damaged", why=why)


def parse_sections(data: bytes | mmap, origin: str, *, split: bool = False) -> Sections:
    """Decode the header of a BTF. Sections must lie within ``data`` and not overlap.

    ``split`` is true for BTF that continues another one, as of a module.
    """
    start = parse_preamble(data, _SHORTEST, origin).length
    types_offset, types_length, strings_offset, strings_length = _LENGTHS.unpack_from(data, _PREAMBLE.size)
    layout_offset, layout_length = _layout(data, start, origin)
    unknown = max(0, start - _KNOWN_LENGTH) if any(data[_KNOWN_LENGTH:start]) else 0
    sections = Sections(
        start + types_offset,
        types_length,
        start + strings_offset,
        strings_length,
        start + layout_offset,
        layout_length,
        unknown,
    )
    if types_offset % 4:
        why = f"its types begin at {types_offset}, not a multiple of 4"
        raise BtfError(f"{origin} is damaged", why=why)
    _check_extent(data, sections.types_offset, types_length, "type", origin)
    _check_extent(data, sections.strings_offset, strings_length, "string", origin)
    _check_extent(data, sections.layout_offset, layout_length, "layout", origin)
    _check_apart(sections, origin)
    _check_strings(data, sections, split=split, origin=origin)
    return sections


def _layout(data: bytes | mmap, length: int, origin: str) -> tuple[int, int]:
    """Return the place of the layout section, (0, 0) for a header without it."""
    if length < _KNOWN_LENGTH:
        if any(data[_SHORTEST:length]):
            why = f"its header has {length} bytes, neither {_SHORTEST} nor {_KNOWN_LENGTH}"
            raise BtfError(f"{origin} is damaged", why=why)
        return 0, 0
    offset, size = _LAYOUT.unpack_from(data, _SHORTEST)
    if offset % 4 or size % 4:
        why = f"its layout is at {offset} and has {size} bytes, not multiples of 4"
        raise BtfError(f"{origin} is damaged", why=why)
    return (offset, size) if size else (0, 0)


def _check_extent(data: bytes | mmap, offset: int, length: int, section: str, origin: str) -> None:
    if offset + length > len(data):
        why = f"its {section} section ends at byte {offset + length}, and it has {len(data)}"
        raise BtfError(f"{origin} is damaged", why=why, offset=offset)


def _check_apart(sections: Sections, origin: str) -> None:
    places = (
        ("types", sections.types_offset, sections.types_length),
        ("strings", sections.strings_offset, sections.strings_length),
        ("layout", sections.layout_offset, sections.layout_length),
    )
    for (name, at, length), (other, there, size) in combinations(places, 2):
        if length and size and at < there + size and there < at + length:
            why = f"its {name} (from byte {at}) and its {other} (from byte {there}) overlap"
            raise BtfError(f"{origin} is damaged", why=why, offset=max(at, there))


def _check_strings(data: bytes | mmap, sections: Sections, *, split: bool, origin: str) -> None:
    start, length = sections.strings_offset, sections.strings_length
    why = ""
    if length == 0:
        why = "" if split else "it has no strings, not even the empty one"
    elif data[start + length - 1] != 0:
        why = "the string section does not end with a NUL"
    elif data[start] != 0 and not split:
        why = "the string section does not begin with a NUL"
    if why:
        raise BtfError(f"{origin} is damaged", why=why, offset=start)
