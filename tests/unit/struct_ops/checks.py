"""Check written objects, and read the report of a check."""

from __future__ import annotations

from typing import Any

from structops_cli.core.target import Target
from structops_cli.obj.spec import (
    ObjectSpec,
)
from structops_cli.struct_ops.check import CheckReport, check_object
from structops_cli.struct_ops.findings import Severity
from tests.elf_writers import insn
from tests.synthetic_kernels import kernel
from tests.unit.struct_ops.objects import spec

CALL, MOV_K, EXIT, LDX = 0x85, 0xB7, 0x95, 0x79
DONE = insn(MOV_K, 0) + insn(EXIT)


def check(one: ObjectSpec, **changes: Any) -> CheckReport:
    return check_object(one, Target(changes.pop("kernel", kernel())), **changes)


def problems(report: CheckReport) -> list[tuple[str, str]]:
    return [
        (f.severity.value, f"{f.what}: {f.why}") for f in report.findings if f.severity is not Severity.NOTE
    ]


def with_code(code: bytes, **changes: object) -> ObjectSpec:
    """Return an object whose first program is this code."""
    one = spec()
    first = one.functions[0]._replace(insns=code, **changes)  # type: ignore[arg-type]
    return one._replace(functions=(first, *one.functions[1:]))


def states(report: CheckReport) -> dict[str, str]:
    (variable,) = report.variables
    return {row.name: row.state for row in variable.rows}
