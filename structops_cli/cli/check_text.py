"""Render the results of ``structops check`` as text and as JSON."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from structops_cli.cli.live import c_text
from structops_cli.cli.output import Output, shown, table
from structops_cli.counted import counted
from structops_cli.operations.check import CheckedObject, problems_of
from structops_cli.struct_ops.check_members import MemberRow, VariableReport
from structops_cli.struct_ops.check_programs import ProgramReport
from structops_cli.struct_ops.findings import Finding, Severity, Verdict

COLORS = {Verdict.WOULD: "green", Verdict.WOULD_NOT: "red", Verdict.UNDECIDABLE: "yellow"}
CELLS = {Verdict.WOULD: "yes", Verdict.WOULD_NOT: "no", Verdict.UNDECIDABLE: "cannot tell"}
NOT_ATTACHED = "not_attached"
"""The field of findings about unattached programs; warnings on stderr report these."""
HEADER = ("MEMBER", "INDEX", "SIZE", "NEED", "HAS", "PROTOTYPE", "STATE")


# JSON


def checked_data(item: CheckedObject) -> dict[str, Any]:
    """Return one object on one kernel as plain data."""
    report = item.report
    head = {
        "object": report.object,
        "kernel": item.kernel.label,
        "path": item.kernel.path,
        "verdict": report.verdict.value,
        "verifier_asked": report.verifier_asked,
        "findings": [_finding_data(finding) for finding in report.findings],
        "variables": [_variable_data(variable) for variable in report.variables],
        "programs": [_program_data(program) for program in report.programs],
        "not_attached": [one for item in report.findings for one in item.fields.get(NOT_ATTACHED, ())],
    }
    return head | ({"booted": item.booted._asdict()} if item.booted else {})


def _finding_data(finding: Finding) -> dict[str, Any]:
    head = {
        "severity": finding.severity.value,
        "what": finding.what,
        "why": finding.why,
        "hint": finding.hint,
    }
    return head | dict(finding.fields)


def _variable_data(variable: VariableReport) -> dict[str, Any]:
    return {
        "name": variable.name,
        "type": variable.type_name,
        "module": variable.module or "vmlinux",
        "registered_name": variable.registered_name,
        "link": variable.link,
        "members": [_row_data(row) for row in variable.rows],
    }


def _row_data(row: MemberRow) -> dict[str, Any]:
    return {
        "name": row.name,
        "index": row.member_index,
        "size": row.size_bytes,
        "local_size": row.local_size_bytes,
        "declaration": row.declaration,
        "need": row.need,
        "program": row.program,
        "value": row.value,
        "prototype": row.prototype or "",
        "state": row.state,
    }


def _program_data(program: ProgramReport) -> dict[str, Any]:
    return {
        "name": program.plan.name,
        "member": program.plan.member.name,
        "section": program.section,
        "sleepable": program.sleepable,
        "relocations": program.relocations,
        "poisoned": program.poisoned,
        "differences": [item.describe() for item in program.arguments.differences],
    }


# Text


def checked_text(output: Output, checked: Sequence[CheckedObject]) -> str:
    """Return tables and problems, with a matrix for several kernels; only problems for ``-q``."""
    several = len({item.kernel.label for item in checked}) > 1
    parts = [_matrix(checked)] if several and not output.quiet else []
    for item in checked:
        if output.quiet or (several and not output.verbosity):
            parts.append(_problems(output, item, with_heading=True))
        else:
            parts.append("\n\n".join(filter(None, _whole(output, item))))
    parts += [] if output.quiet else [_not_asked(checked)]
    return "\n\n".join(filter(None, parts))


def _not_asked(checked: Sequence[CheckedObject]) -> str:
    """Return a note if no verifier was asked about a "yes", else ""."""
    open_ones = (one for one in checked if not one.unread and one.report.verdict is not Verdict.WOULD_NOT)
    left = [one for one in open_ones if not one.report.verifier_asked]
    if not left:
        return ""
    how = (
        "--verify asks it, as root"
        if any(item.kernel.is_live for item in left)
        else "--boot asks that of a Debian kernel"
    )
    return f"note: the verifier was not asked, and may refuse a program; {how}"


def _matrix(checked: Sequence[CheckedObject]) -> str:
    """Return a table with a line for each object and a column for each kernel."""
    kernels = list(dict.fromkeys(item.kernel.label for item in checked))
    rows: dict[int, list[str]] = {}
    names: dict[int, str] = {}
    per_kernel = len(checked) // len(kernels)
    for place, item in enumerate(checked):
        rows.setdefault(place % per_kernel, []).append(_cell(item))
        names[place % per_kernel] = item.report.object
    return table(("OBJECT", *kernels), [(names[place], *cells) for place, cells in rows.items()])


def _cell(item: CheckedObject) -> str:
    report = item.report
    if item.booted and item.booted.agrees is False:
        return f"{CELLS[report.verdict]} (by its types {CELLS[Verdict(item.booted.expected)]})"
    warnings = sum(finding.severity is Severity.WARNING for finding in report.findings)
    more = f", {counted(warnings, 'warning')}" if warnings and report.verdict is Verdict.WOULD else ""
    return CELLS[report.verdict] + more


def _whole(output: Output, item: CheckedObject) -> Iterator[str]:
    yield _heading(output, item)
    for variable in item.report.variables:
        yield _variable(variable)
    yield _problems(output, item, with_heading=False)
    notes = [finding.what for finding in item.report.findings if finding.severity is Severity.NOTE]
    yield "\n".join(f"note: {shown(note)}" for note in notes)


def _heading(output: Output, item: CheckedObject) -> str:
    verdict = item.report.verdict
    here = " (this kernel)" if item.kernel.is_live else " (booted)" if item.booted else ""
    said = item.booted.fate if item.booted else verdict.value
    return f"{shown(f'{item.report.object} on {item.kernel.label}')}{here}: {output.style(said, fg=COLORS[verdict], bold=True)}"


def _variable(variable: VariableReport) -> str:
    how = "through a link" if variable.link else "without a link"
    head = shown(f"struct_ops {variable.name} ({variable.type_name}), as {variable.registered_name}, {how}")
    if not variable.rows:
        return head
    rows = table(HEADER, [_cells(row) for row in variable.rows])
    return head + "\n" + "\n".join(f"  {line}" for line in rows.splitlines())


def _cells(row: MemberRow) -> tuple[object, ...]:
    has = row.program or (c_text(row.value) if row.value is not None else "-")
    size = "-" if row.size_bytes is None else row.size_bytes
    if row.size_bytes is not None and row.local_size_bytes not in {None, row.size_bytes}:
        size = f"{row.size_bytes} ({row.local_size_bytes} here)"
    place = "-" if row.member_index is None else row.member_index
    return row.name, place, size, row.need or "-", has, row.prototype or "-", row.state


def _problems(output: Output, item: CheckedObject, *, with_heading: bool) -> str:
    found = [one for one in problems_of(item.report) if NOT_ATTACHED not in one.fields]
    heading = [_heading(output, item)] if with_heading and found else []
    return "\n".join([*heading, *(_problem(finding, output) for finding in found)])


def _problem(finding: Finding, output: Output) -> str:
    """Return a finding, with ``-v`` followed by the whole verifier log if it has one."""
    log = str(finding.fields.get("log") or "") if output.verbosity else ""
    return "\n".join(filter(None, [problem_lines(finding, output), log.rstrip()]))


def problem_lines(finding: Finding, output: Output | None = None) -> str:
    """Return a finding as up to three lines: the fact, its cause and its fix."""
    color = {Severity.ERROR: "red", Severity.UNKNOWN: "yellow", Severity.WARNING: "yellow"}.get(
        finding.severity
    )
    word = f"{finding.severity.value}:"
    lines = [f"{output.style(word, fg=color, bold=True) if output else word} {shown(finding.what)}"]
    lines += [f"  why: {shown(finding.why)}"] if finding.why else []
    lines += [f"  fix: {shown(finding.hint)}"] if finding.hint else []
    return "\n".join(lines)
