"""Read global data: the bytes and variables of ``.rodata*``, ``.data*`` and ``.bss*``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from structops_cli.btf.btf import Btf
from structops_cli.btf.types import Datasec
from structops_cli.errors import AmbiguousError, ObjectError, UsageError
from structops_cli.obj.datasec import datasec_of, variables_of
from structops_cli.obj.elf_values import ElfObject, ElfRelocation, Section
from structops_cli.obj.sections import ARENA, is_data, is_read_only
from structops_cli.obj.sparse_bytes import SparseBytes
from structops_cli.obj.spec import DataAddress, DataSection, DataVariable
from structops_cli.syscall.uapi import BtfVarLinkage

if TYPE_CHECKING:
    from structops_cli.obj.assign import Location

LARGEST_SECTION = (1 << 31) - 1
"""The most bytes of a map's value (``array_map_alloc_check``). A data section is one value."""


def read_data(elf: ElfObject, btf: Btf) -> tuple[DataSection, ...]:
    """Return the data sections that are not empty, in the order of the object.

    Raises ObjectError for a section larger than any kernel accepts.
    """
    sections = [s for s in elf.sections if s.is_loaded and s.size_bytes and is_data(s.name)]
    return tuple(_data_section(elf, btf, section) for section in sections)


def contents(section: Section) -> SparseBytes:
    """Return the initial bytes of a section. They share memory with the file."""
    if section.size_bytes > LARGEST_SECTION:
        what = f"section {section.name} is too large"
        why = f"it has {section.size_bytes} bytes; the kernel takes a map's value of up to {LARGEST_SECTION}"
        raise ObjectError(what, why=why, hint="keep it in a map of many elements", section=section.name)
    stored = [(0, section.data)] if section.type != "SHT_NOBITS" else []
    return SparseBytes(section.size_bytes, stored)


def split_place(place: str) -> tuple[str, str]:
    """Split a place such as ``.bss:a.b[2]`` into section ("" for any) and path."""
    section, colon, path = place.partition(":")
    return (section, path) if colon else ("", place)


def section_of_variable(sections: Sequence[DataSection], path: str) -> DataSection:
    """Return the section with the variable at the start of a path such as ``a.b[2]``.

    Raises UsageError with all names if there is none, and AmbiguousError if
    static variables of several sections have that name.
    """
    found = [section for section in sections if _variable(section, path) is not None]
    if len(found) > 1:
        raise _ambiguous(path, [section.name for section in found], f"write {found[0].name}:{path}=...")
    if not found:
        raise _unknown(path, [variable.name for section in sections for variable in section.variables])
    return found[0]


def set_variable(section: DataSection, btf: Btf, path: str, text: str) -> DataSection:
    """Return the section with the variable, or part of it, at ``path`` set to ``text``.

    ``obj.assign`` defines the text. Raises UsageError for a wrong path or text,
    AmbiguousError if static variables of several files have that name.
    """
    from structops_cli.obj.assign import stored  # only --const and --set need it

    location = locate_in_section(section, btf, path)
    value = stored(btf, section.contents, location, text)
    changed = section.contents.replaced(location.first_byte, location.end_byte, value)
    return section._replace(contents=changed)


def locate_in_section(section: DataSection, btf: Btf, path: str) -> Location:
    """Return the part at a path such as ``a.b[2]``, counted from the section's start."""
    from structops_cli.obj.assign import locate, out_of_place

    variable = _variable(section, path)
    if variable is None:
        raise _unknown(path, [variable.name for variable in section.variables])
    location = locate(btf, variable.type_id, variable.name, path.removeprefix(variable.name))
    if location.end_byte > variable.size_bytes:
        raise out_of_place(location, variable.size_bytes)
    return location._replace(bit_offset=8 * variable.offset_bytes + location.bit_offset)


def _data_section(elf: ElfObject, btf: Btf, section: Section) -> DataSection:
    datasec = datasec_of(btf, section.name)
    return DataSection(
        name=section.name,
        read_only=is_read_only(section.name),
        contents=contents(section),
        type_id=datasec.id if datasec else 0,
        variables=_variables(btf, datasec) if datasec else (),
        in_arena=section.name == ARENA,
        addresses=tuple(
            _address(elf, relocation) for relocation in elf.relocations.get(section.position, ())
        ),
    )


def _address(elf: ElfObject, relocation: ElfRelocation) -> DataAddress:
    symbol = relocation.symbol
    of_section = not symbol.name and symbol.section < len(elf.sections)
    return DataAddress(
        relocation.offset_bytes, elf.sections[symbol.section].name if of_section else symbol.name
    )


def _variables(btf: Btf, datasec: Datasec) -> tuple[DataVariable, ...]:
    return tuple(
        DataVariable(
            name=var.name,
            type_id=var.type,
            offset_bytes=entry.offset_bytes,
            size_bytes=entry.size_bytes,
            is_static=var.linkage == BtfVarLinkage.STATIC,
        )
        for var, entry in variables_of(btf, datasec)
    )


def _variable(section: DataSection, path: str) -> DataVariable | None:
    """Return the variable at the start of a path. Static names of functions contain a dot."""
    fitting = [
        variable
        for variable in section.variables
        if path == variable.name or path.startswith((f"{variable.name}.", f"{variable.name}["))
    ]
    longest = max((variable.name for variable in fitting), key=len, default="")
    same = [variable for variable in fitting if variable.name == longest]
    if len(same) > 1:
        raise _ambiguous(path, [f"{section.name} at byte {variable.offset_bytes}" for variable in same])
    return same[0] if same else None


def _ambiguous(path: str, places: list[str], hint: str = "give each its own name") -> AmbiguousError:
    what, why = f"there are several variables {path}", f"static ones in {', '.join(places)}"
    return AmbiguousError(what, why=why, hint=hint, variable=path, candidates=places)


def _unknown(path: str, names: list[str]) -> UsageError:
    why = f"the variables are {', '.join(names)}" if names else "the object has none"
    return UsageError(f"there is no variable {path}", why=why, variable=path, candidates=names)
