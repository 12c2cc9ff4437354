"""Read global data: ``.rodata*``, ``.data*`` and ``.bss*``, each with its bytes and its variables."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Unpack

from structops_cli.btf.btf import Btf
from structops_cli.btf.types import Datasec
from structops_cli.errors import AmbiguousError, ErrorFields, ObjectError, UsageError
from structops_cli.obj.datasec import datasec_of, variables_of
from structops_cli.obj.elf_values import ElfObject, ElfRelocation, Section
from structops_cli.obj.sections import ARENA, is_data, is_read_only
from structops_cli.obj.spec import DataAddress, DataSection, DataVariable
from structops_cli.syscall.uapi import BtfVarLinkage

__all__ = ["MAX_DATA_BYTES", "contents", "read_data", "section_of_variable", "set_variable", "split_place"]

MAX_DATA_BYTES = 64 << 20
"""All data sections of an object together; one struct_ops with more global data than this is a mistake."""


def read_data(elf: ElfObject, btf: Btf) -> tuple[DataSection, ...]:
    """Return the data sections that are not empty, in the order of the object.

    Raises ``ObjectError`` for more than ``MAX_DATA_BYTES``.
    """
    sections = [s for s in elf.sections if s.is_loaded and s.size_bytes and is_data(s.name)]
    total = sum(section.size_bytes for section in sections)
    if total > MAX_DATA_BYTES:
        raise _too_large(total)
    return tuple(_data_section(elf, btf, section) for section in sections)


def contents(section: Section) -> bytes:
    """Return the initial bytes of a section, zeros for one that has only a size."""
    if section.type != "SHT_NOBITS":
        return bytes(section.data)
    if section.size_bytes > MAX_DATA_BYTES:
        raise _too_large(section.size_bytes, section=section.name)
    return bytes(section.size_bytes)


def split_place(place: str) -> tuple[str, str]:
    """Return the section, "" for any, and the path that a place such as ``.bss:a.b[2]`` names."""
    section, colon, path = place.partition(":")
    return (section, path) if colon else ("", place)


def section_of_variable(sections: Sequence[DataSection], path: str) -> DataSection:
    """Return the section with the variable that a path such as ``a.b[2]`` begins with.

    Raises ``UsageError`` with all names when there is none, and
    ``AmbiguousError`` when static variables of several sections share the name.
    """
    found = [section for section in sections if _variable(section, path) is not None]
    if len(found) > 1:
        raise _ambiguous(path, [section.name for section in found], f"write {found[0].name}:{path}=...")
    if not found:
        raise _unknown(path, [variable.name for section in sections for variable in section.variables])
    return found[0]


def set_variable(section: DataSection, btf: Btf, path: str, text: str) -> DataSection:
    """Return the section with one variable, or one part of it, set to what a user wrote.

    ``path`` is the variable's name with members and elements behind it
    (``a.b[2]``); what ``text`` may be is said in ``obj.assign``. Raises
    ``UsageError`` for a path that leads nowhere and for a value that does not
    fit, ``AmbiguousError`` when static variables of several files share the name.
    """
    from structops_cli.obj.assign import locate, store  # only --const needs it

    variable = _variable(section, path)
    if variable is None:
        raise _unknown(path, [variable.name for variable in section.variables])
    start, end = variable.offset_bytes, variable.offset_bytes + variable.size_bytes
    location = locate(btf, variable.type_id, variable.name, path.removeprefix(variable.name))
    value = store(btf, section.contents[start:end], location, text)
    return section._replace(contents=section.contents[:start] + value + section.contents[end:])


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
    """Return the variable that a path begins with; static ones of a function have a dot in their names."""
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


def _ambiguous(path: str, places: list[str], hint: str = "give them names of their own") -> AmbiguousError:
    what, why = f"there are several variables {path}", f"static ones in {', '.join(places)}"
    return AmbiguousError(what, why=why, hint=hint, variable=path, candidates=places)


def _too_large(size: int, **fields: Unpack[ErrorFields]) -> ObjectError:
    what, why = (
        "the global data of this object is too large",
        f"it has {size} bytes; the limit is {MAX_DATA_BYTES}",
    )
    return ObjectError(what, why=why, hint="keep it in a map", **fields)


def _unknown(path: str, names: list[str]) -> UsageError:
    why = f"the variables are {', '.join(names)}" if names else "the object has none"
    return UsageError(f"there is no variable {path}", why=why, variable=path, candidates=names)
