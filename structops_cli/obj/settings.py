"""Apply a user's settings to an object: constants, global variables, map attributes."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from structops_cli.btf.types import Struct
from structops_cli.errors import AmbiguousError, UsageError
from structops_cli.obj.data import locate_in_section, section_of_variable, set_variable, split_place
from structops_cli.obj.spec import DataSection, MapSpec, ObjectSpec
from structops_cli.shell_words import shell_words
from structops_cli.syscall.uapi import BPF_F_NUMA_NODE

LIMITS = {
    "max_entries": (1 << 32) - 1,
    "map_flags": (1 << 32) - 1,
    "numa_node": (1 << 32) - 1,
    "map_extra": (1 << 64) - 1,
}
"""The attributes of a map that a user may set, with their largest numbers."""
INNER = ".inner"
"""The suffix that names the inner maps of a map of maps."""


class ChosenGlobals(NamedTuple):
    """The parts of a data section that a user has set, as (first bit, number of bits)."""

    section: str
    bits: tuple[tuple[int, int], ...]


def with_constants(spec: ObjectSpec, constants: Mapping[str, str]) -> ObjectSpec:
    """Return the object with ``.rodata`` variables set from text.

    Raises UsageError for an unknown variable.
    """
    for place, text in constants.items():
        section, path = split_place(place)
        if not _holds(spec, place, read_only=True) and _holds(spec, place, read_only=False):
            why, hint = "programs may write to it", f"write {shell_words('--set', f'{place}={text}')}"
            raise UsageError(f"{place} is not a constant", why=why, hint=hint, variable=path)
        spec = _set(spec, _sections(spec, section, read_only=True), path, text)
    return spec


def with_globals(
    spec: ObjectSpec, members: Mapping[tuple[str, str], str]
) -> tuple[ObjectSpec, dict[tuple[str, str], str]]:
    """Return the object with writable variables set from text, and the other settings.

    Keys are (variable or "", member), as in ``Selection.members``. The other
    settings are of struct_ops members. Raises AmbiguousError for a name of both.
    """
    left = {}
    for (variable, member), text in members.items():
        place = f"{variable}.{member}" if variable else member
        if _is_global(spec, variable, member, text):
            section, path = split_place(place)
            spec = _set(spec, _sections(spec, section, read_only=False), path, text)
        else:
            left[variable, member] = text
    return spec, left


def chosen_globals(spec: ObjectSpec, members: Mapping[tuple[str, str], str]) -> tuple[ChosenGlobals, ...]:
    """Return the parts of writable global variables that ``with_globals`` sets."""
    found: dict[str, list[tuple[int, int]]] = {}
    for (variable, member), text in members.items():
        if _is_global(spec, variable, member, text):
            name, path = split_place(f"{variable}.{member}" if variable else member)
            section = section_of_variable(_sections(spec, name, read_only=False), path)
            location = locate_in_section(section, spec.btf, path)
            found.setdefault(section.name, []).append((location.bit_offset, location.bit_size))
    return tuple(ChosenGlobals(section, tuple(bits)) for section, bits in found.items())


def _is_global(spec: ObjectSpec, variable: str, member: str, text: str) -> bool:
    """Tell whether ``--set`` names a writable global variable, not a struct_ops member."""
    place = f"{variable}.{member}" if variable else member
    of_struct_ops = _is_member(spec, variable, member)
    if _holds(spec, place, read_only=False):
        if of_struct_ops:
            raise _two_meanings(spec, place)
        return True
    if not of_struct_ops and _holds(spec, place, read_only=True):
        raise UsageError(
            f"{place} is a constant",
            hint=f"write {shell_words('--const', f'{place}={text}')}",
            variable=place,
        )
    return False


def _sections(spec: ObjectSpec, name: str, *, read_only: bool) -> list[DataSection]:
    return [one for one in spec.data if one.read_only is read_only and name in {"", one.name}]


def _set(spec: ObjectSpec, sections: Sequence[DataSection], path: str, text: str) -> ObjectSpec:
    section = section_of_variable(sections, path)
    changed = set_variable(section, spec.btf, path, text)
    return spec._replace(data=tuple(changed if item is section else item for item in spec.data))


def _holds(spec: ObjectSpec, place: str, *, read_only: bool) -> bool:
    """Tell whether a place begins with a variable of the object."""
    section, path = split_place(place)
    names = {v.name for one in _sections(spec, section, read_only=read_only) for v in one.variables}
    ends = [match.start() for match in re.finditer(r"[.\[]", path)]
    return any(path[:end] in names for end in (*ends, len(path)))


def _is_member(spec: ObjectSpec, variable: str, member: str) -> bool:
    """Tell whether a path names a struct_ops variable, or a member of one."""
    if variable:
        return any(one.name == variable for one in spec.struct_ops)
    structs = (spec.btf.type(one.type_id) for one in spec.struct_ops)
    return any(item.name == member for one in structs if isinstance(one, Struct) for item in one.members)


def _two_meanings(spec: ObjectSpec, place: str) -> AmbiguousError:
    section = section_of_variable(_sections(spec, "", read_only=False), place).name
    candidates = [f"{section}:{place}", *(f"{one.name}.{place}" for one in spec.struct_ops)]
    why = f"it is a member of a struct_ops variable, and a variable of {section}"
    hint = f"write {candidates[0]}=... or VAR.{place}=..."
    what = f"--set {place} could mean two things"
    return AmbiguousError(what, why=why, hint=hint, variable=place, candidates=candidates)


# Maps


def with_map_attributes(spec: ObjectSpec, attributes: Mapping[tuple[str, str], str]) -> ObjectSpec:
    """Return the object with attributes of its maps set, by (map, attribute).

    ``MAP.inner`` names the inner maps of a map of maps. Raises UsageError for an
    unknown map or attribute, and for a number that does not fit.
    """
    for (name, attribute), text in attributes.items():
        outer = name.removesuffix(INNER)
        chosen = [one for one in spec.maps if one.name == outer and (name == outer or one.inner)]
        if not chosen:
            raise _no_map(spec, name)
        number = _number(name, attribute, text)
        changed = {one: _changed(one, attribute, number, inner=name != outer) for one in chosen}
        spec = spec._replace(maps=tuple(changed.get(one, one) for one in spec.maps))
    return spec


def _changed(one: MapSpec, attribute: str, number: int, *, inner: bool) -> MapSpec:
    if inner and one.inner:
        return one._replace(inner=_changed(one.inner, attribute, number, inner=False))
    if attribute == "numa_node":  # the kernel looks at the node only with the flag
        one = one._replace(map_flags=one.map_flags | BPF_F_NUMA_NODE)
    return one._replace(**{attribute: number})  # type: ignore[arg-type]  # every attribute in LIMITS is a number


def _number(name: str, attribute: str, text: str) -> int:
    what = f"--map {name}.{attribute}={text} is refused"
    if attribute not in LIMITS:
        known = list(LIMITS)
        why, hint = f"{attribute} is not one of {', '.join(known)}", "write --map NAME.max_entries=NUMBER"
        raise UsageError(what, why=why, hint=hint, map=name, candidates=known)
    try:
        number = int(text, 0)
    except ValueError:
        raise UsageError(what, why=f"{text!r} is not a whole number", map=name) from None
    if not 0 <= number <= LIMITS[attribute]:
        raise UsageError(what, why=f"it has to be 0 to {LIMITS[attribute]}", map=name)
    return number


def _no_map(spec: ObjectSpec, name: str) -> UsageError:
    names = [part for one in spec.maps for part in (one.name, *([one.name + INNER] if one.inner else []))]
    why = f"its maps are {', '.join(names)}" if names else "it has none"
    return UsageError(f"{spec.name} has no map {name}", why=why, map=name, candidates=names)
