"""The values of an ELF object, as ``obj.elf`` hands them over; importing this module costs no pyelftools."""

from __future__ import annotations

from enum import IntEnum
from typing import NamedTuple

__all__ = ["ElfObject", "ElfRelocation", "RelocationType", "Section", "Symbol", "SymbolBinding", "SymbolType"]

SHF_ALLOC = 2
SHF_EXECINSTR = 4


class SymbolType(IntEnum):
    """``STT_*``: what a symbol stands for."""

    NOTYPE = 0
    OBJECT = 1
    FUNC = 2
    SECTION = 3
    FILE = 4


class SymbolBinding(IntEnum):
    """``STB_*``: who may refer to a symbol."""

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
    """A section.

    ``data`` is a view of its bytes in the file; it is empty for one that has
    only a size (``.bss``). ``type`` is an ``SHT_*`` by name.
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
        """Tell whether the section is part of the program's memory."""
        return bool(self.flags & SHF_ALLOC)

    @property
    def is_executable(self) -> bool:
        """Tell whether the section holds instructions."""
        return bool(self.flags & SHF_EXECINSTR)


class Symbol(NamedTuple):
    """A symbol.

    ``type`` is a number of ``SymbolType``, ``binding`` one of
    ``SymbolBinding``; ``section`` is the position of the section that defines
    it, 0 for a symbol that the object leaves undefined. ``is_hidden``: nothing
    outside of the linked object may refer to it (STV_HIDDEN, STV_INTERNAL).
    """

    name: str
    type: int
    binding: int
    section: int
    value: int
    size_bytes: int
    is_hidden: bool = False


class ElfRelocation(NamedTuple):
    """At ``offset_bytes`` of its section the address of ``symbol`` is missing.

    ``type`` is a number of ``RelocationType``.
    """

    offset_bytes: int
    type: int
    symbol: Symbol


class ElfObject(NamedTuple):
    """A whole object: ``relocations`` by the position of the section that they change, in its order."""

    name: str
    sections: tuple[Section, ...]
    symbols: tuple[Symbol, ...]
    relocations: dict[int, tuple[ElfRelocation, ...]]

    def section(self, name: str) -> Section | None:
        """Return the first section of that name, or None."""
        return next((section for section in self.sections if section.name == name), None)
