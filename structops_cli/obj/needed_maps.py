"""Select the maps that a load needs, and those that need a user.

The kernel clears some maps when their last fd and pin are gone, although a
program still uses them. A program array is emptied (``prog_array_map_clear``).
Timers and work queues in values are cancelled, and cannot be started again
(``bpf_timer_init``, ``map_release_uref``).
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import NamedTuple

from structops_cli.btf.btf import Btf
from structops_cli.btf.layout import resolve
from structops_cli.btf.types import Array, Struct, Union
from structops_cli.errors import ObjectError
from structops_cli.obj.spec import DataSection, MapSlot, MapSpec, ObjectSpec
from structops_cli.syscall.uapi import BPF_F_SEGV_ON_FAULT, BpfMapType, BtfKind


class NeededMaps(NamedTuple):
    """The maps to create: ordinary maps, data sections, and the arena with its section."""

    maps: tuple[MapSpec, ...]
    data: tuple[DataSection, ...]
    arena: MapSpec | None
    arena_data: DataSection | None


def needed_maps(spec: ObjectSpec, used: Collection[str], programs: Collection[str]) -> NeededMaps:
    """Return the maps that ``programs`` need. ``used`` are the symbols they refer to.

    A map inside a needed map is needed. So is a map that is pinned by name.
    Raises ObjectError for impossible initial contents, and for globals of an
    arena without an arena.
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
    """Return the arena in use, by its name or through its globals."""
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
        why = f"its elements have numbers, and its key has {one.key_size} bytes"
        what = f"map {one.name} cannot have initial contents"
        raise ObjectError(what, why=why, hint="give it a key of type __u32", map=one.name, member="key")
    for slot in one.slots:
        _check_slot(one, slot, programs)


def _check_slot(one: MapSpec, slot: MapSlot, programs: Collection[str]) -> None:
    if one.map_type != BpfMapType.HASH_OF_MAPS and slot.element >= one.max_entries:
        what = f"map {one.name} has no element {slot.element} that could hold {slot.symbol}"
        why = f"max_entries is {one.max_entries}"
        hint = f"give it more: --map {one.name}.max_entries={slot.element + 1}"
        raise ObjectError(what, why=why, hint=hint, map=one.name, symbol=slot.symbol, member="values")
    if one.inner is None and slot.symbol not in programs:
        what = f"element {slot.element} of map {one.name} is the program {slot.symbol}, which is not loaded"
        why = "struct_ops programs are loaded for members, and no member points at this one"
        hint = "point a member of a registered variable at it, or leave the element out"
        raise ObjectError(what, why=why, hint=hint, map=one.name, program=slot.symbol, member="values")


STOPPED = {
    "bpf_timer": "its timers stop",
    "bpf_wq": "its work queues stop",
    "bpf_task_work": "its task work stops",
}
"""The effect on fields that the kernel frees with the last user, by their struct."""
DEEPEST = 8
"""The deepest nesting of such fields in the kernel (``btf_find_struct_field``)."""


class UserHeld(NamedTuple):
    """A map or data section, and its loss when the last user is gone."""

    name: str
    loss: str


def user_held(spec: ObjectSpec) -> tuple[UserHeld, ...]:
    """Return the maps and data sections that lose something with the last fd and pin."""
    arrays = [
        UserHeld(one.name, "its programs are taken out") for one in spec.maps if one.slots and not one.inner
    ]
    known = any(spec.btf.find(name, BtfKind.STRUCT) is not None for name in STOPPED)
    return (*arrays, *_with_fields(spec)) if known else tuple(arrays)


def _with_fields(spec: ObjectSpec) -> Iterator[UserHeld]:
    for one in spec.maps:
        if loss := _loss(spec.btf, one.value_type_id, DEEPEST):
            yield UserHeld(one.name, loss)
    for section in spec.data:
        losses = (_loss(spec.btf, variable.type_id, DEEPEST) for variable in section.variables)
        if loss := next(filter(None, losses), ""):
            yield UserHeld(section.name, loss)


def _loss(btf: Btf, type_id: int, depth: int) -> str:
    """Return the loss of a value of this type, "" for none."""
    kind = resolve(btf, type_id) if type_id and depth else None
    if isinstance(kind, Array):
        return _loss(btf, kind.element_type, depth - 1)
    if isinstance(kind, Struct) and kind.name in STOPPED:
        return STOPPED[kind.name]
    members = kind.members if isinstance(kind, Struct | Union) else ()
    return next(filter(None, (_loss(btf, member.type, depth - 1) for member in members)), "")
