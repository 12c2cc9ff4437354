"""Read what maps of maps and program arrays hold at first: the addresses in ``values`` of their definitions."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping
from typing import NamedTuple

from structops_cli.errors import ObjectError
from structops_cli.obj.elf_values import ElfObject, ElfRelocation, RelocationType
from structops_cli.obj.relocations import Addresses
from structops_cli.obj.sections import MAPS, is_other
from structops_cli.obj.spec import MapSlot, RelocationTarget

__all__ = ["SLOT_BYTES", "SlotPlace", "read_slots"]

SLOT_BYTES = 8
"""Size of an address in an object."""
_ADDRESSES = (RelocationType.ABS64, RelocationType.R64_64)
"""What clang writes for a pointer in data; up to clang 12 the second."""


class SlotPlace(NamedTuple):
    """Where a map may have initial contents: the byte of ``.maps``, None for nowhere, and of what kind they are."""

    name: str
    values: int | None
    holds: RelocationTarget


def read_slots(
    elf: ElfObject, places: Mapping[int, SlotPlace], addresses: Addresses
) -> dict[int, tuple[MapSlot, ...]]:
    """Return the initial contents in the order of their elements, by where in ``.maps`` the map's variable begins.

    ``places`` are all maps, by the same. Raises ``ObjectError`` for an address
    outside of ``values`` and for one of something else than such a map holds.
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
    elf: ElfObject, place: SlotPlace | None, relocation: ElfRelocation, addresses: Addresses
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
    if target.kind is not place.holds:
        why = f"it is {target.kind.value} {target.name}, and should be a {place.holds.value}"
        what, section = f"{label} is of the wrong kind", MAPS
        raise ObjectError(what, why=why, map=place.name, section=section, member="values", symbol=target.name)
    return MapSlot(element, target.name)


def _addend(elf: ElfObject, relocation: ElfRelocation) -> int:
    """Return what the object stores at the address: BPF relocations carry no addends of their own."""
    section = elf.section(MAPS)
    data = bytes(section.data) if section else b""
    stored = data[relocation.offset_bytes : relocation.offset_bytes + SLOT_BYTES]
    return int.from_bytes(stored, "little", signed=True)


def _misplaced(place: SlotPlace | None, relocation: ElfRelocation) -> ObjectError:
    offset, name = relocation.offset_bytes, place.name if place else ""
    what = f"map {name} holds an address where none can be" if name else f"an address in {MAPS} is in no map"
    why = f"byte {offset} of {MAPS}, relocation type {relocation.type}, is no element of values"
    hint = "write initial contents as .values = {[INDEX] = &MAP}"
    return ObjectError(what, why=why, hint=hint, map=name, section=MAPS, offset=offset, member="values")
