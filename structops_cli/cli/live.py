"""Show a live struct_ops map, as JSON and as text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from structops_cli.runtime.live_map import LiveMap, LiveProgram, MapState, programs_of
from structops_cli.runtime.pin_directory import exposure_of
from structops_cli.struct_ops.value import state_name

if TYPE_CHECKING:
    from structops_cli.struct_ops.member_text import MemberValue


def map_data(live: LiveMap) -> dict[str, Any]:
    """Return a live map as plain data, without its value."""
    return {
        "map_id": live.info.id,
        "map_name": live.info.name,
        "name": live.name,
        "type": live.type.name,
        "module": None if live.type.unread else live.type.module or "vmlinux",
        "state": live.state,
        "reason": live.reason,
        "kernel_state": state_name(live.kernel_state),
        "link_map": live.is_link_map,
        "refcnt": live.refcnt,
        "links": [{"id": link.id, "pins": list(link.pins)} for link in live.links],
        "pins": list(live.pins),
        "exposed_pins": [
            {"pin": pin, "why": found.why} for pin in pins_of(live) if (found := exposure_of(pin))
        ],
        "programs": None if live.type.unread else [program_data(program) for program in programs_of(live)],
    }


def one_or_several(selectors: Sequence[str], maps: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return the JSON of maps: the fields of the map for one selector, ``maps`` for several."""
    return maps[0] if len(selectors) == 1 else {"maps": list(maps)}


def program_data(program: LiveProgram) -> dict[str, Any]:
    """Return a live program as plain data."""
    info = program.info
    return {
        "id": info.id,
        "name": info.name,
        "members": list(program.members),
        "tag": info.tag,
        "jited_bytes": info.jited_bytes,
        "xlated_bytes": info.xlated_bytes,
        "map_ids": list(info.map_ids),
    }


def member_data(live: LiveMap) -> list[dict[str, Any]]:
    """Return every member of a live map's value: a program by name and id, or the data."""
    from structops_cli.struct_ops.member_text import flag_names  # list and show decode no member

    names = {program.info.id: program.info.name for program in programs_of(live)}
    found = []
    for item in live.value.members:
        entry: dict[str, Any] = {"name": item.member.name, "offset": item.member.offset_bytes}
        if item.member.proto is not None:
            program = (
                {"id": item.program_id, "name": names.get(item.program_id, "")} if item.program_id else None
            )
            entry["program"] = program
        else:
            entry["value"] = item.value
            symbols = (
                flag_names(live.type, item.member.name, item.value) if isinstance(item.value, int) else ""
            )
            if symbols:
                entry["flags"] = symbols
        found.append(entry)
    return found


def pins_of(live: LiveMap) -> list[str]:
    """Return the pins of a map and of its links."""
    return [*(pin for link in live.links for pin in link.pins), *live.pins]


def holders(live: LiveMap) -> str:
    """Return the kernel's reference count of a map; a dash if the state has none."""
    return str(live.refcnt) if live.state in (MapState.REGISTERED, MapState.RETIRED) else "-"


def c_text(value: MemberValue) -> str:
    """Return a value as a C initialiser."""
    omitted = getattr(value, "omitted", 0)
    more = [f"/* {omitted} more */"] if omitted else []
    if isinstance(value, bool):
        return "true" if value else "false"
    if type(value) is str or (omitted and isinstance(value, str)):
        return " ".join([f'"{value}"', *more])  # no enumerator, which C writes without quotes
    if isinstance(value, dict):
        return "{" + ", ".join(f".{name} = {c_text(part)}" for name, part in value.items()) + "}"
    if isinstance(value, list):
        return "{" + ", ".join([*_element_texts(value), *more]) + "}"
    return str(value)


def _element_texts(values: list[MemberValue]) -> Iterator[str]:
    """Yield each element of an array as C source; render a repeated object once."""
    texts: dict[int, str] = {}
    for value in values:
        if type(value) is int:
            yield str(value)
            continue
        if id(value) not in texts:
            texts[id(value)] = c_text(value)
        yield texts[id(value)]
