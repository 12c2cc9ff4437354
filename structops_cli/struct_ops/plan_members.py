"""Plan the members of one struct_ops variable: which program or bytes each of the kernel's gets. Pure.

Members are matched by name; one that the kernel lacks is left out when it says
nothing and refused when it does.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeAlias

from structops_cli.btf.btf import Btf
from structops_cli.btf.layout import resolve, size_of
from structops_cli.btf.types import Member, Ptr, Struct
from structops_cli.errors import FitError, ObjectError, StructopsError, UsageError
from structops_cli.obj.spec import ObjectSpec, StructOpsVariable
from structops_cli.records import NamedTuple
from structops_cli.struct_ops.catalogue import KernelMember, StructOpsType
from structops_cli.struct_ops.member_data import Scalar, as_the_kernels

__all__ = ["MemberPlan", "Report", "SkippedMember", "override_members", "plan_members"]

Report: TypeAlias = Callable[[StructopsError], None]
"""What is told of an error, and raises it or goes on."""


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


def plan_members(
    spec: ObjectSpec, variable: StructOpsVariable, kernel_type: StructOpsType, report: Report
) -> tuple[tuple[MemberPlan, ...], list[SkippedMember]]:
    """Plan the members that a variable sets, in the kernel's order; beside them those that this kernel lacks."""
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


def override_members(
    variable: StructOpsVariable,
    kernel_type: StructOpsType,
    members: tuple[MemberPlan, ...],
    texts: Mapping[tuple[str, str], str],
) -> tuple[MemberPlan, ...]:
    """Put the caller's data members, as ``(variable or "", member) -> text``, in place of the object's."""
    if not texts:
        return members
    from structops_cli.struct_ops.member_text import encode_member  # only --set needs it

    known = {member.name: member for member in kernel_type.members}
    planned = {item.member.name: item for item in members}
    for (wanted, name), text in texts.items():
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
