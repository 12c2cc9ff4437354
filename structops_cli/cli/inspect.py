"""``structops inspect``."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import click

from structops_cli.btf.ext import CoreRelo
from structops_cli.btf.layout import resolve, size_of
from structops_cli.btf.types import Struct
from structops_cli.cli.live import c_text
from structops_cli.cli.object_name import ObjectName
from structops_cli.cli.output import Output, common_options, fields, shown, table
from structops_cli.cli.unread_btf import note_unknown_in_object
from structops_cli.core.access import subject
from structops_cli.errors import StructopsError
from structops_cli.obj.spec import (
    DataSection,
    DataVariable,
    ExternCategory,
    Function,
    MapSpec,
    ObjectSpec,
    StructOpsVariable,
)
from structops_cli.runtime.objects import open_object
from structops_cli.struct_ops.member_text import MOST_ELEMENTS, decode_part, omitted_elements
from structops_cli.syscall.uapi import BpfMapType, CoreReloKind

SHORTENED = "Long arrays are shortened; --all shows every element."


@click.command()
@click.argument("object_name", metavar="OBJ", type=ObjectName())
@click.option("--all", "whole", is_flag=True, help="Show every element of long arrays.")
@common_options
@click.pass_obj
def command(output: Output, object_name: str, *, whole: bool) -> None:
    """Show the contents of an object: struct_ops variables, programs, maps, global data, externs, licence.

    Reads only the object: needs no root and no kernel with BTF. OBJ is the name of a
    bundled object, or a path: with a slash or ending in .o. -v also lists every CO-RE relocation.
    """
    spec = open_object(object_name)
    data = _data(spec, None if whole else MOST_ELEMENTS)
    note_unknown_in_object(output, spec)
    output.result("inspect", data, lambda: _text(data, relocations=output.verbosity > 0))


def _data(spec: ObjectSpec, most: int | None) -> dict[str, Any]:
    return {
        "object": spec.name,
        "licence": spec.licence,
        "struct_ops": [_variable(spec, variable, most) for variable in spec.struct_ops],
        "programs": [_function(spec, function) for function in spec.functions if function.is_program],
        "subprograms": [_function(spec, function) for function in spec.functions if not function.is_program],
        "other_programs": [{"name": item.name, "section": item.section} for item in spec.other_programs],
        "maps": [_map(item) for item in spec.maps],
        "data": [
            {
                "section": section.name,
                "size": len(section.contents),
                "read_only": section.read_only,
                "addresses": [{"offset": a.offset_bytes, "symbol": a.symbol} for a in section.addresses],
                "variables": [_global(spec, section, v, most) for v in section.variables],
            }
            for section in spec.data
        ],
        "externs": [
            {"name": e.name, "section": e.section, "weak": e.weak, "kind": e.category.value,
             "function": e.category is ExternCategory.FUNCTION}
            for e in spec.externs
        ],
    }  # fmt: skip


def _global(
    spec: ObjectSpec, section: DataSection, variable: DataVariable, most: int | None
) -> dict[str, Any]:
    value = None
    if variable.type_id:
        value = decode_part(spec.btf, variable.type_id, section.contents, variable.offset_bytes, most)
    return {
        "name": variable.name,
        "offset": variable.offset_bytes,
        "size": variable.size_bytes,
        "static": variable.is_static,
        "value": value,
        "omitted": omitted_elements(value) if most is not None else 0,
    }


def _map(item: MapSpec) -> dict[str, Any]:
    return {
        "name": item.name,
        "type": _map_type(item.map_type),
        "key_size": item.key_size,
        "value_size": item.value_size,
        "max_entries": item.max_entries,
        "flags": item.map_flags,
        "extra": item.map_extra,
        "numa_node": item.numa_node,
        "pinned_by_name": item.pinned_by_name,
        "inner": _map(item.inner) if item.inner else None,
        "contents": [{"element": slot.element, "symbol": slot.symbol} for slot in item.slots],
    }


def _map_rows(maps: Iterable[dict[str, Any]]) -> Iterator[tuple[object, ...]]:
    """Yield a row for each map, and one for the inner map of a map of maps."""
    for item in maps:
        more = [f"flags {item['flags']:#x}"] if item["flags"] else []
        more += [f"extra {item['extra']:#x}"] if item["extra"] else []
        more += [f"numa node {item['numa_node']}"] if item["numa_node"] is not None else []
        more += ["pinned by name"] if item["pinned_by_name"] else []
        more += [f"[{one['element']}] = {one['symbol']}" for one in item["contents"]]
        sizes = (item["key_size"], item["value_size"], item["max_entries"])
        yield item["name"], item["type"], *sizes, ", ".join(more) or "-"
        if item["inner"]:
            yield from _map_rows([item["inner"]])


def _map_type(number: int) -> str:
    try:
        return BpfMapType(number).name.lower()
    except ValueError:
        return f"type {number}"


def _function(spec: ObjectSpec, function: Function) -> dict[str, Any]:
    return {
        "name": function.name,
        "section": function.section,
        "sleepable": function.sleepable,
        "global": function.is_global,
        "insns": len(function.insns) // 8,
        "relocations": [
            {"insn": r.insn_index, "target": r.target.value, "symbol": r.symbol} for r in function.relocations
        ],
        "core_relocations": [_core_relocation(spec, item) for item in function.core_relos],
    }


def _core_relocation(spec: ObjectSpec, item: CoreRelo) -> dict[str, Any]:
    """Return a CO-RE relocation by name, or by number if it is invalid."""
    try:
        kind = CoreReloKind(item.kind)
        words = {"kind": kind.name.lower(), "about": subject(spec.btf, item.type_id, item.access, kind)}
    except (ValueError, StructopsError):
        words = {"kind": str(item.kind), "about": f"type {item.type_id}, access {item.access}"}
    return {"insn": item.insn_index, **words}


def _variable(spec: ObjectSpec, variable: StructOpsVariable, most: int | None) -> dict[str, Any]:
    struct = resolve(spec.btf, variable.type_id)
    assert isinstance(struct, Struct)
    pointers = {item.offset_bytes: item.function for item in variable.functions}
    members: list[dict[str, Any]] = []
    for member in struct.members:
        start = member.bit_offset // 8
        if start in pointers:
            members.append({"name": member.name, "program": pointers[start]})
        elif any(variable.data[start : start + size_of(spec.btf, member.type)]):
            value = decode_part(spec.btf, member.type, variable.data, start, most)
            members.append(
                {
                    "name": member.name,
                    "value": value,
                    "omitted": omitted_elements(value) if most is not None else 0,
                }
            )
    return {
        "name": variable.name,
        "type": variable.type_name,
        "section": variable.section,
        "link": variable.link,
        "optional": variable.optional,
        "members": members,
    }


def _text(data: dict[str, Any], *, relocations: bool) -> str:
    parts = [fields([("object", data["object"]), ("licence", data["licence"] or "none")])]
    parts += [_variable_text(item) for item in data["struct_ops"]]
    parts += [
        _section(("PROGRAM", "SECTION", "INSNS", "CO-RE", "REFERS TO"), map(_function_row, data["programs"])),
        _section(("SUBPROGRAM", "SECTION", "INSNS", "CO-RE", "REFERS TO"), map(_function_row, data["subprograms"])),
        _section(("PROGRAM OF ANOTHER TYPE", "SECTION"), ((p["name"], p["section"]) for p in data["other_programs"])),
        _section(("MAP", "TYPE", "KEY", "VALUE", "ENTRIES", "MORE"), _map_rows(data["maps"])),
        _section(("VARIABLE", "SECTION", "SIZE", "VALUE"),
                 ((v["name"], s["section"], v["size"], c_text(v["value"])) for s in data["data"] for v in s["variables"])),
        _section(("ADDRESS OF", "STORED IN", "BYTE", "NOTE"),
                 ((a["symbol"], s["section"], a["offset"], "stays as the file has it")
                  for s in data["data"] for a in s["addresses"])),
        _section(("CO-RE RELOCATION", "OF", "INSN", "KIND"), _relocation_rows(data) if relocations else ()),
        _section(("EXTERN", "KIND", "SECTION", "WEAK"),
                 ((e["name"], e["kind"], e["section"], "yes" if e["weak"] else "no") for e in data["externs"])),
        SHORTENED if _omitted(data) else "",
    ]  # fmt: skip
    return "\n\n".join(filter(None, parts))


def _omitted(data: dict[str, Any]) -> bool:
    """Tell whether elements of a value are omitted."""
    shown = [one for section in data["data"] for one in section["variables"]]
    shown += [one for item in data["struct_ops"] for one in item["members"]]
    return any(one.get("omitted") for one in shown)


def _relocation_rows(data: dict[str, Any]) -> Iterator[tuple[object, ...]]:
    for function in (*data["programs"], *data["subprograms"]):
        for item in function["core_relocations"]:
            yield item["about"], function["name"], item["insn"], item["kind"]


def _section(header: tuple[str, ...], rows: Iterable[tuple[object, ...]]) -> str:
    """Return a table, "" without rows."""
    found = list(rows)
    return table(header, found) if found else ""


def _function_row(item: dict[str, Any]) -> tuple[object, ...]:
    symbols = ",".join(dict.fromkeys(r["symbol"] for r in item["relocations"])) or "-"
    return (item["name"], item["section"], item["insns"], len(item["core_relocations"]), symbols)


def _variable_text(item: dict[str, Any]) -> str:
    how = ("link" if item["link"] else "no link") + (", optional" if item["optional"] else "")
    pairs = [
        (f".{m['name']}", m["program"] if "program" in m else c_text(m["value"])) for m in item["members"]
    ]
    head = shown(f"struct_ops {item['name']} ({item['type']}, {how})")
    return f"{head}\n{fields(pairs, indent=2)}"
