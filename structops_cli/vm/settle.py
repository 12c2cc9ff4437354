"""What a check says of an object once a kernel has said its word: the kernel's answer counts, and where the two differ is told.

Pure: values in, values out.
"""

from __future__ import annotations

from collections.abc import Iterable

from structops_cli.struct_ops.check import CheckReport
from structops_cli.struct_ops.findings import Finding, Severity, Verdict
from structops_cli.vm.trial import Fate, Trial

__all__ = ["agrees", "settled"]

EXPECTED = {Fate.REGISTERED: Verdict.WOULD, Fate.REFUSED: Verdict.WOULD_NOT}


def agrees(report: CheckReport, trial: Trial) -> bool | None:
    """Tell whether the check of the types alone said what the kernel said; None where one of the two did not say."""
    if trial.fate is Fate.UNTRIED or report.verdict is Verdict.UNDECIDABLE:
        return None
    return report.verdict is EXPECTED[trial.fate]


def settled(report: CheckReport, trial: Trial) -> CheckReport:
    """Return the report with the kernel's answer in it: it comes first, and decides the verdict.

    What was open without a kernel is closed now, and becomes a note.
    """
    findings = report.findings
    if trial.fate is Fate.REGISTERED:
        refusals = [finding for finding in findings if finding.severity is Severity.ERROR]
        findings = (*map(_mistaken, refusals), *(one for one in _closed(findings) if one not in refusals))
    elif trial.fate is Fate.REFUSED:
        findings = (*_unforeseen(report), *_closed(findings))
    of_this = (one._replace(fields={**one.fields, "object": report.object}) for one in trial.findings)
    asked = trial.fate is not Fate.UNTRIED
    return report._replace(findings=tuple(_told_once((*of_this, *findings))), verifier_asked=asked)


def _mistaken(finding: Finding) -> Finding:
    """Return a refusal that the kernel did not see a reason for as a warning that the check says so."""
    what = f"the kernel's types alone say that it would not register: {finding.what}"
    hint = "trust the kernel, and report the object with this message"
    return finding._replace(severity=Severity.WARNING, what=what, hint=hint)


def _unforeseen(report: CheckReport) -> Iterable[Finding]:
    if report.verdict is Verdict.WOULD:
        yield Finding(
            Severity.WARNING,
            "by the kernel's types alone it would register",
            "they do not tell what only a running kernel knows: its verifier, names that are taken, devices",
            fields={"object": report.object},
        )


def _closed(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    return tuple(
        one._replace(severity=Severity.NOTE) if one.severity is Severity.UNKNOWN else one for one in findings
    )


def _told_once(findings: Iterable[Finding]) -> Iterable[Finding]:
    """Leave out what has been said in the same words: the guest's structops has the same rules."""
    said = set()
    for finding in findings:
        words = finding.severity, finding.what, finding.why
        if words not in said:
            said.add(words)
            yield finding
