"""Plan the members of one struct_ops variable: a program or bytes for each. Pure.

Members match by name. A member that the kernel lacks is left out if it is zero or has a program, and
refused otherwise.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import NamedTuple, TypeAlias

from structops_cli.btf.btf import Btf
from structops_cli.btf.layout import resolve, size_of
from structops_cli.btf.types import BtfType, Enum, Enum64, Int, Member, Ptr, Struct
from structops_cli.errors import FitError, ObjectError, StructopsError, UsageError
from structops_cli.obj.spec import ObjectSpec, StructOpsVariable
from structops_cli.struct_ops.catalogue import KernelMember, StructOpsType
from structops_cli.syscall.uapi import BtfIntEncoding

__all__ = ["MemberPlan", "Report", "Scalar", "SkippedMember", "as_the_kernels", "plan_members"]

Report: TypeAlias = Callable[[StructopsError], None]
"""A function that gets an error, and raises it or returns."""
Scalar: TypeAlias = Int | Enum | Enum64
"""Numbers: integers, bools and enums."""
ZERO = "0"


class MemberPlan(NamedTuple):
    """One member to set: to a program by name, or to bytes of the kernel's size."""

    member: KernelMember
    program: str
    data: bytes


class SkippedMember(NamedTuple):
    """A member of the object that this kernel lacks, and its program (or "")."""

    variable: str
    member: str
    program: str


def plan_members(
    spec: ObjectSpec,
    variable: StructOpsVariable,
    kernel_type: StructOpsType,
    report: Report,
    texts: Mapping[tuple[str, str], str] = MappingProxyType({}),
) -> tuple[tuple[MemberPlan, ...], list[SkippedMember]]:
    """Return the members to set, in the kernel's order, and those that the kernel lacks.

    ``texts`` are the caller's data members, ``(variable or "", member)`` to text. They replace the object's;
    zero leaves out a member that this kernel lacks.
    """
    local_struct = spec.btf.type(variable.type_id)
    assert isinstance(local_struct, Struct)
    known = {member.name: member for member in kernel_type.members}
    chosen = {name: text for (wanted, name), text in texts.items() if wanted in ("", variable.name)}
    pointers = {item.offset_bytes: item.function for item in variable.functions}
    _check_known(spec.btf, variable, local_struct, kernel_type, chosen)
    planned, skipped = _chosen_members(kernel_type, chosen), []
    for local in local_struct.members:
        try:
            if local.name in chosen:
                continue
            data, program = _local_value(spec.btf, variable, local, pointers)
            if not program and not any(data):
                continue
            if local.name in known:
                member = known[local.name]
                planned.append(_plan_member(spec.btf, variable, local, member, kernel_type, program, data))
            elif any(data):
                raise _unknown(variable, local, kernel_type)
            else:
                skipped.append(SkippedMember(variable.name, local.name, program))
        except (FitError, ObjectError) as error:
            report(error)
    return tuple(sorted(planned, key=lambda item: item.member.member_index)), skipped


def _chosen_members(kernel_type: StructOpsType, chosen: Mapping[str, str]) -> list[MemberPlan]:
    """Plan the caller's data members that the kernel has."""
    if not chosen:
        return []
    from structops_cli.struct_ops.member_text import encode_member  # only --set needs it

    return [
        MemberPlan(item, "", encode_member(kernel_type, item, chosen[item.name]))
        for item in kernel_type.members
        if item.name in chosen
    ]


def _check_known(
    btf: Btf,
    variable: StructOpsVariable,
    local: Struct,
    kernel_type: StructOpsType,
    chosen: Mapping[str, str],
) -> None:
    """Refuse a caller's member that the kernel lacks; zero for a member of the object is fine."""
    for name in chosen.keys() - {member.name for member in kernel_type.members}:
        mine = next((member for member in local.members if member.name == name), None)
        if mine is None or not _is_zero(btf, mine, chosen[name]):
            raise UsageError(
                f"struct {kernel_type.name} of this kernel has no member {name}",
                hint=f"--set {variable.name}.{name}=0 leaves it out"
                if mine
                else f"structops types {kernel_type.name} lists them",
                member=name,
                type_name=kernel_type.name,
            )


def _is_zero(btf: Btf, member: Member, text: str) -> bool:
    """Tell whether a text means zero; for a member that is no number, only "0" does."""
    if not isinstance(resolve(btf, member.type), Scalar):
        return text == ZERO
    from structops_cli.struct_ops.member_text import encode_text  # only --set needs it

    return not any(encode_text(btf, member.type, text, member.name))


def _unknown(variable: StructOpsVariable, local: Member, kernel_type: StructOpsType) -> FitError:
    why = "the kernel's struct has no such member, and it is not zero"
    hint = f"--set {variable.name}.{local.name}=0 leaves it out; or register on a kernel that has it"
    return _misfit(variable, local, kernel_type, why, hint)


def _local_value(
    btf: Btf, variable: StructOpsVariable, local: Member, pointers: Mapping[int, str]
) -> tuple[bytes, str]:
    """Return the bytes of a member in the object, and the program that it points at (or "")."""
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
    """Refuse programs in nested structs and arrays: the kernel would never call them."""
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
            variable,
            local,
            kernel_type,
            why,
            f"declare it as this kernel does: structops btf header {kernel_type.name}",
        )
    if program:
        if member.proto is None:
            raise _misfit(variable, local, kernel_type, f"it points at the program {program}, and the kernel's is no "
                          "pointer to a function", "set it to zero in the object")  # fmt: skip
        return MemberPlan(member, program, b"")
    if isinstance(kernels, Ptr):
        raise _misfit(
            variable, local, kernel_type, "it is a pointer and not zero", "set it to zero in the object"
        )
    fitting = as_the_kernels(mine, kernels, data) if numbers else data
    if fitting is None:
        why = f"its value needs more than the {member.size_bytes} bytes that it has in the kernel"
        hint = f"--set {variable.name}.{local.name}=VALUE, with a value that {member.size_bytes} bytes hold"
        raise _misfit(variable, local, kernel_type, why, hint)
    if len(fitting) != member.size_bytes:
        why = f"it has {len(data)} bytes in the object and {member.size_bytes} in the kernel"
        raise _misfit(
            variable,
            local,
            kernel_type,
            why,
            f"declare it as this kernel does: structops btf header {kernel_type.name}",
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


def as_the_kernels(local: BtfType, kernels: BtfType, data: bytes) -> bytes | None:
    """Return a number in the size of the kernel's type; None if it does not fit.

    None too if a type is no number. A number of the same size keeps its bytes, even if the signs of the types differ.
    """
    if not isinstance(local, Scalar) or not isinstance(kernels, Scalar):
        return None
    if local.size_bytes == kernels.size_bytes:
        return data
    number = int.from_bytes(data, "little", signed=_is_signed(local))
    try:
        return number.to_bytes(kernels.size_bytes, "little", signed=_is_signed(kernels))
    except OverflowError:
        return None


def _is_signed(number: Scalar) -> bool:
    if isinstance(number, Int):
        return bool(number.encoding & BtfIntEncoding.SIGNED)
    return number.signed
