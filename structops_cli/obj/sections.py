"""Interpret section names by the conventions of compilers and loaders.

``struct_ops`` and ``struct_ops/ANYTHING`` hold programs, ``struct_ops.s`` and
``struct_ops.s/ANYTHING`` sleepable ones. ``.struct_ops`` and ``.struct_ops.link``
hold one variable per map. A leading ``?`` means: only on demand.
"""

from __future__ import annotations

from typing import NamedTuple

from structops_cli.errors import ObjectError
from structops_cli.obj.elf_values import ElfObject, Section

ARENA = ".addr_space.1"
"""Global variables of address space 1: those of an arena (clang 19 and later)."""
JUMP_TABLES = ".jumptables"
"""The targets of ``switch`` statements (clang 22 and later, -mcpu=v4)."""
KCONFIG = ".kconfig"
"""Variables of the kernel's configuration. The object holds no bytes for them."""
KSYMS = ".ksyms"
"""Functions and variables of the kernel."""
MAPS = ".maps"
SUBPROGRAMS = ".text"

_DATA = (".rodata", ".data", ".bss", ARENA)


class StructOpsSection(NamedTuple):
    """The way to register the variables of a struct_ops section."""

    link: bool
    optional: bool


def struct_ops_section(name: str) -> StructOpsSection | None:
    """Return the way to register a section's variables, None for other sections."""
    plain = name.removeprefix("?")
    if plain not in {".struct_ops", ".struct_ops.link"}:
        return None
    return StructOpsSection(link=plain.endswith(".link"), optional=plain != name)


def is_program(name: str) -> bool:
    """Tell whether functions of this section are struct_ops programs."""
    return name.removeprefix("?").partition("/")[0] in {"struct_ops", "struct_ops.s"}


def holds_functions(section: Section) -> bool:
    """Tell whether the section holds struct_ops programs or subprograms of any program.

    Each program of another type has a section of its own, for other loaders.
    """
    return section.is_executable and (section.name == SUBPROGRAMS or is_program(section.name))


def is_sleepable(name: str) -> bool:
    """Tell whether the programs of this section may sleep."""
    return name.removeprefix("?").partition("/")[0] == "struct_ops.s"


def is_data(name: str) -> bool:
    """Tell whether the section holds global variables."""
    return name in _DATA or name.startswith(tuple(f"{prefix}." for prefix in _DATA))


def is_read_only(name: str) -> bool:
    """Tell whether programs can only read the variables of a data section."""
    return name.startswith(".rodata")


def check_sections(elf: ElfObject) -> None:
    """Refuse sections that other loaders honour and this one cannot.

    Raises ObjectError for legacy maps (before libbpf 1.0), and for two loaded
    sections of one name, which BTF cannot tell apart.
    """
    seen: set[str] = set()
    for section in elf.sections:
        if section.size_bytes == 0 or not section.is_loaded or is_other(section):
            continue
        if section.name in seen:
            why = "BTF describes sections by their names"
            raise ObjectError(f"there are two sections {section.name}", why=why, section=section.name)
        seen.add(section.name)
        if section.name == "maps":
            why = "its maps are in the legacy section maps, without types"
            hint = "define them in section .maps with BTF (__uint, __type)"
            what = "this object defines its maps the old way"
            raise ObjectError(what, why=why, hint=hint, section=section.name)
        if section.is_executable:
            _check_code(section)


def is_other(section: Section) -> bool:
    """Tell whether the section holds a program of another type."""
    return section.is_executable and not holds_functions(section)


def _check_code(section: Section) -> None:
    if len(section.data) != section.size_bytes or section.size_bytes % 8:
        what = f"section {section.name} does not hold whole instructions"
        why = f"{len(section.data)} of its {section.size_bytes} bytes are in the file; an instruction has 8"
        raise ObjectError(what, why=why, section=section.name)
