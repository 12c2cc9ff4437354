"""One result of a check, and the verdict of all."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Any, NamedTuple

from structops_cli.errors import StructopsError


class Severity(StrEnum):
    """The consequence of a finding for a registration, the gravest first."""

    ERROR = "error"
    """The kernel refuses it."""
    UNKNOWN = "unknown"
    """It depends on facts that are not known here."""
    WARNING = "warning"
    """The kernel registers it, probably against its author's intention."""
    NOTE = "note"
    """Nothing is wrong."""


class Verdict(StrEnum):
    """The result of a check for the whole object."""

    WOULD = "would register"
    WOULD_NOT = "would not register"
    UNDECIDABLE = "cannot tell"


class Finding(NamedTuple):
    """One finding; ``fields`` are facts with the names of ``ErrorFields``."""

    severity: Severity
    what: str
    why: str = ""
    hint: str = ""
    fields: Mapping[str, Any] = {}

    @classmethod
    def of_error(cls, error: StructopsError, severity: Severity = Severity.ERROR) -> Finding:
        """Return an error as a finding; UNKNOWN if unread modules may decide it."""
        if "unread_modules" in error.fields:
            severity = Severity.UNKNOWN
        return cls(severity, error.what, error.why, error.hint, dict(error.fields))


def verdict_of(findings: Iterable[Finding]) -> Verdict:
    """Return the verdict of findings: one error decides, one unknown leaves it open."""
    found = {finding.severity for finding in findings}
    if Severity.ERROR in found:
        return Verdict.WOULD_NOT
    return Verdict.UNDECIDABLE if Severity.UNKNOWN in found else Verdict.WOULD
