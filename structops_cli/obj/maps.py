"""Read the maps that an object defines through BTF: one variable of ``.maps`` each.

The variable's type is a struct whose members are the map's attributes, by
name. A number is the length of an array behind a pointer (``__uint``) or the
value of the one enumerator of an enum (``__ulong``); a type is what a pointer
points at (``__type``). The variable itself stores nothing.
"""

from __future__ import annotations

from structops_cli.btf.btf import Btf
from structops_cli.btf.layout import resolve, size_of
from structops_cli.btf.types import Array, Enum, Enum64, Member, Ptr, Struct, Var
from structops_cli.errors import InputError, ObjectError
from structops_cli.obj.datasec import variables_of_section
from structops_cli.obj.elf_values import ElfObject
from structops_cli.obj.sections import MAPS
from structops_cli.obj.spec import MapSpec
from structops_cli.syscall.uapi import BpfMapType

__all__ = ["map_places", "read_maps"]

_NUMBERS = ("type", "key_size", "value_size", "max_entries", "map_flags", "map_extra", "numa_node", "pinning")
_TYPES = ("key", "value")
_OF_MAPS = (BpfMapType.ARRAY_OF_MAPS, BpfMapType.HASH_OF_MAPS)
_PIN_NONE, _PIN_BY_NAME = 0, 1
_U32_MAX = (1 << 32) - 1
_U64_MAX = (1 << 64) - 1


def map_places(elf: ElfObject, btf: Btf) -> dict[int, str]:
    """Return the names of the maps by the byte of ``.maps`` at which their variables begin."""
    return {entry.offset_bytes: var.name for var, entry in variables_of_section(elf, btf, MAPS)}


def read_maps(elf: ElfObject, btf: Btf) -> tuple[MapSpec, ...]:
    """Return the maps of section ``.maps``, in its order.

    Raises ``ObjectError`` for a definition that is incomplete, contradicts
    itself, or asks for what is not supported yet: inner maps, initial values.
    """
    variables = variables_of_section(elf, btf, MAPS)
    section = elf.section(MAPS)
    for relocation in elf.relocations.get(section.position, ()) if section else ():
        for var, entry in variables:
            if entry.offset_bytes <= relocation.offset_bytes < entry.offset_bytes + entry.size_bytes:
                raise _not_yet(var.name, "values")
    return tuple(_map(btf, var) for var, _ in variables)


def _map(btf: Btf, var: Var) -> MapSpec:
    try:
        return _described(btf, var)
    except InputError as error:
        error.add(map=var.name, section=MAPS)
        raise


def _described(btf: Btf, var: Var) -> MapSpec:
    definition = resolve(btf, var.type)
    if not isinstance(definition, Struct):
        why = f"its type is {type(definition).__name__}; the attributes of a map are members of a struct"
        raise ObjectError(f"map {var.name} is not defined through BTF", why=why)
    numbers, types = _attributes(btf, var.name, definition)
    if "type" not in numbers:
        hint = "add __uint(type, BPF_MAP_TYPE_...)"
        raise ObjectError(f"map {var.name} has no type", hint=hint, member="type")
    if numbers["type"] in _OF_MAPS:
        raise _not_yet(var.name, "type")
    return MapSpec(
        name=var.name,
        map_type=numbers["type"],
        key_size=_size(btf, var.name, "key", numbers, types),
        value_size=_size(btf, var.name, "value", numbers, types),
        max_entries=numbers.get("max_entries", 0),
        map_flags=numbers.get("map_flags", 0),
        map_extra=numbers.get("map_extra", 0),
        numa_node=numbers.get("numa_node"),
        key_type_id=types.get("key", 0),
        value_type_id=types.get("value", 0),
        pinned_by_name=_pinned(var.name, numbers.get("pinning", _PIN_NONE)),
    )


def _attributes(btf: Btf, name: str, definition: Struct) -> tuple[dict[str, int], dict[str, int]]:
    """Return the numbers and the type ids of a definition, by attribute."""
    numbers: dict[str, int] = {}
    types: dict[str, int] = {}
    for member in definition.members:
        if member.name in _NUMBERS:
            numbers[member.name] = _number(btf, name, member)
        elif member.name in _TYPES:
            types[member.name] = _pointee(btf, name, member)
        elif member.name == "values":
            raise _not_yet(name, "values")
        else:
            why = f"known are {', '.join((*_NUMBERS, *_TYPES))}"
            what = f"map {name} has an unknown attribute {member.name or 'without a name'}"
            raise ObjectError(what, why=why, member=member.name)
    return numbers, types


def _number(btf: Btf, name: str, member: Member) -> int:
    target = resolve(btf, member.type)
    value, largest = -1, _U64_MAX if member.name == "map_extra" else _U32_MAX
    if isinstance(target, Ptr):
        array = resolve(btf, target.type)
        value = array.count if isinstance(array, Array) else -1
    elif isinstance(target, Enum | Enum64) and len(target.values) == 1:
        value = target.values[0].value
    if not 0 <= value <= largest:
        what = f"attribute {member.name} of map {name} is no number of its range"
        hint = f"write it as __uint({member.name}, NUMBER)"
        raise ObjectError(what, why=f"it has to be 0 to {largest}", hint=hint, member=member.name)
    return value


def _pointee(btf: Btf, name: str, member: Member) -> int:
    target = resolve(btf, member.type)
    if not isinstance(target, Ptr):
        what, why = (
            f"attribute {member.name} of map {name} is no type",
            f"it is {type(target).__name__}, no pointer",
        )
        raise ObjectError(what, why=why, hint=f"write it as __type({member.name}, TYPE)", member=member.name)
    return target.type


def _size(btf: Btf, name: str, part: str, numbers: dict[str, int], types: dict[str, int]) -> int:
    """Return the size of key or value: told by its type, by ``key_size`` or ``value_size``, or by both."""
    told = numbers.get(f"{part}_size")
    if part not in types:
        return told or 0
    size = size_of(btf, types[part])
    if told not in {None, size}:
        what, why = f"map {name} contradicts itself", f"{part} has {size} bytes, {part}_size says {told}"
        raise ObjectError(what, why=why, hint="leave one of them out", member=part)
    return size


def _pinned(name: str, pinning: int) -> bool:
    if pinning not in {_PIN_NONE, _PIN_BY_NAME}:
        why = f"pinning is {pinning}; it can be 0 (not) or 1 (by name)"
        raise ObjectError(f"map {name} is pinned in an unknown way", why=why, member="pinning")
    return pinning == _PIN_BY_NAME


def _not_yet(name: str, member: str) -> ObjectError:
    what, why = f"map {name} is not yet supported", f"its {member} asks for inner maps or initial contents"
    hint = "leave it out of the object"
    return ObjectError(what, why=why, hint=hint, map=name, section=MAPS, member=member)
