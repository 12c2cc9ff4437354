"""Report the findings of a check as a row for every member of every variable. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from enum import StrEnum
from typing import NamedTuple

from structops_cli.btf.c_declarations import declare
from structops_cli.btf.kernel_types import KernelTypes
from structops_cli.btf.layout import size_of
from structops_cli.btf.names import essential_name
from structops_cli.btf.types import Member, Struct
from structops_cli.errors import StructopsError
from structops_cli.obj.spec import ObjectSpec, StructOpsVariable
from structops_cli.struct_ops.catalogue import KernelMember, StructOpsType, find_type
from structops_cli.struct_ops.check_programs import ProgramReport
from structops_cli.struct_ops.findings import Finding, Severity
from structops_cli.struct_ops.kinds import kind_of
from structops_cli.struct_ops.kinds.kind import Need
from structops_cli.struct_ops.member_text import MemberValue, decode_member
from structops_cli.struct_ops.plan import MapPlan, Plan, Selection, select
from structops_cli.struct_ops.plan_members import MemberPlan


class PrototypeMatch(StrEnum):
    """The object's prototype of a member, compared with the kernel's."""

    SAME = "same"
    DIFFERS = "differs"
    UNKNOWN = "unknown"


class MemberState(StrEnum):
    """The state of a member without a grave finding."""

    OK = "ok"
    UNSET = "unset"
    LEFT_OUT = "left out"


class MemberRow(NamedTuple):
    """A member of the kernel's struct, or of the object's alone.

    ``member_index`` and ``size_bytes`` are the kernel's, ``local_size_bytes`` is the object's; None without
    such a member. ``declaration`` is the kernel's, or else the object's. The object puts ``program`` or
    ``value`` there. ``need`` is "data" for a plain data member, "" for the object's own. ``prototype`` is
    None for data. ``state`` is the gravest severity of a finding about the member, if there is any.
    """

    name: str
    member_index: int | None
    size_bytes: int | None
    local_size_bytes: int | None
    declaration: str
    need: str
    program: str
    value: MemberValue
    prototype: PrototypeMatch | None
    state: MemberState | Severity


class VariableReport(NamedTuple):
    """A variable and its members.

    ``module`` is "" for vmlinux. ``rows`` is empty if the kernel lacks the type.
    """

    name: str
    type_name: str
    registered_name: str
    link: bool
    module: str
    rows: tuple[MemberRow, ...]


def report_variables(
    spec: ObjectSpec,
    kernel: KernelTypes,
    selection: Selection,
    plan: Plan,
    programs: Sequence[ProgramReport],
    findings: Sequence[Finding],
) -> tuple[VariableReport, ...]:
    """Return a report of each selected variable, in the object's order."""
    by_name = {item.variable: item for item in plan.maps}
    reports = {program.plan.name: program for program in programs}
    found = []
    for variable in select(spec, selection.only, selection.also):
        item, type_name = by_name.get(variable.name), essential_name(variable.type_name)
        try:
            kernel_type = find_type(kernel, type_name)
        except StructopsError:
            found.append(VariableReport(variable.name, type_name, variable.name, variable.link, "", ()))
            continue
        rows = tuple(_Rows(spec, variable, kernel_type, item, reports, findings).rows())
        name, link = (item.registered_name, item.link) if item else (variable.name, variable.link)
        found.append(VariableReport(variable.name, type_name, name, link, kernel_type.module, rows))
    return tuple(found)


class _Rows:
    """The rows of one variable."""

    def __init__(
        self,
        spec: ObjectSpec,
        variable: StructOpsVariable,
        kernel_type: StructOpsType,
        item: MapPlan | None,
        programs: Mapping[str, ProgramReport],
        findings: Sequence[Finding],
    ) -> None:
        struct = spec.btf.type(variable.type_id)
        assert isinstance(struct, Struct)
        self.spec, self.variable, self.type, self.programs = spec, variable, kernel_type, programs
        self.local = {member.name: member for member in struct.members}
        self.planned = {one.member.name: one for one in item.members} if item else {}
        self.pointers = {one.offset_bytes: one.function for one in variable.functions}
        self.findings = [
            finding for finding in findings if finding.fields.get("variable", variable.name) == variable.name
        ]

    def rows(self) -> Iterator[MemberRow]:
        known = set()
        for member in self.type.members:
            known.add(member.name)
            yield self._of_kernel(member)
        for name, local in self.local.items():
            if name not in known:
                yield self._of_object(name, local)

    def _of_kernel(self, member: KernelMember) -> MemberRow:
        planned = self.planned.get(member.name)
        program = planned.program if planned else self._program(member.name)
        need = kind_of(self.type.name).need(member.name)
        worst = self._worst(member.name, program)
        return MemberRow(
            name=member.name,
            member_index=member.member_index,
            size_bytes=member.size_bytes,
            local_size_bytes=self._local_size(member.name),
            declaration=declare(self.type.btf, member.type_id, member.name),
            need="data" if member.proto is None and need is Need.OPTIONAL else need,
            program=program,
            value=self._value(member, planned),
            prototype=self._prototype(program),
            state=worst or (MemberState.OK if planned else MemberState.UNSET),
        )

    def _of_object(self, name: str, local: Member) -> MemberRow:
        program = self._program(name)
        return MemberRow(
            name=name,
            member_index=None,
            size_bytes=None,
            local_size_bytes=self._local_size(name),
            declaration=declare(self.spec.btf, local.type, name),
            need="",
            program=program,
            value=None,
            prototype=None,
            state=Severity.ERROR if self._worst(name, "") is Severity.ERROR else MemberState.LEFT_OUT,
        )

    def _worst(self, member: str, program: str) -> Severity | None:
        """Return the gravest severity about a member or its program; None below a warning."""
        about = {
            finding.severity
            for finding in self.findings
            if finding.fields.get("member") == member
            or (program and "member" not in finding.fields and finding.fields.get("program") == program)
        }
        return next((one for one in Severity if one in about and one is not Severity.NOTE), None)

    def _program(self, member: str) -> str:
        local = self.local.get(member)
        return self.pointers.get(local.bit_offset // 8, "") if local else ""

    def _local_size(self, member: str) -> int | None:
        local = self.local.get(member)
        try:
            return size_of(self.spec.btf, local.type) if local else None
        except StructopsError:
            return None

    def _value(self, member: KernelMember, planned: MemberPlan | None) -> MemberValue:
        return decode_member(self.type, member, planned.data) if planned and not planned.program else None

    def _prototype(self, program: str) -> PrototypeMatch | None:
        report = self.programs.get(program)
        if report is None:
            return None
        if report.arguments.differences or report.arguments.typed:
            return PrototypeMatch.DIFFERS
        return PrototypeMatch.SAME if report.arguments.local else PrototypeMatch.UNKNOWN
