"""Decode ``.BTF.ext``: function info, line info and CO-RE relocations.

``Documentation/bpf/btf.rst`` has the layout. Behind the header, each part has
a record size, and for each ELF section a name, a count and the records.
"""

from __future__ import annotations

from collections.abc import Callable
from struct import Struct as Layout
from typing import Generic, NamedTuple, TypeVar

from structops_cli.btf.btf import Btf
from structops_cli.btf.header import parse_preamble
from structops_cli.errors import BtfError
from structops_cli.syscall.uapi import BtfKind, CoreReloKind

_INSN_SIZE = 8
_PREAMBLE_SIZE = 8
_OLD_LENGTH, _LENGTH = 24, 32
"""Bytes of the header without and with CO-RE relocations (LLVM 10)."""
_WORD = Layout("<I")
_PAIR = Layout("<II")
_FUNC_INFO = Layout("<II")
_LINE_INFO = Layout("<IIII")
_CORE_RELO = Layout("<IIII")
_KNOWN_RELOS = frozenset(CoreReloKind)


class FuncInfo(NamedTuple):
    """The first instruction of a function. ``type_id`` is its BTF Func."""

    insn_index: int
    type_id: int


class LineInfo(NamedTuple):
    """The source line of an instruction. Offsets are into the object's BTF strings."""

    insn_index: int
    file_name_off: int
    line_off: int
    line_col: int

    @property
    def line(self) -> int:
        """The line number, from 1."""
        return self.line_col >> 10


class CoreRelo(NamedTuple):
    """One CO-RE relocation: an access string and a ``CoreReloKind``."""

    insn_index: int
    type_id: int
    access: str
    kind: int


class BtfExt(NamedTuple):
    """The records by section name. Instruction indexes count from the section's start.

    ``unknown`` names skipped parts, which a newer tool wrote.
    """

    func_info: dict[str, tuple[FuncInfo, ...]]
    line_info: dict[str, tuple[LineInfo, ...]]
    core_relos: dict[str, tuple[CoreRelo, ...]]
    unknown: tuple[str, ...] = ()


_Info = TypeVar("_Info", FuncInfo, LineInfo, CoreRelo)


class _Part(NamedTuple, Generic[_Info]):
    """One of the three parts: its name, the known layout of a record, and its decoder."""

    name: str
    layout: Layout
    decode: Callable[[tuple[int, ...]], _Info]


def parse_ext(data: bytes, btf: Btf, *, origin: str = ".BTF.ext") -> BtfExt:
    """Decode a whole .BTF.ext and check it against the ``btf`` of the same object.

    Records may be longer than known. The records of a section must be in the
    order of their instructions. Raises BtfError, which names the ELF section.
    """
    reader = _Reader(data, btf, origin)
    func_info, line_info, core_relos = reader.extents()
    return BtfExt(
        reader.sections(_Part("func_info", _FUNC_INFO, reader.func_info), *func_info),
        reader.sections(_Part("line_info", _LINE_INFO, reader.line_info), *line_info),
        reader.sections(_Part("core_relo", _CORE_RELO, reader.core_relo), *core_relos),
        tuple(reader.unknown),
    )


def _unknown_in_header(data: bytes) -> list[str]:
    """Describe the fields behind the three known parts: pairs of an offset and a length."""
    whole = len(data) - len(data) % _PAIR.size
    sizes = [size for _, size in _PAIR.iter_unpack(data[:whole])]
    found = [f"part {number} of {size} bytes" for number, size in enumerate(sizes, 4) if size]
    return [*found, f"the last {len(data) - whole} bytes of the header"] if any(data[whole:]) else found


class _Reader:
    """Reads the three parts of one .BTF.ext."""

    def __init__(self, data: bytes, btf: Btf, origin: str) -> None:
        self._data = data
        self._btf = btf
        self._origin = origin
        self.unknown: list[str] = []
        """The parts skipped so far."""

    def extents(self) -> list[tuple[int, int]]:
        """Return the start and the length of each part, (0, 0) if the header lacks it."""
        length = parse_preamble(self._data, _OLD_LENGTH, self._origin).length
        if _OLD_LENGTH < length < _LENGTH:
            why = f"its header has {length} bytes, neither 24 nor 32"
            raise BtfError(f"{self._origin} is damaged", why=why)
        self.unknown += _unknown_in_header(self._data[_LENGTH:length])
        pairs = list(_PAIR.iter_unpack(self._data[_PREAMBLE_SIZE : min(length, _LENGTH)]))
        return [(length + offset, size) for offset, size in pairs] + [(0, 0)] * (3 - len(pairs))

    def sections(self, part: _Part[_Info], at: int, size: int) -> dict[str, tuple[_Info, ...]]:
        """Decode the part of ``size`` bytes at ``at`` into records by ELF section."""
        if size == 0:
            return {}
        end = at + size
        if at % 4 or end > len(self._data) or size < _WORD.size:
            raise self._error(part, f"bytes {at} to {end} of {len(self._data)} cannot hold it")
        (stride,) = _WORD.unpack_from(self._data, at)
        if stride < part.layout.size or stride % 4:
            raise self._error(
                part, f"its records have {stride} bytes, fewer than the known {part.layout.size}"
            )
        if more := stride - part.layout.size:
            self.unknown.append(f"the last {more} bytes of each {part.name} record")
        at += _WORD.size
        found: dict[str, tuple[_Info, ...]] = {}
        while at < end:
            section, count = self._block(part, at, end, stride)
            if section in found:
                raise self._error(part, "the section occurs twice", section)
            at += _PAIR.size
            found[section] = self._records(part, section, self._data[at : at + count * stride], stride)
            at += count * stride
        return found

    def _block(self, part: _Part[_Info], at: int, end: int, stride: int) -> tuple[str, int]:
        """Read the head of a block: the name of the ELF section, and the record count."""
        if end - at < _PAIR.size:
            raise self._error(part, f"{end - at} bytes are left at byte {at}, too few for a section")
        name_off, count = _PAIR.unpack_from(self._data, at)
        try:
            section = self._btf.names[name_off]
        except BtfError as error:
            raise self._error(part, f"the name of a section: {error}") from error
        room = (end - at - _PAIR.size) // stride
        if not 0 < count <= room:
            raise self._error(part, f"it has {count} records, and 1 to {room} fit", section)
        return section, count

    def _records(self, part: _Part[_Info], section: str, data: bytes, stride: int) -> tuple[_Info, ...]:
        """Decode the records of one ELF section, ``stride`` bytes each."""
        records = []
        last = -1
        for at in range(0, len(data), stride):
            words = part.layout.unpack_from(data, at)
            offset = words[0]
            if offset % _INSN_SIZE:
                raise self._error(part, f"byte {offset} is not the start of an instruction", section)
            if offset <= last:
                raise self._error(part, f"byte {offset} comes after byte {last}, out of order", section)
            last = offset
            try:
                records.append(part.decode(words))
            except BtfError as error:
                raise self._error(part, f"the record for byte {offset}: {error}", section) from error
        return tuple(records)

    def func_info(self, words: tuple[int, ...]) -> FuncInfo:
        """Decode ``struct bpf_func_info``."""
        offset, type_id = words
        if self._btf.kind(type_id) != BtfKind.FUNC:
            raise BtfError(f"type {type_id} is not a function")
        return FuncInfo(offset // _INSN_SIZE, type_id)

    def line_info(self, words: tuple[int, ...]) -> LineInfo:
        """Decode ``struct bpf_line_info``. Its strings are read only to show a line."""
        offset, file_name_off, line_off, line_col = words
        if max(file_name_off, line_off) >= self._btf.strings.end:
            raise BtfError(f"a string is at offset {max(file_name_off, line_off)}, beyond the strings")
        return LineInfo(offset // _INSN_SIZE, file_name_off, line_off, line_col)

    def core_relo(self, words: tuple[int, ...]) -> CoreRelo:
        """Decode ``struct bpf_core_relo``."""
        offset, type_id, access_off, kind = words
        self._btf.kind(type_id)
        if kind not in _KNOWN_RELOS:
            raise BtfError(f"there is no CO-RE relocation of kind {kind}")
        return CoreRelo(offset // _INSN_SIZE, type_id, self._btf.names[access_off], kind)

    def _error(self, part: _Part[_Info], why: str, section: str | None = None) -> BtfError:
        if section is None:
            return BtfError(f"{self._origin}: {part.name} is damaged", why=why)
        what = f"{self._origin}: {part.name} of section {section or 'without a name'} is damaged"
        return BtfError(what, why=why, section=section)
