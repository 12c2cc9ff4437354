"""Read the struct_ops variables of an object. Each becomes a map."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from structops_cli.btf.btf import Btf
from structops_cli.btf.layout import resolve
from structops_cli.btf.types import DatasecEntry, Struct, Var
from structops_cli.errors import ObjectError
from structops_cli.obj.data import contents
from structops_cli.obj.datasec import variables_of_section
from structops_cli.obj.elf_values import ElfObject, ElfRelocation, RelocationType, Section
from structops_cli.obj.relocations import AddressMap
from structops_cli.obj.sections import StructOpsSection, struct_ops_section
from structops_cli.obj.spec import Function, MemberFunction, RelocationTarget, StructOpsVariable

_POINTER_BYTES = 8
_LARGEST_STRUCT = 1 << 20
"""Bytes. Every struct_ops type of the kernel is far smaller."""
_ADDRESSES = (RelocationType.ABS64, RelocationType.R64_64)
"""The relocation types of a pointer in data. clang up to 12 uses the second."""


def read_struct_ops(
    elf: ElfObject, btf: Btf, addresses: AddressMap, functions: Sequence[Function]
) -> tuple[StructOpsVariable, ...]:
    """Return the variables of all struct_ops sections, in the order of the object.

    Raises ObjectError for a variable that is no struct, and for a pointer that
    leads to no program.
    """
    programs = {function.name: function.is_program for function in functions}
    sections = [section for section in elf.sections if struct_ops_section(section.name)]
    return tuple([one for section in sections for one in _of_section(elf, btf, section, addresses, programs)])


def _of_section(
    elf: ElfObject, btf: Btf, section: Section, addresses: AddressMap, programs: Mapping[str, bool]
) -> Iterator[StructOpsVariable]:
    wish = struct_ops_section(section.name) or StructOpsSection(link=False, optional=False)
    raw, left = contents(section), list(reversed(elf.relocations.get(section.position, ())))
    for var, entry in variables_of_section(elf, btf, section.name):
        struct = _struct(btf, section, var, entry)
        start, end = entry.offset_bytes, entry.offset_bytes + entry.size_bytes
        data, pointers = bytearray(raw[start:end]), []
        while left and start <= left[-1].offset_bytes < end:
            relocation = left.pop()
            place = _PointerPlace(var, struct, relocation.offset_bytes - start)
            pointers.append(_pointer(place, relocation, data, addresses, programs))
        yield StructOpsVariable(
            name=var.name,
            section=section.name,
            type_id=struct.id,
            type_name=struct.name,
            link=wish.link,
            optional=wish.optional,
            data=bytes(data),
            functions=tuple(pointers),
        )
    if left:
        what = f"the pointer at byte {left[-1].offset_bytes} of section {section.name} is in no variable"
        raise ObjectError(what, why="no variable of the section covers it", section=section.name)


class _PointerPlace(NamedTuple):
    """The place of a pointer in a variable of a struct type."""

    var: Var
    struct: Struct
    offset_bytes: int

    @property
    def member(self) -> str:
        """The member at this place, or the byte if there is none."""
        for member in self.struct.members:
            if member.name and member.bit_offset == self.offset_bytes * 8:
                return member.name
        return f"at byte {self.offset_bytes}"


def _struct(btf: Btf, section: Section, var: Var, entry: DatasecEntry) -> Struct:
    struct = resolve(btf, var.type)
    what = f"variable {var.name} of section {section.name} is not a struct_ops variable"
    if not isinstance(struct, Struct) or not struct.name:
        why = (
            "its struct has no name" if isinstance(struct, Struct) else f"its type is {type(struct).__name__}"
        )
        hint = "give it the type of a kernel's struct, such as struct tcp_congestion_ops"
        raise ObjectError(what, why=why, hint=hint, variable=var.name, section=section.name)
    if struct.size_bytes > _LARGEST_STRUCT:
        why = f"struct {struct.name} has {struct.size_bytes} bytes, more than any struct_ops ({_LARGEST_STRUCT})"
        raise ObjectError(what, why=why, variable=var.name, section=section.name)
    if entry.size_bytes != struct.size_bytes:
        why = f"it has {entry.size_bytes} bytes, struct {struct.name} has {struct.size_bytes}"
        raise ObjectError(what, why=why, variable=var.name, section=section.name)
    return struct


def _pointer(
    place: _PointerPlace,
    relocation: ElfRelocation,
    data: bytearray,
    addresses: AddressMap,
    programs: Mapping[str, bool],
) -> MemberFunction:
    """Return the target of a relocated member, and zero the member in ``data``."""
    start, label = place.offset_bytes, f"member {place.member} of {place.var.name}"
    if relocation.type not in _ADDRESSES or start % _POINTER_BYTES or start + _POINTER_BYTES > len(data):
        why = f"a relocation of type {relocation.type} at byte {start} does not fill a pointer"
        raise _refused(place, f"{label} is not a pointer", why)
    addend = int.from_bytes(data[start : start + _POINTER_BYTES], "little", signed=True)
    data[start : start + _POINTER_BYTES] = bytes(_POINTER_BYTES)
    target = addresses.find(relocation.symbol, addend, label)
    if target.category is not RelocationTarget.FUNCTION:
        why = f"it points at {target.category} {target.name}"
        raise _refused(place, f"{label} does not point at a program", why)
    if not programs[target.name]:
        why = f"{target.name} is not a global function of a section struct_ops"
        hint = f'define it as SEC("struct_ops") and not static: {target.name}'
        raise _refused(place, f"{label} does not point at a program", why, hint)
    return MemberFunction(start, target.name)


def _refused(place: _PointerPlace, what: str, why: str, hint: str = "") -> ObjectError:
    return ObjectError(what, why=why, hint=hint, variable=place.var.name, member=place.member)
