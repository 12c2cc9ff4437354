"""Which maps of an object a load needs, and whether what they hold at first can be had. Pure."""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple

from structops_cli.errors import ObjectError
from structops_cli.obj.spec import DataSection, MapSlot, MapSpec, ObjectSpec
from structops_cli.syscall.uapi import BPF_F_SEGV_ON_FAULT, BpfMapType

__all__ = ["NeededMaps", "needed_maps"]


class NeededMaps(NamedTuple):
    """What has to be created: ordinary maps, data sections that become maps, and the section in the arena."""

    maps: tuple[MapSpec, ...]
    data: tuple[DataSection, ...]
    arena: MapSpec | None
    arena_data: DataSection | None


def needed_maps(spec: ObjectSpec, used: Collection[str], programs: Collection[str]) -> NeededMaps:
    """Return the maps that ``programs`` need, which refer to the symbols ``used``.

    A map that is held by another one is needed with it; one that is pinned by
    name is always, for it is there to be seen by others. Raises ``ObjectError``
    for initial contents that cannot be, and for globals of an arena without one.
    """
    by_name = {one.name: one for one in spec.maps}
    arena = _arena(spec, used)
    wanted = [one for one in spec.maps if one.name in used or one.pinned_by_name or one is arena]
    reached = {one.name for one in wanted}
    for one in wanted:  # grows while it is walked
        _check_slots(one, programs)
        held = [by_name[slot.symbol] for slot in one.slots if one.inner and slot.symbol not in reached]
        reached |= {inner.name for inner in held}
        wanted += held
    return NeededMaps(
        maps=tuple(one for one in spec.maps if one.name in reached),
        data=tuple(section for section in spec.data if section.name in used and not section.in_arena),
        arena=arena,
        arena_data=next((section for section in spec.data if section.in_arena), None) if arena else None,
    )


def _arena(spec: ObjectSpec, used: Collection[str]) -> MapSpec | None:
    """Return the arena that is used, by its name or through its globals."""
    section = next((section for section in spec.data if section.in_arena), None)
    arenas = [one for one in spec.maps if one.map_type == BpfMapType.ARENA]
    if section is None or section.name not in used:
        return next((one for one in arenas if one.name in used), None)
    if len(arenas) != 1:
        what = f"the global variables of section {section.name} have no arena" if not arenas else (
            f"the global variables of section {section.name} could be in several arenas")  # fmt: skip
        names = ", ".join(one.name for one in arenas) or "none"
        hint = "define one map of type BPF_MAP_TYPE_ARENA"
        raise ObjectError(what, why=f"the arenas of the object are: {names}", hint=hint, section=section.name)
    if arenas[0].map_flags & BPF_F_SEGV_ON_FAULT:
        what = f"arena {arenas[0].name} cannot hold global variables"
        why = "with BPF_F_SEGV_ON_FAULT a write to a page that no program allocated kills the writer"
        raise ObjectError(what, why=why, hint="leave the flag out", map=arenas[0].name, section=section.name)
    return arenas[0]


def _check_slots(one: MapSpec, programs: Collection[str]) -> None:
    if one.slots and one.key_size != 4:
        why = f"its elements are numbered, and its key has {one.key_size} bytes"
        what = f"map {one.name} cannot have initial contents"
        raise ObjectError(what, why=why, hint="give it a key of type __u32", map=one.name, member="key")
    for slot in one.slots:
        _check_slot(one, slot, programs)


def _check_slot(one: MapSpec, slot: MapSlot, programs: Collection[str]) -> None:
    if one.map_type != BpfMapType.HASH_OF_MAPS and slot.element >= one.max_entries:
        what = f"map {one.name} has no element {slot.element} that could hold {slot.symbol}"
        why, hint = (
            f"max_entries is {one.max_entries}",
            f"give it more: --map {one.name}.max_entries={slot.element + 1}",
        )
        raise ObjectError(what, why=why, hint=hint, map=one.name, symbol=slot.symbol, member="values")
    if one.inner is None and slot.symbol not in programs:
        what = f"element {slot.element} of map {one.name} is the program {slot.symbol}, which is not loaded"
        why = "a struct_ops program is loaded for the member that points at it, and none does"
        hint = "point a member of a registered variable at it, or leave the element out"
        raise ObjectError(what, why=why, hint=hint, map=one.name, program=slot.symbol, member="values")
