"""Check a whole object against a kernel's types: a registration without effects. Pure.

A check goes on after an error and reports all findings. ``CheckReport`` has the verdict, the findings, and a
row for every member of every struct_ops variable.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from structops_cli.btf.kernel_types import KernelTypes
from structops_cli.core.externs import Externs, FactsNeeded, KernelFacts, facts_needed
from structops_cli.core.fixup import Relocator
from structops_cli.core.target import Target
from structops_cli.errors import StructopsError
from structops_cli.obj.link import link_programs
from structops_cli.obj.spec import LinkedProgram, MapSpec, ObjectSpec
from structops_cli.struct_ops.catalogue import VALUE_PREFIX, StructOpsType
from structops_cli.struct_ops.check_members import VariableReport, report_variables
from structops_cli.struct_ops.check_needs import check_externs, check_maps
from structops_cli.struct_ops.check_programs import Allows, ProgramReport, check_program
from structops_cli.struct_ops.check_rules import FlagMasks, check_offered, check_rules
from structops_cli.struct_ops.findings import Finding, Severity, Verdict, verdict_of
from structops_cli.struct_ops.left_out import absent_links, absent_members, programs_left_out
from structops_cli.struct_ops.plan import Plan, Selection, plan_object
from structops_cli.syscall.uapi import BtfKind

GRAVEST_FIRST = tuple(Severity)


class Surroundings(NamedTuple):
    """The answers of a running kernel besides its types; the defaults know nothing."""

    facts: Callable[[FactsNeeded], KernelFacts] = lambda needed: KernelFacts(whole=False)  # noqa: ARG005
    """The values of externs."""
    taken: frozenset[tuple[str, str]] = frozenset()
    """The registered (type, name) pairs."""
    offers: Callable[[StructOpsType], bool | None] | None = None
    """Whether a subsystem registered a type; the answer None needs more privilege. None: no system to ask."""
    creates: Callable[[MapSpec], bool | None] = lambda spec: None  # noqa: ARG005
    """Whether the kernel creates a map."""
    flag_masks: FlagMasks = lambda kernel_type: {}  # noqa: ARG005
    """The bits that the kernel accepts in a type's flags, by (type, member)."""
    allows: Allows = lambda program, helper: None  # noqa: ARG005
    """Whether a program may call a helper."""


class CheckReport(NamedTuple):
    """The result of a check. ``plan`` leaves out the faulty parts.

    ``verifier_asked``: a kernel's verifier has judged the programs.
    """

    object: str
    plan: Plan
    findings: tuple[Finding, ...]
    variables: tuple[VariableReport, ...]
    programs: tuple[ProgramReport, ...]
    verifier_asked: bool = False

    @property
    def verdict(self) -> Verdict:
        """The verdict of the findings."""
        return verdict_of(self.findings)


def check_object(
    spec: ObjectSpec,
    target: Target,
    selection: Selection = Selection(),  # noqa: B008 -- immutable
    surroundings: Surroundings = Surroundings(),  # noqa: B008 -- immutable
) -> CheckReport:
    """Check an object against a kernel; ``UsageError`` for an impossible selection."""
    findings: list[Finding] = []
    plan = plan_object(spec, target.kernel, selection, lambda error: findings.append(_about(spec, error)))
    findings += check_rules(spec, plan, target.kernel, surroundings.taken, surroundings.flag_masks)
    if surroundings.offers is not None:
        findings += check_offered(spec, plan, surroundings.offers, findings)
    linked = _linked(spec, plan, findings)
    findings += check_maps(spec, plan, linked, target.kernel, surroundings.creates)
    programs = tuple(_programs(spec, plan, linked, target, surroundings, findings))
    findings += [finding for program in programs for finding in program.findings]
    findings += _left_out(spec, plan)
    findings += _elsewhere_too(spec, plan, target.kernel)
    findings.sort(key=lambda finding: GRAVEST_FIRST.index(finding.severity))
    variables = report_variables(spec, target.kernel, selection, plan, programs, findings)
    return CheckReport(spec.name, plan, tuple(findings), variables, programs)


def _about(spec: ObjectSpec, error: StructopsError) -> Finding:
    error.add(object=spec.name)
    return Finding.of_error(error)


def _linked(spec: ObjectSpec, plan: Plan, findings: list[Finding]) -> tuple[LinkedProgram, ...]:
    found: list[LinkedProgram] = []
    for program in plan.programs:
        try:
            found += link_programs(spec, [program.name])
        except StructopsError as error:
            findings.append(_about(spec, error))
    return tuple(found)


def _programs(
    spec: ObjectSpec,
    plan: Plan,
    linked: Sequence[LinkedProgram],
    target: Target,
    surroundings: Surroundings,
    findings: list[Finding],
) -> Iterator[ProgramReport]:
    externs = _externs(spec, linked, target, surroundings, findings)
    relocator = Relocator(spec.btf, target)
    plans = {program.name: program for program in plan.programs}
    for one in linked:
        yield check_program(
            spec, plan, plans[one.name], one, externs, relocator, target.kernel.vmlinux, surroundings.allows
        )


def _externs(
    spec: ObjectSpec,
    linked: Sequence[LinkedProgram],
    target: Target,
    surroundings: Surroundings,
    findings: list[Finding],
) -> Externs:
    needed = facts_needed(spec, linked)
    try:
        facts = surroundings.facts(needed)
    except StructopsError as error:  # the system may hide them from this user
        findings.append(_about(spec, error)._replace(severity=Severity.UNKNOWN))
        facts = KernelFacts(whole=False)
    externs, found = check_externs(spec, linked, target.kernel, facts)
    findings += found
    return externs


def _elsewhere_too(spec: ObjectSpec, plan: Plan, kernel: KernelTypes) -> Iterator[Finding]:
    """Note that several modules have the type; the plan takes that of the first."""
    for name, module in {item.type.name: item.type.module for item in plan.maps if item.type.module}.items():
        also = [
            item.name
            for item in kernel.modules()
            if item.name != module and item.btf.find(VALUE_PREFIX + name, BtfKind.STRUCT)
        ]
        if also:
            what = (
                f"module {module} is not the only one with a struct_ops type {name}: so has {', '.join(also)}"
            )
            yield Finding(Severity.NOTE, what, fields={"object": spec.name, "type_name": name})


def _left_out(spec: ObjectSpec, plan: Plan) -> Iterator[Finding]:
    """Report the wishes of the object that a registration does not fulfil."""
    yield from absent_members(spec, plan)
    yield from absent_links(spec, plan)
    yield from programs_left_out(spec)
