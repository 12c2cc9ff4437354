"""Read the maps that an object defines through BTF, one variable of ``.maps`` each.

The variable's type is a struct whose members are the map's attributes. A
number is the length of an array behind a pointer (``__uint``), or the value of
the one enumerator of an enum (``__ulong``). A type is the target of a pointer
(``__type``). ``values`` is an array without a length of pointers to the
definition of an inner map, or to functions (``__array``). The variable itself
stores only addresses in ``values``: the initial contents.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping
from typing import NamedTuple

from structops_cli.btf.btf import Btf
from structops_cli.btf.layout import resolve, size_of
from structops_cli.btf.types import Array, BtfType, Enum, Enum64, FuncProto, Member, Ptr, Struct, Var
from structops_cli.errors import InputError, ObjectError
from structops_cli.obj.datasec import variables_of_section
from structops_cli.obj.elf_values import ElfObject, ElfRelocation, RelocationType
from structops_cli.obj.relocations import AddressMap
from structops_cli.obj.sections import MAPS, is_other
from structops_cli.obj.spec import MapSlot, MapSpec, RelocationTarget
from structops_cli.syscall.uapi import MAPS_OF_MAPS, BpfMapType

SLOT_BYTES = 8
"""Bytes of an address in an object."""
_ADDRESSES = (RelocationType.ABS64, RelocationType.R64_64)
"""The relocation types of a pointer in data. clang up to 12 uses the second."""


class SlotPlace(NamedTuple):
    """The byte of ``.maps`` at which the initial contents begin, None for none, and their sort."""

    name: str
    values: int | None
    holds: RelocationTarget


def read_slots(
    elf: ElfObject, places: Mapping[int, SlotPlace], addresses: AddressMap
) -> dict[int, tuple[MapSlot, ...]]:
    """Return the initial contents of maps by the start of the map's variable in ``.maps``.

    ``places`` has all maps, by the same key. Contents are in the order of their
    elements. Raises ObjectError for an address outside of ``values``, and for
    the address of another sort of thing.
    """
    section, starts = elf.section(MAPS), sorted(places)
    found: dict[int, dict[int, MapSlot]] = {}
    for relocation in elf.relocations.get(section.position, ()) if section else ():
        nearest = bisect_right(starts, relocation.offset_bytes)
        start = starts[nearest - 1] if nearest else -1
        slot = _slot(elf, places.get(start), relocation, addresses)
        found.setdefault(start, {})[slot.element] = slot
    return {start: tuple(slots[element] for element in sorted(slots)) for start, slots in found.items()}


def _slot(
    elf: ElfObject, place: SlotPlace | None, relocation: ElfRelocation, addresses: AddressMap
) -> MapSlot:
    if place is None or place.values is None or relocation.type not in _ADDRESSES:
        raise _misplaced(place, relocation)
    element, within = divmod(relocation.offset_bytes - place.values, SLOT_BYTES)
    if element < 0 or within:
        raise _misplaced(place, relocation)
    if relocation.symbol.section < len(elf.sections) and is_other(elf.sections[relocation.symbol.section]):
        return MapSlot(element, relocation.symbol.name)  # it counts only when a program of ours uses the map
    label = f"element {element} of map {place.name}"
    target = addresses.find(relocation.symbol, _addend(elf, relocation), label)
    if target.category is not place.holds:
        why = f"it is {target.category} {target.name}, and should be a {place.holds}"
        what, section = f"{label} is of the wrong type", MAPS
        raise ObjectError(what, why=why, map=place.name, section=section, member="values", symbol=target.name)
    return MapSlot(element, target.name)


def _addend(elf: ElfObject, relocation: ElfRelocation) -> int:
    """Return the number stored at the address. BPF relocations carry no addends."""
    section = elf.section(MAPS)
    data = bytes(section.data) if section else b""
    stored = data[relocation.offset_bytes : relocation.offset_bytes + SLOT_BYTES]
    return int.from_bytes(stored, "little", signed=True)


def _misplaced(place: SlotPlace | None, relocation: ElfRelocation) -> ObjectError:
    offset, name = relocation.offset_bytes, place.name if place else ""
    what = (
        f"map {name} has an address outside of its values"
        if name
        else f"an address in {MAPS} is outside of every map"
    )
    why = f"byte {offset} of {MAPS}, relocation type {relocation.type}, is not an element of values"
    hint = "write initial contents as .values = {[INDEX] = &MAP}"
    return ObjectError(what, why=why, hint=hint, map=name, section=MAPS, offset=offset, member="values")


_NUMBERS = ("type", "key_size", "value_size", "max_entries", "map_flags", "map_extra", "numa_node", "pinning")
_TYPES = ("key", "value")
_VALUES = "values"
_FD_BYTES = 4
"""Bytes of a value of a map of maps or programs."""
_PIN_NONE, _PIN_BY_NAME = 0, 1
_U32_MAX = (1 << 32) - 1
_U64_MAX = (1 << 64) - 1


def map_places(elf: ElfObject, btf: Btf) -> dict[int, str]:
    """Return the names of the maps by the byte of ``.maps`` at which they begin."""
    return {entry.offset_bytes: var.name for var, entry in variables_of_section(elf, btf, MAPS)}


def read_maps(elf: ElfObject, btf: Btf, addresses: AddressMap) -> tuple[MapSpec, ...]:
    """Return the maps of section ``.maps``, in its order.

    Raises ObjectError for a definition that is incomplete or contradicts
    itself, and for initial contents that are neither maps nor functions.
    """
    variables = variables_of_section(elf, btf, MAPS)
    maps = {entry.offset_bytes: _map(btf, var) for var, entry in variables}
    places = {
        entry.offset_bytes: _slot_place(btf, var, entry.offset_bytes, maps[entry.offset_bytes])
        for var, entry in variables
    }
    slots = read_slots(elf, places, addresses)
    return tuple(spec._replace(slots=slots.get(start, ())) for start, spec in maps.items())


def _slot_place(btf: Btf, var: Var, start: int, spec: MapSpec) -> SlotPlace:
    """Return the place of a map's ``values``, and the sort of thing in them."""
    definition = resolve(btf, var.type)
    members = definition.members if isinstance(definition, Struct) else ()
    values = next((start + one.bit_offset // 8 for one in members if one.name == _VALUES), None)
    return SlotPlace(spec.name, values, RelocationTarget.MAP if spec.inner else RelocationTarget.FUNCTION)


def _map(btf: Btf, var: Var) -> MapSpec:
    try:
        definition = resolve(btf, var.type)
        if not isinstance(definition, Struct):
            why = f"its type is {type(definition).__name__}; the attributes of a map are members of a struct"
            raise ObjectError(f"map {var.name} is not defined through BTF", why=why)
        return _described(btf, var.name, definition, is_inner=False)
    except InputError as error:
        error.add(map=var.name, section=MAPS)
        raise


def _described(btf: Btf, name: str, definition: Struct, *, is_inner: bool) -> MapSpec:
    numbers, types = _attributes(btf, name, definition)
    if "type" not in numbers:
        hint = "add __uint(type, BPF_MAP_TYPE_...)"
        raise ObjectError(f"map {name} has no type", hint=hint, member="type")
    inner = _inner(btf, name, definition, numbers, is_inner=is_inner)
    return MapSpec(
        name=name,
        map_type=numbers["type"],
        key_size=_size(btf, name, "key", numbers, types),
        value_size=_size(btf, name, "value", numbers, types),
        max_entries=numbers.get("max_entries", 0),
        map_flags=numbers.get("map_flags", 0),
        map_extra=numbers.get("map_extra", 0),
        numa_node=numbers.get("numa_node"),
        key_type_id=types.get("key", 0),
        value_type_id=types.get("value", 0),
        pinned_by_name=_pinned(name, numbers.get("pinning", _PIN_NONE), is_inner=is_inner),
        inner=inner,
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
        elif member.name != _VALUES:
            why = f"known are {', '.join((*_NUMBERS, *_TYPES, _VALUES))}"
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
        what = f"attribute {member.name} of map {name} is not a number in its range"
        hint = f"write it as __uint({member.name}, NUMBER)"
        raise ObjectError(what, why=f"it has to be 0 to {largest}", hint=hint, member=member.name)
    return value


def _pointee(btf: Btf, name: str, member: Member) -> int:
    target = resolve(btf, member.type)
    if not isinstance(target, Ptr):
        what = f"attribute {member.name} of map {name} is not a type"
        why = f"it is {type(target).__name__}, not a pointer"
        raise ObjectError(what, why=why, hint=f"write it as __type({member.name}, TYPE)", member=member.name)
    return target.type


def _size(btf: Btf, name: str, part: str, numbers: dict[str, int], types: dict[str, int]) -> int:
    """Return the size of key or value from its type, from ``*_size``, or from both."""
    told = numbers.get(f"{part}_size")
    if part not in types:
        return told or 0
    size = size_of(btf, types[part])
    if told not in {None, size}:
        what, why = f"map {name} contradicts itself", f"{part} has {size} bytes, {part}_size says {told}"
        raise ObjectError(what, why=why, hint="leave one of them out", member=part)
    return size


def _pinned(name: str, pinning: int, *, is_inner: bool) -> bool:
    what = f"map {name} is pinned in an unknown way"
    if pinning not in {_PIN_NONE, _PIN_BY_NAME}:
        why = f"pinning is {pinning}; it can be 0 (not) or 1 (by name)"
        raise ObjectError(what, why=why, member="pinning")
    if pinning and is_inner:
        raise ObjectError(what, why="the definition of an inner map has no name for a pin", member="pinning")
    return pinning == _PIN_BY_NAME


# Maps of maps and of programs


def _inner(
    btf: Btf, name: str, definition: Struct, numbers: dict[str, int], *, is_inner: bool
) -> MapSpec | None:
    """Return the definition in ``values``, None without one. Sets the value's size."""
    values = next((member for member in definition.members if member.name == _VALUES), None)
    of_maps = numbers["type"] in MAPS_OF_MAPS
    if values is None:
        if of_maps:
            hint = "add __array(values, struct { ... }) with the attributes of the inner maps"
            why = "it holds maps, and values do not define them"
            raise ObjectError(f"map {name} is incomplete", why=why, hint=hint, member=_VALUES)
        return None
    _check_values(name, numbers, definition, values, is_inner=is_inner)
    target = _element(btf, name, values)
    if not of_maps:
        if not isinstance(target, FuncProto):
            raise _no_values(name, f"they are pointers to {type(target).__name__}, not to functions")
        return None
    if not isinstance(target, Struct):
        raise _no_values(name, f"they are pointers to {type(target).__name__}, not to the struct of a map")
    return _described(btf, f"{name}.inner", target, is_inner=True)


def _check_values(
    name: str, numbers: dict[str, int], definition: Struct, values: Member, *, is_inner: bool
) -> None:
    if is_inner:
        raise _no_values(name, "a map of maps cannot hold maps of maps")
    if numbers["type"] not in {*MAPS_OF_MAPS, BpfMapType.PROG_ARRAY}:
        raise _no_values(name, f"a {_type_word(numbers['type'])} holds neither maps nor programs")
    if definition.members[-1] is not values:
        raise _no_values(name, "they must be the last attribute, as their number is open")
    if numbers.setdefault("value_size", _FD_BYTES) != _FD_BYTES:
        raise _no_values(name, f"value_size is {numbers['value_size']}; a map or program takes {_FD_BYTES}")


def _element(btf: Btf, name: str, values: Member) -> BtfType:
    """Return the type that the pointers in ``values`` point at."""
    array = resolve(btf, values.type)
    if not isinstance(array, Array) or array.count or values.bit_offset % (8 * SLOT_BYTES):
        raise _no_values(name, "they are not an array without a length")
    pointer = resolve(btf, array.element_type)
    if not isinstance(pointer, Ptr):
        raise _no_values(name, f"they are {type(pointer).__name__}, not pointers")
    return resolve(btf, pointer.type)


def _type_word(number: int) -> str:
    try:
        return BpfMapType(number).name.lower()
    except ValueError:
        return f"map of type {number}"


def _no_values(name: str, why: str) -> ObjectError:
    hint = "write them as __array(values, struct { ... }) or, for programs, __array(values, int (void *))"
    return ObjectError(f"the values of map {name} are wrong", why=why, hint=hint, member=_VALUES)
