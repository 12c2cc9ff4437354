"""Plan an object for a kernel: maps, members, programs and their member indexes. Pure.

The plan follows the conventions of struct_ops loaders. The variable's struct name without its ``___flavour``
is the kernel's type. Members match by name. A member that the kernel lacks is left out if it is zero or
has a program, and refused otherwise. A program is loaded for one type and one member index.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from structops_cli.btf.kernel_types import KernelTypes
from structops_cli.btf.names import essential_name
from structops_cli.errors import FitError, ObjectError, StructopsError, UnsupportedError, UsageError
from structops_cli.obj.spec import ObjectSpec, StructOpsVariable
from structops_cli.struct_ops.capabilities import has_links
from structops_cli.struct_ops.catalogue import KernelMember, StructOpsType, find_type
from structops_cli.struct_ops.kinds import kind_of
from structops_cli.struct_ops.plan_members import (
    MemberPlan,
    Report,
    SkippedMember,
    plan_members,
)


def _refuse(error: StructopsError) -> None:
    raise error


class Selection(NamedTuple):
    """The caller's choices for an object.

    ``only`` names the variables to register (empty: all but the optional). ``also`` names optional variables
    to register too. ``link`` forces links on or off (None: the object decides). ``members`` overrides data
    members: ``(variable or "", member)`` to text.
    """

    only: tuple[str, ...] = ()
    link: bool | None = None
    members: Mapping[tuple[str, str], str] = {}
    also: tuple[str, ...] = ()


def member_overrides(members: Mapping[str, str]) -> dict[tuple[str, str], str]:
    """Return ``Selection.members`` for the keys ``VAR.MEMBER`` and ``VAR``."""
    overrides = {}
    for path, text in members.items():
        variable, dot, member = path.partition(".")
        overrides[(variable, member) if dot and variable else ("", path)] = text
    return overrides


class MapPlan(NamedTuple):
    """One struct_ops map to create. ``link_wanted`` without ``link``: the kernel has no links."""

    variable: str
    type: StructOpsType
    link: bool
    link_wanted: bool
    members: tuple[MemberPlan, ...]
    registered_name: str


class ProgramPlan(NamedTuple):
    """One program to load: for this type, at this member index."""

    name: str
    type: StructOpsType
    member: KernelMember


class Plan(NamedTuple):
    """The plan of an object. ``unused`` are programs that no planned map refers to."""

    maps: tuple[MapPlan, ...]
    programs: tuple[ProgramPlan, ...]
    skipped: tuple[SkippedMember, ...]
    unused: tuple[str, ...]


def plan_object(
    spec: ObjectSpec,
    kernel: KernelTypes,
    selection: Selection = Selection(),  # noqa: B008 -- immutable
    report: Report = _refuse,
) -> Plan:
    """Plan an object for a kernel's types; ``FitError`` names the member that does not fit.

    ``report`` gets each error instead of an exception; the plan then leaves out the faulty part.
    """
    variables = select(spec, selection.only, selection.also)
    _check_overrides(variables, selection)
    links = has_links(kernel)
    if selection.link and not links:
        report(_no_links())
    maps, skipped = [], []
    types = _find_types(kernel, variables, report)
    for variable in variables:
        kernel_type = types.get(essential_name(variable.type_name))
        if kernel_type is None:
            continue
        members, left_out = plan_members(spec, variable, kernel_type, report, selection.members)
        skipped += left_out
        wanted = variable.link if selection.link is None else selection.link
        name = _registered_name(kernel_type, members) or variable.name
        maps.append(MapPlan(variable.name, kernel_type, wanted and links, wanted, members, name))
    maps = _without_repeated_names(maps, report)
    programs = _plan_programs(spec, maps, report)
    used = {program.name for program in programs}
    unused = tuple(f.name for f in spec.functions if f.is_program and f.name not in used)
    return Plan(tuple(maps), programs, tuple(skipped), unused)


def _find_types(
    kernel: KernelTypes, variables: tuple[StructOpsVariable, ...], report: Report
) -> dict[str, StructOpsType]:
    """Return the kernel types of variables by name."""
    types = {}
    for name in dict.fromkeys(essential_name(variable.type_name) for variable in variables):
        try:
            types[name] = find_type(kernel, name)
        except UnsupportedError as error:
            report(error)
    return types


def _no_links() -> UnsupportedError:
    return UnsupportedError(
        "--link asks for a link, and this kernel has none for struct_ops",
        why="they came with Linux 6.4",
        hint="leave --link out: it is registered without one",
    )


def select(
    spec: ObjectSpec, only: tuple[str, ...], also: tuple[str, ...] = ()
) -> tuple[StructOpsVariable, ...]:
    """Return the selected variables in the object's order; ``UsageError`` for an unknown name."""
    names = [variable.name for variable in spec.struct_ops]
    for name in (*only, *also):
        if name not in names:
            raise UsageError(
                f"{spec.name} has no struct_ops variable {name}",
                hint=f"it has: {', '.join(names)}",
                variable=name,
            )
    chosen = tuple(
        v for v in spec.struct_ops if v.name in also or (v.name in only if only else not v.optional)
    )
    if not chosen:
        raise ObjectError(
            f"{spec.name} registers nothing unless asked to",
            why="all its struct_ops variables are optional (their section starts with '?')",
            hint=f"name one with --with: {', '.join(names)}",
            object=spec.name,
        )
    return chosen


def _check_overrides(variables: tuple[StructOpsVariable, ...], selection: Selection) -> None:
    names = [variable.name for variable in variables]
    for variable, member in selection.members:
        if variable and variable not in names:
            raise UsageError(
                f"--set {variable}.{member} names no struct_ops variable that is registered",
                hint=f"this call registers: {', '.join(names)}",
                variable=variable,
            )
        if not variable and len(names) > 1:
            raise UsageError(
                f"--set {member} could mean several variables",
                hint=f"write VAR.{member}=..., VAR of {', '.join(names)}",
            )


# Names


def _registered_name(kernel_type: StructOpsType, members: tuple[MemberPlan, ...]) -> str:
    """Return the name that the subsystem will register, "" for a type without names."""
    wanted = kind_of(kernel_type.name).naming.member
    for item in members:
        if wanted and item.member.name == wanted:
            return item.data.split(b"\0", 1)[0].decode(errors="replace")
    return ""


def _without_repeated_names(maps: list[MapPlan], report: Report) -> list[MapPlan]:
    """Leave out and report a map with the name of an earlier map of the object."""
    first: dict[tuple[str, str], MapPlan] = {}
    for item in maps:
        earlier = first.setdefault((item.type.name, item.registered_name), item)
        if earlier is not item:
            report(_same_name(earlier, item))
    return list(first.values())


def _same_name(earlier: MapPlan, item: MapPlan) -> ObjectError:
    member = kind_of(item.type.name).naming.member or "name"
    return ObjectError(
        f"{earlier.variable} and {item.variable} would both be {item.registered_name}",
        why=f"one name can be registered once for {item.type.name}",
        hint=f"choose one: --only {earlier.variable}; or rename one: --set {item.variable}.{member}=NAME",
        variable=item.variable,
    )


# Programs


def _plan_programs(spec: ObjectSpec, maps: list[MapPlan], report: Report) -> tuple[ProgramPlan, ...]:
    """Return each program once; all its maps must agree on type and member index."""
    found: dict[str, ProgramPlan] = {}
    for item in maps:
        for planned in item.members:
            if not planned.program:
                continue
            first = found.setdefault(planned.program, ProgramPlan(planned.program, item.type, planned.member))
            if (first.type.name, first.member.member_index) != (item.type.name, planned.member.member_index):
                report(
                    FitError(
                        f"{planned.program} cannot serve both {first.type.name}.{first.member.name} and "
                        f"{item.type.name}.{planned.member.name}",
                        why="the kernel checks a program for exactly one type and member",
                        hint="write a second program for the second member",
                        program=planned.program,
                        member=planned.member.name,
                    )
                )
    return tuple(found[function.name] for function in spec.functions if function.name in found)
