"""Plan how an object meets a kernel: which maps, which members, which programs, at which index. Pure.

The rules are the accepted conventions of struct_ops loaders: the kernel's type
is found by the variable's struct name without its ``___flavour``, members are
matched by name, a member that the kernel lacks is left out when it says
nothing and refused when it does, a program is loaded for exactly one type and
member index.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeAlias

from structops_cli.btf.btf import Btf
from structops_cli.btf.kernel_types import KernelTypes
from structops_cli.btf.layout import resolve, size_of
from structops_cli.btf.names import essential_name
from structops_cli.btf.types import Member, Ptr, Struct
from structops_cli.errors import FitError, ObjectError, StructopsError, UnsupportedError, UsageError
from structops_cli.obj.spec import ObjectSpec, StructOpsVariable
from structops_cli.records import NamedTuple
from structops_cli.struct_ops.catalogue import KernelMember, StructOpsType, find_type, has_links
from structops_cli.struct_ops.kinds import kind_of
from structops_cli.struct_ops.member_data import Scalar, as_the_kernels

__all__ = [
    "MapPlan",
    "MemberPlan",
    "Plan",
    "ProgramPlan",
    "Report",
    "Selection",
    "SkippedMember",
    "plan_object",
    "select",
]


Report: TypeAlias = Callable[[StructopsError], None]
"""What is told of an error, and raises it or goes on."""


def _refuse(error: StructopsError) -> None:
    raise error


class Selection(NamedTuple):
    """What the caller asks of an object.

    ``only`` names the variables to register (empty: all that are not
    optional). ``also`` names optional ones to register besides. ``link`` forces
    links on or off (None: as the object says).
    ``members`` overrides data members, as ``(variable or "", member) -> text``.
    """

    only: tuple[str, ...] = ()
    link: bool | None = None
    members: Mapping[tuple[str, str], str] = {}
    also: tuple[str, ...] = ()


class MemberPlan(NamedTuple):
    """One member that is set: a program by name, or bytes. Offset and size are of the kernel's struct."""

    member: KernelMember
    program: str
    data: bytes


class SkippedMember(NamedTuple):
    """A member of the object that this kernel lacks, and the program (or "") that was meant for it."""

    variable: str
    member: str
    program: str


class MapPlan(NamedTuple):
    """One struct_ops map to create. ``link_wanted`` and not ``link``: the kernel has no links, or the caller said no."""

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
    """All that an object asks of this kernel. ``unused`` are programs that no planned map refers to."""

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
    """Plan an object against a kernel's types; ``FitError`` names the member that does not fit.

    A caller that wants to know all that is wrong gives ``report``: it is told of
    each error, and what the error is about is left out of the plan.
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
        members, left_out = _plan_members(spec, variable, kernel_type, report)
        members = _override(variable, kernel_type, members, selection)
        skipped += left_out
        wanted = variable.link if selection.link is None else selection.link
        name = _registered_name(kernel_type, members) or variable.name
        maps.append(MapPlan(variable.name, kernel_type, wanted and links, wanted, members, name))
    _check_names(maps, report)
    programs = _plan_programs(spec, maps, report)
    used = {program.name for program in programs}
    unused = tuple(f.name for f in spec.functions if f.is_program and f.name not in used)
    return Plan(tuple(maps), programs, tuple(skipped), unused)


def _find_types(
    kernel: KernelTypes, variables: tuple[StructOpsVariable, ...], report: Report
) -> dict[str, StructOpsType]:
    """Return the types of variables by name, each looked up once."""
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
    """Return the variables that a call is about, in the object's order; ``UsageError`` for a name it lacks."""
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


# Members


def _plan_members(
    spec: ObjectSpec, variable: StructOpsVariable, kernel_type: StructOpsType, report: Report
) -> tuple[tuple[MemberPlan, ...], list[SkippedMember]]:
    local_struct = spec.btf.type(variable.type_id)
    assert isinstance(local_struct, Struct)
    known = {member.name: member for member in kernel_type.members}
    pointers = {item.offset_bytes: item.function for item in variable.functions}
    planned, skipped = [], []
    for local in local_struct.members:
        try:
            data, program = _local_value(spec.btf, variable, local, pointers)
            if not program and not any(data):
                continue
            if local.name in known:
                member = known[local.name]
                planned.append(_plan_member(spec.btf, variable, local, member, kernel_type, program, data))
            elif any(data):
                raise _misfit(variable, local, kernel_type, "the kernel's struct has no such member, and it is not zero",
                              "set it to zero for this kernel, or register on a kernel that has it")  # fmt: skip
            else:
                skipped.append(SkippedMember(variable.name, local.name, program))
        except (FitError, ObjectError) as error:
            report(error)
    return tuple(sorted(planned, key=lambda item: item.member.member_index)), skipped


def _local_value(
    btf: Btf, variable: StructOpsVariable, local: Member, pointers: Mapping[int, str]
) -> tuple[bytes, str]:
    """Return the bytes that the object gives a member, or the program that it points at."""
    if local.bit_size or local.bit_offset % 8:
        raise ObjectError(
            f"{variable.name}.{local.name} is a bit-field",
            why="no struct_ops type may have one",
            variable=variable.name,
            member=local.name,
        )
    start, size = local.bit_offset // 8, size_of(btf, local.type)
    if not isinstance(resolve(btf, local.type), Ptr):
        _check_no_program_within(variable, local, range(start, start + size))
    return variable.data[start : start + size], pointers.get(start, "")


def _check_no_program_within(variable: StructOpsVariable, local: Member, places: range) -> None:
    """Refuse programs in nested structs and arrays, which would be left out without a word."""
    for item in variable.functions:
        if item.offset_bytes in places:
            raise FitError(
                f"{variable.name}.{local.name} has the program {item.function} within it",
                why=f"at byte {item.offset_bytes} of the variable; the kernel calls programs of the struct itself only",
                hint="give the program to a member that is a pointer to a function",
                variable=variable.name,
                member=local.name,
                program=item.function,
            )


def _plan_member(
    btf: Btf,
    variable: StructOpsVariable,
    local: Member,
    member: KernelMember,
    kernel_type: StructOpsType,
    program: str,
    data: bytes,
) -> MemberPlan:
    mine, kernels = resolve(btf, local.type), resolve(kernel_type.btf, member.type_id)
    numbers = isinstance(mine, Scalar) and isinstance(kernels, Scalar)
    if type(mine) is not type(kernels) and not numbers:
        why = f"it is {_kind_word(mine)} in the object and {_kind_word(kernels)} in the kernel"
        raise _misfit(
            variable, local, kernel_type, why, "declare it as this kernel's BTF does (structops btf header)"
        )
    if program:
        if member.proto is None:
            raise _misfit(variable, local, kernel_type, f"it points at the program {program}, and the kernel's is no "
                          "pointer to a function", "leave it zero")  # fmt: skip
        return MemberPlan(member, program, b"")
    if isinstance(kernels, Ptr):
        raise _misfit(variable, local, kernel_type, "it is a pointer and not zero", "leave it zero")
    fitting = as_the_kernels(mine, kernels, data) if numbers else data
    if fitting is None:
        why = f"its value needs more than the {member.size_bytes} bytes that it has in the kernel"
        raise _misfit(variable, local, kernel_type, why, "give it a value that this kernel can hold")
    if len(fitting) != member.size_bytes:
        why = f"it has {len(data)} bytes in the object and {member.size_bytes} in the kernel"
        raise _misfit(
            variable, local, kernel_type, why, "declare it as this kernel's BTF does (structops btf header)"
        )
    return MemberPlan(member, "", fitting)


def _kind_word(resolved: object) -> str:
    return {"Ptr": "a pointer", "Int": "an integer", "Enum": "an enum", "Enum64": "an enum"}.get(
        type(resolved).__name__, f"of kind {type(resolved).__name__.lower()}"
    )


def _misfit(
    variable: StructOpsVariable, local: Member, kernel_type: StructOpsType, why: str, hint: str
) -> FitError:
    return FitError(
        f"{variable.name}.{local.name} does not fit the kernel's struct {kernel_type.name}",
        why=why,
        hint=hint,
        variable=variable.name,
        member=local.name,
        type_name=kernel_type.name,
    )


# Overrides and names


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


def _override(
    variable: StructOpsVariable,
    kernel_type: StructOpsType,
    members: tuple[MemberPlan, ...],
    selection: Selection,
) -> tuple[MemberPlan, ...]:
    """Put the caller's data members in place of the object's."""
    if not selection.members:
        return members
    from structops_cli.struct_ops.member_text import encode_member  # only --set needs it

    known = {member.name: member for member in kernel_type.members}
    planned = {item.member.name: item for item in members}
    for (wanted, name), text in selection.members.items():
        if wanted not in ("", variable.name):
            continue
        if name not in known:
            raise UsageError(
                f"struct {kernel_type.name} of this kernel has no member {name}",
                hint=f"structops types {kernel_type.name} lists them",
                member=name,
                type_name=kernel_type.name,
            )
        planned[name] = MemberPlan(known[name], "", encode_member(kernel_type, known[name], text))
    return tuple(sorted(planned.values(), key=lambda item: item.member.member_index))


def _registered_name(kernel_type: StructOpsType, members: tuple[MemberPlan, ...]) -> str:
    """Return the name under which users will know it, as the subsystem does; "" when it has none."""
    wanted = kind_of(kernel_type.name).name_member
    for item in members:
        if wanted and item.member.name == wanted:
            return item.data.split(b"\0", 1)[0].decode(errors="replace")
    return ""


def _check_names(maps: list[MapPlan], report: Report) -> None:
    seen: dict[tuple[str, str], str] = {}
    for item in maps:
        key = (item.type.name, item.registered_name)
        if key in seen:
            report(
                ObjectError(
                    f"{seen[key]} and {item.variable} would both be {item.registered_name}",
                    why=f"one name can be registered once for {item.type.name}",
                    hint="choose one with --only, or rename one with --set VAR.name=NAME",
                    variable=item.variable,
                )
            )
        seen[key] = item.variable


# Programs


def _plan_programs(spec: ObjectSpec, maps: list[MapPlan], report: Report) -> tuple[ProgramPlan, ...]:
    """Return each program once, in the object's order; a program serves several maps only at the same type and index."""
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
