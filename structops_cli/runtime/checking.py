"""What a check asks of the running system: names that are taken, what externs are, and the verifier itself."""

from __future__ import annotations

from structops_cli.core.target import Target
from structops_cli.errors import NotPermittedError, StructopsError
from structops_cli.obj.spec import ObjectSpec
from structops_cli.struct_ops.check import CheckReport, Surroundings
from structops_cli.struct_ops.findings import Finding, Severity

__all__ = ["live_surroundings", "verified"]

CONGESTION_CONTROLS = "/proc/sys/net/ipv4/tcp_available_congestion_control"


def live_surroundings() -> Surroundings:
    """Return what the running system says; nothing is read before an object needs it, but the taken names."""
    from structops_cli.runtime.externs import live_facts

    return Surroundings(
        live_facts, frozenset(("tcp_congestion_ops", name) for name in _congestion_controls())
    )


def _congestion_controls() -> list[str]:
    """Return the names of all congestion controls; none where the system does not show them."""
    try:
        with open(CONGESTION_CONTROLS, encoding="ascii", errors="replace") as file:
            return file.read().split()
    except OSError:
        return []


def verified(report: CheckReport, spec: ObjectSpec, target: Target) -> CheckReport:
    """Return the report with the verifier's word: everything is loaded, nothing is registered, nothing is left.

    An object that would be refused before that is not loaded. Raises
    ``NotPermittedError`` without the privilege to load.
    """
    from structops_cli.runtime.loader import load

    if any(finding.severity is Severity.ERROR for finding in report.findings):
        return report
    try:
        load(spec, report.plan, target).close()
    except NotPermittedError:
        raise
    except StructopsError as error:
        return report._replace(findings=(Finding.of_error(error), *report.findings))
    loaded = len(report.plan.programs)
    note = Finding(
        Severity.NOTE, f"the verifier accepted all {loaded} programs", fields={"object": spec.name}
    )
    return report._replace(findings=(*report.findings, note))
