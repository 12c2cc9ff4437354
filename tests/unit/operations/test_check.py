"""Each pair of an object and a kernel gets one answer."""

from __future__ import annotations

from pathlib import Path

import pytest

from structops_cli.btf.kernel_types import KernelTypes
from structops_cli.errors import BtfError, ElfError, ExitCode, NotFoundError, UsageError
from structops_cli.operations.check import (
    CheckedObject,
    CheckOptions,
    check_pairs,
    exit_code_of,
    kernel_values,
    problems_of,
    read_objects,
    refuse_unused_values,
)
from structops_cli.runtime.targets import CheckTarget, targets_of, unreadable_target
from structops_cli.struct_ops.check import CheckReport
from structops_cli.struct_ops.findings import Finding, Severity, Verdict
from structops_cli.struct_ops.plan import Plan

KERNEL = str(Path(__file__).parents[2] / "kernels" / "debian-6.12.btf")
DAMAGED = unreadable_target("damaged", "/nowhere", BtfError("damaged"))


def checked(*severities: Severity) -> CheckedObject:
    findings = tuple(Finding(severity, severity.value) for severity in severities)
    return CheckedObject(DAMAGED, CheckReport("a", Plan((), (), (), ()), findings, (), ()))


@pytest.mark.parametrize(
    ("severities", "strict", "code"),
    [
        ((), False, ExitCode.DONE),
        ((Severity.WARNING,), False, ExitCode.DONE),
        ((Severity.WARNING,), True, ExitCode.FAILED),
        ((Severity.UNKNOWN,), False, ExitCode.UNSUPPORTED),
        ((Severity.UNKNOWN, Severity.ERROR), False, ExitCode.FAILED),
    ],
)
def test_exit_code(severities: tuple[Severity, ...], strict: bool, code: ExitCode) -> None:
    assert exit_code_of([checked(), *map(checked, severities)], strict=strict) == code


def test_notes_are_no_problems() -> None:
    report = checked(Severity.NOTE, Severity.WARNING).report
    assert [one.severity for one in problems_of(report)] == [Severity.WARNING]


def test_kernel_values_are_told_from_constants() -> None:
    given = {"LINUX_KERNEL_VERSION": "6.12", "CONFIG_A": "y", "limit": "3"}
    assert kernel_values(given) == {"LINUX_KERNEL_VERSION": "6.12", "CONFIG_A": "y"}


@pytest.mark.parametrize("given", [{"LINUX_KERNEL_VERSION": "six"}, {"CONFIG_A": "yes"}])
def test_a_bad_kernel_value_is_refused(given: dict[str, str]) -> None:
    with pytest.raises(UsageError):
        kernel_values(given)


def test_a_value_that_no_object_asks_for_is_refused() -> None:
    objects = read_objects(["reno"], {}, {}, {})
    refuse_unused_values({}, objects, live=True)
    with pytest.raises(UsageError, match="CONFIG_A"):
        refuse_unused_values({"CONFIG_A": "y"}, objects, live=False)


def test_every_pair_has_an_answer(tmp_path: Path) -> None:
    damaged = tmp_path / "damaged.o"
    damaged.write_bytes(b"\x7fELF")
    objects = read_objects(["reno", str(damaged), "/nowhere/a.o"], {}, {}, {})
    assert [type(one.spec) for one in objects[1:]] == [ElfError, NotFoundError]
    done: list[str] = []

    def note(target: CheckTarget, kernel: KernelTypes) -> None:
        done.append(f"{target.label} {bool(kernel.unread)}")

    found = list(check_pairs(objects, [*targets_of([KERNEL]), DAMAGED], CheckOptions(), note))
    assert [one.report.verdict for one in found] == [Verdict.WOULD, *[Verdict.UNDECIDABLE] * 5]
    assert [one.unread is None for one in found] == [True, False, False, False, False, False]
    assert done == ["debian-6.12.btf False"]
