"""One thing that a check found: how bad it is, what it is, why, what to do, and what of the object it is about."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import Enum
from typing import Any, NamedTuple

from structops_cli.errors import StructopsError

__all__ = ["Finding", "Severity", "Verdict", "verdict_of"]


class Severity(Enum):
    """What a finding means for a registration, the gravest first."""

    ERROR = "error"
    """It will be refused."""
    UNKNOWN = "unknown"
    """It depends on something that cannot be known from here."""
    WARNING = "warning"
    """It will be registered, and is probably not what its author meant."""
    NOTE = "note"
    """Nothing is wrong."""


class Verdict(Enum):
    """What would become of an object."""

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
        """Return an error as a finding, in its own words; unknown where modules that cannot be read leave it open."""
        if "unread_modules" in error.fields:
            severity = Severity.UNKNOWN
        return cls(severity, error.what, error.why, error.hint, dict(error.fields))


def verdict_of(findings: Iterable[Finding]) -> Verdict:
    """Return what findings come to: one error decides, one unknown leaves it open."""
    found = {finding.severity for finding in findings}
    if Severity.ERROR in found:
        return Verdict.WOULD_NOT
    return Verdict.UNDECIDABLE if Severity.UNKNOWN in found else Verdict.WOULD
