"""Ask the running system for a check: taken names, externs, the verifier."""

from __future__ import annotations

from collections.abc import Mapping

from structops_cli.core.externs import FactsNeeded, KernelFacts
from structops_cli.core.target import Target
from structops_cli.errors import KernelError, NotPermittedError, StructopsError
from structops_cli.obj.spec import MapSpec, ObjectSpec
from structops_cli.runtime.probes import NO_ROOM, ProbeAnswer, flag_masks, is_registered, may_call
from structops_cli.struct_ops.catalogue import StructOpsType
from structops_cli.struct_ops.check import CheckReport, Surroundings
from structops_cli.struct_ops.findings import Finding, Severity
from structops_cli.struct_ops.kinds import REGISTRY
from structops_cli.syscall.mount_table import unmounted


def live_surroundings() -> Surroundings:
    """Return the sources of facts of the running kernel. This call reads only the taken names."""
    from structops_cli.runtime.externs import live_facts

    return Surroundings(live_facts, taken_names(), _offers, _creates, flag_masks=flag_masks, allows=may_call)


def file_surroundings(path: str, given: Mapping[str, str]) -> Surroundings:
    """Return the sources of facts of a kernel in files; ``given`` has values from the user."""

    def facts(needed: FactsNeeded) -> KernelFacts:
        from structops_cli.runtime.kernel_config import facts_of_files  # few objects need it

        return facts_of_files(path, needed, given)

    return Surroundings(facts)


def _offers(kernel_type: StructOpsType) -> bool | None:
    """Tell whether the kernel creates a map of a type; None if unknown."""
    return {ProbeAnswer.YES: True, ProbeAnswer.NO: False}.get(is_registered(kernel_type))


def _creates(spec: MapSpec) -> bool | None:
    """Tell whether the kernel creates a map without BTF types; None without the permission."""
    from structops_cli.runtime.maps import creates_map

    try:
        return creates_map(spec)
    except NotPermittedError:
        return None


def taken_names() -> frozenset[tuple[str, str]]:
    """Return (type, name) of registered struct_ops with unique names, from the kernel's lists."""
    return frozenset(
        (kind.name, name)
        for kind in REGISTRY.values()
        if kind.naming.listed_in and not kind.registration.one_at_a_time
        for name in _listed(kind.naming.listed_in)
    )


def _listed(place: str) -> list[str]:
    """Return the names in a file or sysctl; none if the kernel lacks it.

    Raises ``KernelError`` without /proc or /sys, and if no file can be opened.
    """
    path = place if place.startswith("/") else f"/proc/sys/{place.replace('.', '/')}"
    try:
        with open(path, encoding="ascii", errors="replace") as file:
            return file.read().split()
    except OSError as error:
        if error.errno in NO_ROOM or unmounted(path):
            why, number = error.strerror or "", error.errno or 0
            raise KernelError(f"{path} could not be read", why=why, errno=number, operation="open") from None
        return []


def verified(report: CheckReport, spec: ObjectSpec, target: Target) -> CheckReport:
    """Return the report with the verifier's answer: load all programs, register none, close.

    An object with an error in the report is not loaded. Raises ``NotPermittedError``
    without the privilege to load.
    """
    from structops_cli.runtime.loader import load

    if any(finding.severity is Severity.ERROR for finding in report.findings):
        return report
    try:
        load(spec, report.plan, target).close()
    except NotPermittedError:
        raise
    except StructopsError as error:
        return report._replace(findings=(Finding.of_error(error), *report.findings), verifier_asked=True)
    loaded = len(report.plan.programs)
    note = Finding(
        Severity.NOTE, f"the verifier accepted all {loaded} programs", fields={"object": spec.name}
    )
    return report._replace(findings=(*report.findings, note), verifier_asked=True)
