"""Define the values of an ELF object. This module does not import pyelftools."""

from __future__ import annotations

from enum import IntEnum
from typing import NamedTuple

SHF_ALLOC = 2
SHF_EXECINSTR = 4


class SymbolType(IntEnum):
    """``STT_*``: the sort of thing that a symbol names."""

    NOTYPE = 0
    OBJECT = 1
    FUNC = 2
    SECTION = 3
    FILE = 4


class SymbolBinding(IntEnum):
    """``STB_*``: the files that may refer to a symbol."""

    LOCAL = 0
    GLOBAL = 1
    WEAK = 2


class RelocationType(IntEnum):
    """``R_BPF_*`` (``Documentation/bpf/llvm_reloc.rst``)."""

    NONE = 0
    R64_64 = 1
    ABS64 = 2
    ABS32 = 3
    NODYLD32 = 4
    R64_32 = 10


class Section(NamedTuple):
    """A section. ``type`` is the name of its ``SHT_*``.

    ``data`` is a view of the file, empty for a section without bytes (``.bss``).
    """

    position: int
    name: str
    type: str
    flags: int
    size_bytes: int
    data: memoryview
    link: int
    info: int
    entry_bytes: int

    @property
    def is_loaded(self) -> bool:
        """Whether the section is part of the program's memory."""
        return bool(self.flags & SHF_ALLOC)

    @property
    def is_executable(self) -> bool:
        """Whether the section holds instructions."""
        return bool(self.flags & SHF_EXECINSTR)


class Symbol(NamedTuple):
    """A symbol. ``type`` is a ``SymbolType``, ``binding`` a ``SymbolBinding``.

    ``section`` is the position of the defining section, 0 for an undefined symbol.
    ``is_hidden``: only the linked object may refer to it (STV_HIDDEN, STV_INTERNAL).
    """

    name: str
    type: int
    binding: int
    section: int
    value: int
    size_bytes: int
    is_hidden: bool = False


class ElfRelocation(NamedTuple):
    """A place in a section that needs the address of ``symbol``. ``type`` is a ``RelocationType``."""

    offset_bytes: int
    type: int
    symbol: Symbol


class ElfObject(NamedTuple):
    """A whole object. ``relocations`` are in order, by the position of their section."""

    name: str
    sections: tuple[Section, ...]
    symbols: tuple[Symbol, ...]
    relocations: dict[int, tuple[ElfRelocation, ...]]

    def section(self, name: str) -> Section | None:
        """Return the first section of that name, or None."""
        return next((section for section in self.sections if section.name == name), None)
