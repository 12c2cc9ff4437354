"""Refuse an object before loading it, with the sentence of a check. Pure.

Most objects are sound, and the rules are slow to import. So a quick look at the plan decides whether to ask
them. The kernel finds the faults that the quick look misses.
"""

from __future__ import annotations

from typing import cast

from structops_cli.btf.kernel_types import KernelTypes
from structops_cli.errors import ErrorFields, FitError
from structops_cli.obj.spec import ObjectSpec
from structops_cli.struct_ops.capabilities import has_links
from structops_cli.struct_ops.kinds import kind_of
from structops_cli.struct_ops.kinds.kind import Kind
from structops_cli.struct_ops.plan import MapPlan, Plan
from structops_cli.struct_ops.plan_members import MemberPlan

COMMON_LICENCES = ("GPL", "Dual BSD/GPL")
KNOWN_FIELDS = ("object", "variable", "member", "program", "type_name")


def refuse_early(spec: ObjectSpec, plan: Plan, kernel: KernelTypes) -> None:
    """Raise ``FitError`` for a plan that breaks a rule of this kernel."""
    if spec.licence in COMMON_LICENCES and not any(
        _is_suspect(spec, item) or _may_lack(item, kernel) for item in plan.maps
    ):
        return
    from structops_cli.struct_ops.check_rules import check_rules  # slow to import
    from structops_cli.struct_ops.findings import Severity

    for finding in check_rules(spec, plan, kernel, ()):
        if finding.severity is Severity.ERROR:
            error = FitError(finding.what, why=finding.why, hint=finding.hint)
            error.fields = cast(
                "ErrorFields", {name: finding.fields[name] for name in KNOWN_FIELDS if name in finding.fields}
            )
            raise error


def _is_suspect(spec: ObjectSpec, item: MapPlan) -> bool:
    """Tell whether a map may break a rule; a type that never registers is refused elsewhere."""
    kind = kind_of(item.type.name)
    if not kind.registration.registers:
        return False
    there = {member.member.name for member in item.members if member.program}
    return (
        not kind.members.required | kind.members.required_to_register <= there
        or any(not group & there for group in kind.members.either)
        or bool(kind.members.unsupported & there)
        or _may_sleep(spec, kind, item)
        or any(_is_odd(kind, member) for member in item.members if not member.program)
        or (
            bool(kind.naming.member)
            and all(member.member.name != kind.naming.member for member in item.members)
        )
    )


def _may_lack(item: MapPlan, kernel: KernelTypes) -> bool:
    """Tell whether a map lacks a function that kernels before 6.0 require."""
    kind = kind_of(item.type.name)
    if kind.members.optional_before_6_0 is None or has_links(kernel):
        return False
    there = {member.member.name for member in item.members if member.program}
    functions = {member.name for member in item.type.members if member.proto is not None}
    return not functions - kind.members.optional_before_6_0 - kind.members.unsupported <= there


def _may_sleep(spec: ObjectSpec, kind: Kind, item: MapPlan) -> bool:
    sleepable = (
        {function.name for function in spec.functions if function.sleepable}
        if kind.programs.sleepable is not None
        else ()
    )
    return any(member.program in sleepable for member in item.members)


def _is_odd(kind: Kind, member: MemberPlan) -> bool:
    """Tell whether a data member has an unusual value."""
    name = member.member.name
    if name == kind.naming.member:
        text, nul, _ = member.data.partition(b"\0")
        return not nul or not text.replace(b"_", b"a").replace(b".", b"a").isalnum()
    return kind.data.settable is not None and (
        name not in kind.data.settable or name in kind.data.at_most or name in kind.data.at_least
    )
