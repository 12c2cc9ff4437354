"""Render registered objects as text and as plain data."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from structops_cli.cli.mutation import did
from structops_cli.cli.output import Output, Stands, fields, shown, table
from structops_cli.cli.unread_btf import note_unknown_in_object
from structops_cli.obj.spec import ObjectSpec
from structops_cli.runtime.objects import RegisteredObject
from structops_cli.runtime.registration import Registered
from structops_cli.shell_words import shell_words
from structops_cli.struct_ops.left_out import absent_links, absent_members, not_attached, programs_left_out


def warn_left_out(output: Output, item: RegisteredObject, *, lasts: bool = True) -> None:
    """Warn of the parts of an object that are not registered. Call before ``result``.

    A missing link matters only to a registration that outlasts the command (``lasts``).
    """
    links = absent_links(item.spec, item.plan) if lasts else ()
    for finding in (*absent_members(item.spec, item.plan), *links):
        output.warn(finding.what, why=finding.why, fix=finding.hint)
    warn_not_attached(output, item.spec)
    for lost in item.unheld:
        output.warn(
            f"map {lost.name}: {lost.loss} when this command ends",
            why="no process and no pin holds the map then",
            fix="pin the map by name (__uint(pinning, LIBBPF_PIN_BY_NAME)), or use --transient",
        )


def warn_not_attached(output: Output, spec: ObjectSpec) -> None:
    """Warn of the programs of an object that are not loaded."""
    for finding in programs_left_out(spec):
        output.warn(finding.what, why=finding.why, fix=finding.hint)


def not_attached_data(spec: ObjectSpec) -> list[dict[str, str]]:
    """Return the programs of an object that are not loaded as plain data."""
    return [{"object": spec.name, "name": one.name, "section": one.section} for one in not_attached(spec)]


def say_aside(output: Output, item: RegisteredObject) -> None:
    """Note replaced pins, shared maps and missing weak symbols."""
    for one in item.registered:
        if one.replaced_pin:
            output.note(
                f"note: {one.pin} was the pin of a link that registers nothing any more; it is replaced"
            )
    for shared in item.shared_maps:
        how = "pinned at" if shared.created else "the one that was pinned at"
        output.note(f"note: map {shared.name} (map {shared.map_id}) is {how} {shared.pin}")
    note_unknown_in_object(output, item.spec)
    for lacking in item.missing:
        if lacking.differs:
            output.note(f"note: the weak function {lacking.extern.name} is not used: {lacking.missing}")
    if missing := [lacking.extern.name for lacking in item.missing if not lacking.differs]:
        output.debug(f"note: weak symbols that this kernel lacks: {', '.join(missing)}")
    warned = {one.name for one in not_attached(item.spec)} | {one.program for one in item.plan.skipped}
    if unused := [name for name in item.plan.unused if name not in warned]:
        output.debug(f"note: not loaded, for their variables are not registered: {', '.join(unused)}")


def registered_data(item: RegisteredObject) -> list[dict[str, Any]]:
    """Return a registered object as plain data, an entry for each struct_ops variable."""
    return [
        {
            "object": item.spec.name,
            "variable": one.variable,
            "type": one.type_name,
            "name": one.name,
            "state": one.state,
            "map_id": one.map_id or None,
            "map_name": one.map_name,
            "link_id": one.link_id,
            "pin": one.pin,
            "replaced_pin": one.replaced_pin,
            "legacy_fallback": one.legacy_fallback,
            "changed": one.changed,
            "programs": programs_data(one),
            "skipped_members": [s.member for s in item.plan.skipped if s.variable == one.variable],
            "shared_maps": [shared._asdict() for shared in item.shared_maps],
        }
        for one in item.registered
    ]


def programs_data(one: Registered) -> list[dict[str, Any]]:
    """Return the programs of one registration as plain data."""
    return [
        {
            "name": name,
            "id": info.id or None,
            "tag": info.tag,
            "jited_bytes": info.jited_bytes,
            "xlated_bytes": info.xlated_bytes,
            "verified_insns": info.verified_insns,
            "map_ids": list(info.map_ids),
        }
        for name, info in one.programs
    ]


def registered_text(item: RegisteredObject, *, dry_run: bool = False) -> str:
    """Return a registered object as text, in a dry run a planned one."""
    return "\n\n".join(_one_text(one, dry_run=dry_run) for one in item.registered)


def registration_stands(done: Sequence[RegisteredObject]) -> Stands:
    """Return the error of a registration whose report could not be written."""
    names = [one.name for item in done for one in item.registered if one.changed]
    undo = "; ".join(shell_words("structops", "unregister", name) for name in names)
    what = f"{', '.join(names)} {'is' if len(names) == 1 else 'are'} registered"
    return Stands(what, f"see structops list; to undo it: {undo}")


def _pin_text(one: Registered) -> str | None:
    if one.pin is not None and one.pin.startswith("/proc/self/fd/"):
        return f"{one.pin.rpartition('/')[2]}, in a bpffs of this process only"
    return one.pin or ("none: held by this process" if one.link_id is not None else None)


def _one_text(one: Registered, *, dry_run: bool) -> str:
    name = shown(f"{one.name} ({one.type_name})")
    verb = did("registered", "register", dry_run=dry_run)
    head = f"{verb} {name}\n" if one.changed else f"{name} is registered already: nothing to do\n"
    link: object = one.link_id
    if link is None:
        link = "new" if one.pin else "none: registered without a link"
    head += fields([
        ("map", f"{one.map_id or 'new'} ({one.map_name})"),
        ("link", link),
        ("pin", _pin_text(one)),
        ("state", None if dry_run and one.changed else one.state),
    ], indent=2)  # fmt: skip
    return f"{head}\n{programs_text(one)}"


def programs_text(one: Registered) -> str:
    """Return the programs of one registration as a table, indented."""
    rows = [
        (info.id or "new", name, info.jited_bytes, info.verified_insns or "-") for name, info in one.programs
    ]
    lines = table(("PROGRAM", "NAME", "JITED", "VERIFIED"), rows).splitlines()
    return "\n".join("  " + line for line in lines)
