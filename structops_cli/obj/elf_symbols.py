"""Unpack the symbol table and the relocations of an ELF object.

There are hundreds of them. A construct of pyelftools takes 50 us for each,
this sweep over fixed-size records 0.5 us. Only relocations of loaded sections
are read: those of BTF and debug information repeat the symbols.
"""

from __future__ import annotations

from collections.abc import Iterator
from operator import attrgetter
from struct import Struct
from typing import Unpack

from structops_cli.errors import ElfError, ErrorFields
from structops_cli.obj.elf_values import ElfRelocation, RelocationType, Section, Symbol

MAX_SYMBOLS = 1 << 18
MAX_RELOCATIONS = 1 << 18
MAX_NAME_BYTES = 1024

_SYMBOL = Struct("<IBBHQQ")
_RELOCATION = Struct("<QII")
_RELOCATION_TYPES = frozenset(map(int, RelocationType))
_HIDDEN = (1, 2)
"""STV_INTERNAL and STV_HIDDEN, the last two bits of ``st_other``."""
_SHN_LORESERVE = 0xFF00
_SHN_COMMON = 0xFFF2


def damaged(what: str, why: str, **fields: Unpack[ErrorFields]) -> ElfError:
    """Return the error for bytes that no compiler writes."""
    return ElfError(what, why=why, hint="the file is damaged: compile it or copy it again", **fields)


def name_at(strings: bytes, offset: int, owner: str) -> str:
    """Return the string at ``offset`` of a string table. ``owner`` is for messages."""
    end = strings.find(b"\0", offset, offset + MAX_NAME_BYTES) if offset < len(strings) else -1
    if end < 0:
        why = f"offset {offset} is not the start of a string of less than {MAX_NAME_BYTES} bytes"
        raise damaged(f"the name of {owner} is damaged", why, offset=offset)
    try:
        return strings[offset:end].decode()
    except UnicodeDecodeError as error:
        raise damaged(f"the name of {owner} is damaged", "it is not UTF-8 text", offset=offset) from error


def symbol_table(sections: tuple[Section, ...]) -> Section:
    """Return the one symbol table. Raises ElfError if there is none, or it is unusable."""
    tables = [section for section in sections if section.type == "SHT_SYMTAB"]
    if not tables:
        hint = "strip it with llvm-strip -g, which keeps the symbols"
        raise ElfError("there is no symbol table", why="it was stripped from the object", hint=hint)
    table = tables[0]
    count, rest = divmod(len(table.data), _SYMBOL.size)
    why = ""
    if len(tables) > 1:
        why = f"there are {len(tables)} of them"
    elif table.entry_bytes != _SYMBOL.size or rest:
        why = f"its {len(table.data)} bytes are entries of {table.entry_bytes}; 64-bit ELF has {_SYMBOL.size}"
    elif count > MAX_SYMBOLS:
        why = f"it has {count} symbols; the limit is {MAX_SYMBOLS}"
    elif table.link >= len(sections):
        why = f"section {table.link} should hold its names; there are {len(sections)} sections"
    if why:
        raise damaged("the symbol table is unusable", why)
    return table


def read_symbols(sections: tuple[Section, ...], table: Section) -> Iterator[Symbol]:
    """Yield every symbol, checked to lie within its section."""
    strings = bytes(sections[table.link].data)
    for index, (offset, info, other, section, value, size) in enumerate(_SYMBOL.iter_unpack(table.data)):
        name = name_at(strings, offset, f"symbol {index}") if offset else ""
        symbol = Symbol(name, info & 15, info >> 4, section, value, size, other & 3 in _HIDDEN)
        if section == _SHN_COMMON:
            what, why = f"symbol {name} is a common symbol", "the linker has not given it a section"
            raise ElfError(what, why=why, hint="compile it with -fno-common", symbol=name)
        if 0 < section < _SHN_LORESERVE:
            _check_place(sections, symbol, name or str(index))
        yield symbol


def _check_place(sections: tuple[Section, ...], symbol: Symbol, label: str) -> None:
    if symbol.section >= len(sections):
        why = f"it should be in section {symbol.section}; there are {len(sections)}"
        raise damaged(f"symbol {label} is in no section", why, symbol=symbol.name)
    section, end = sections[symbol.section], symbol.value + symbol.size_bytes
    if end > section.size_bytes:
        why = f"it ends at byte {end} of {section.name}, which has {section.size_bytes}"
        what = f"symbol {label} is outside of its section"
        raise damaged(what, why, symbol=symbol.name, section=section.name)


def read_relocations(
    sections: tuple[Section, ...], symbols: tuple[Symbol, ...], table: Section
) -> dict[int, tuple[ElfRelocation, ...]]:
    """Return the relocations of loaded sections in order, by the section's position."""
    found: dict[int, tuple[ElfRelocation, ...]] = {}
    for section in sections:
        if section.type not in {"SHT_REL", "SHT_RELA"}:
            continue
        if section.info >= len(sections):
            why = f"it is for section {section.info}; there are {len(sections)}"
            raise damaged(f"{section.name} relocates no section", why, section=section.name)
        target = sections[section.info]
        if target.is_loaded and target.name != ".eh_frame":
            _check_relocation_section(section, table)
            kept = [*found.get(target.position, ()), *_relocations_of(section, target, symbols)]
            found[target.position] = tuple(sorted(kept, key=attrgetter("offset_bytes")))
    return found


def _check_relocation_section(section: Section, table: Section) -> None:
    count, rest = divmod(len(section.data), _RELOCATION.size)
    why = ""
    if section.type == "SHT_RELA":
        why = "it carries addends of its own (SHT_RELA); BPF objects have SHT_REL"
    elif section.link != table.position:
        why = f"its symbols are in section {section.link}; the symbol table is section {table.position}"
    elif section.entry_bytes != _RELOCATION.size or rest:
        size = len(section.data)
        why = f"its {size} bytes are entries of {section.entry_bytes}; BPF has {_RELOCATION.size}"
    elif count > MAX_RELOCATIONS:
        why = f"it has {count} relocations; the limit is {MAX_RELOCATIONS}"
    if why:
        raise damaged(f"{section.name} is not a usable relocation section", why, section=section.name)


def _relocations_of(
    section: Section, target: Section, symbols: tuple[Symbol, ...]
) -> Iterator[ElfRelocation]:
    for offset, kind, symbol in _RELOCATION.iter_unpack(section.data):
        label = f"the relocation at byte {offset} of {target.name}"
        if kind not in _RELOCATION_TYPES:
            why = f"BPF knows no relocation type {kind}"
            raise damaged(f"{label} is of an unknown type", why, section=target.name, offset=offset)
        if offset + 8 > target.size_bytes:
            why = f"the section has {target.size_bytes} bytes"
            raise damaged(f"{label} is outside of the section", why, section=target.name, offset=offset)
        if symbol >= len(symbols):
            why = f"it names symbol {symbol}; there are {len(symbols)}"
            raise damaged(f"{label} has no symbol", why, section=target.name, offset=offset)
        if kind != RelocationType.NONE:
            yield ElfRelocation(offset, kind, symbols[symbol])
