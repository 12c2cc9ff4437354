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
    _check_known(spec.btf, variable, local_struct, kernel_type, chosen)
    planned, skipped = _chosen_members(kernel_type, chosen), []
    for local in local_struct.members:
        try:
            if local.name in chosen:
                continue
            mine = _LocalMember(spec.btf, variable, local, kernel_type)
            data, program = mine.value()
            if not program and not any(data):
                continue
            if local.name in known:
                planned.append(mine.planned(known[local.name], program, data))
            elif any(data):
                raise mine.unknown()
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


class _LocalMember(NamedTuple):
    """A member of the object's struct, and the kernel's type that it has to fit."""

    btf: Btf
    variable: StructOpsVariable
    member: Member
    type: StructOpsType

    @property
    def name(self) -> str:
        """The name in errors."""
        return f"{self.variable.name}.{self.member.name}"

    def value(self) -> tuple[bytes, str]:
        """Return the bytes of the member, and the program that it points at (or "")."""
        member = self.member
        if member.bit_size or member.bit_offset % 8:
            raise ObjectError(
                f"{self.name} is a bit-field",
                why="no struct_ops type may have one",
                variable=self.variable.name,
                member=member.name,
            )
        start, size = member.bit_offset // 8, size_of(self.btf, member.type)
        programs = {item.offset_bytes: item.function for item in self.variable.functions}
        if not isinstance(resolve(self.btf, member.type), Ptr):
            self._check_no_program_within(programs, range(start, start + size))
        return self.variable.data[start : start + size], programs.get(start, "")

    def _check_no_program_within(self, programs: Mapping[int, str], places: range) -> None:
        """Refuse programs in nested structs and arrays: the kernel would never call them."""
        for at in programs.keys() & set(places):
            raise FitError(
                f"{self.name} has the program {programs[at]} within it",
                why=f"at byte {at} of the variable; the kernel calls programs of the struct itself only",
                hint="give the program to a member that is a pointer to a function",
                variable=self.variable.name,
                member=self.member.name,
                program=programs[at],
            )

    def planned(self, member: KernelMember, program: str, data: bytes) -> MemberPlan:
        """Plan the kernel's member; ``FitError`` if the types do not agree."""
        mine, kernels = resolve(self.btf, self.member.type), resolve(self.type.btf, member.type_id)
        numbers = isinstance(mine, Scalar) and isinstance(kernels, Scalar)
        if type(mine) is not type(kernels) and not numbers:
            why = f"it is {_kind_word(mine)} in the object and {_kind_word(kernels)} in the kernel"
            raise self._misfit(why, self._declare_it())
        if program and member.proto is None:
            why = f"it points at the program {program}, and the kernel's is no pointer to a function"
            raise self._misfit(why, "set it to zero in the object")
        if program:
            return MemberPlan(member, program, b"")
        if isinstance(kernels, Ptr):
            raise self._misfit("it is a pointer and not zero", "set it to zero in the object")
        fitting = as_the_kernels(mine, kernels, data) if numbers else data
        if fitting is None:
            why = f"its value needs more than the {member.size_bytes} bytes that it has in the kernel"
            raise self._misfit(
                why, f"--set {self.name}=VALUE, with a value that {member.size_bytes} bytes hold"
            )
        if len(fitting) != member.size_bytes:
            why = f"it has {len(data)} bytes in the object and {member.size_bytes} in the kernel"
            raise self._misfit(why, self._declare_it())
        return MemberPlan(member, "", fitting)

    def unknown(self) -> FitError:
        """Return the error of a member that the kernel lacks, and that is not zero."""
        hint = f"--set {self.name}=0 leaves it out; or register on a kernel that has it"
        return self._misfit("the kernel's struct has no such member, and it is not zero", hint)

    def _declare_it(self) -> str:
        return f"declare it as this kernel does: structops btf header {self.type.name}"

    def _misfit(self, why: str, hint: str) -> FitError:
        return FitError(
            f"{self.name} does not fit the kernel's struct {self.type.name}",
            why=why,
            hint=hint,
            variable=self.variable.name,
            member=self.member.name,
            type_name=self.type.name,
        )


def _kind_word(resolved: object) -> str:
    return {"Ptr": "a pointer", "Int": "an integer", "Enum": "an enum", "Enum64": "an enum"}.get(
        type(resolved).__name__, f"of kind {type(resolved).__name__.lower()}"
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
