"""The header of a BTF: where its two sections lie (``struct btf_header``, ``include/uapi/linux/btf.h``)."""

from __future__ import annotations

from struct import Struct
from typing import TYPE_CHECKING

from structops_cli.errors import BtfError
from structops_cli.records import NamedTuple
from structops_cli.syscall.uapi import BTF_MAGIC

if TYPE_CHECKING:
    from mmap import mmap

__all__ = ["Preamble", "Sections", "parse_preamble", "parse_sections"]

_PREAMBLE = Struct("<HBBI")
_LENGTHS = Struct("<IIII")
_SWAPPED_MAGIC = int.from_bytes(BTF_MAGIC.to_bytes(2, "little"), "big")
_KNOWN_LENGTH = _PREAMBLE.size + _LENGTHS.size


class Preamble(NamedTuple):
    """What the headers of BTF and of .BTF.ext begin with."""

    magic: int
    version: int
    flags: int
    length: int


class Sections(NamedTuple):
    """Where the types and the strings lie: absolute offsets and lengths in bytes."""

    types_offset: int
    types_length: int
    strings_offset: int
    strings_length: int


def parse_preamble(data: bytes | mmap, shortest: int, origin: str, *, longest: int = 0) -> Preamble:
    """Decode the first 8 bytes of a header of BTF or of .BTF.ext and refuse what is not known.

    The whole header has at least ``shortest`` bytes, and the first ``longest``
    (the same unless given) are known to the caller. A longer one is accepted
    when the rest is zero, as the kernel does (``btf_parse_hdr``).
    """
    if len(data) < _PREAMBLE.size:
        raise BtfError(f"{origin} is damaged", why=f"{len(data)} bytes are too few for a header")
    preamble = Preamble._make(_PREAMBLE.unpack_from(data))
    if preamble.magic == _SWAPPED_MAGIC:
        why = "it is of the other byte order (big-endian)"
        raise BtfError(f"{origin} cannot be read", why=why, hint="build it for a little-endian target")
    if preamble.magic != BTF_MAGIC:
        why = f"it begins with {preamble.magic:#06x}, not with {BTF_MAGIC:#06x}"
        raise BtfError(f"{origin} is no BTF", why=why)
    if preamble.version != 1:
        raise BtfError(f"{origin} cannot be read", why=f"its version is {preamble.version}, only 1 is known")
    if preamble.flags != 0:
        raise BtfError(f"{origin} cannot be read", why=f"its header has unknown flags {preamble.flags:#x}")
    _check_length(data, preamble.length, shortest, max(shortest, longest), origin)
    return preamble


def _check_length(data: bytes | mmap, length: int, shortest: int, longest: int, origin: str) -> None:
    """Refuse a header that is too short, too long, or says more than is known."""
    if length < shortest:
        raise BtfError(f"{origin} is damaged", why=f"a header of {length} bytes is shorter than {shortest}")
    if length > len(data):
        why = f"its header has {length} bytes, and all of it {len(data)}"
        raise BtfError(f"{origin} is damaged", why=why)
    if any(data[longest:length]):
        why = f"its header has {length - longest} more bytes than are known, and they are not zero"
        raise BtfError(f"{origin} cannot be read", why=why)


def parse_sections(data: bytes | mmap, origin: str, *, split: bool = False) -> Sections:
    """Decode the header of a BTF and check that both sections lie within ``data``, apart from each other.

    ``split`` is true for the BTF of a module, which continues another one.
    """
    preamble = parse_preamble(data, _KNOWN_LENGTH, origin)
    types_offset, types_length, strings_offset, strings_length = _LENGTHS.unpack_from(data, _PREAMBLE.size)
    start = preamble.length
    sections = Sections(start + types_offset, types_length, start + strings_offset, strings_length)
    if types_offset % 4:
        why = f"its types begin at {types_offset}, which is no multiple of 4"
        raise BtfError(f"{origin} is damaged", why=why)
    _check_extent(data, sections.types_offset, types_length, "type", origin)
    _check_extent(data, sections.strings_offset, strings_length, "string", origin)
    _check_apart(sections, origin)
    _check_strings(data, sections, split=split, origin=origin)
    return sections


def _check_extent(data: bytes | mmap, offset: int, length: int, section: str, origin: str) -> None:
    if offset + length > len(data):
        why = f"its {section} section ends at byte {offset + length}, and it has {len(data)}"
        raise BtfError(f"{origin} is damaged", why=why, offset=offset)


def _check_apart(sections: Sections, origin: str) -> None:
    types, types_length, strings, strings_length = sections
    if types < strings + strings_length and strings < types + types_length:
        why = f"its types (from byte {types}) and its strings (from byte {strings}) overlap"
        raise BtfError(f"{origin} is damaged", why=why, offset=max(types, strings))


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
