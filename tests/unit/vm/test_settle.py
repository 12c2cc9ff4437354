"""A check without a kernel, and the word of one: the kernel's counts, and a difference is told."""

from __future__ import annotations

import pytest

from structops_cli.struct_ops.check import CheckReport
from structops_cli.struct_ops.findings import Finding, Severity, Verdict
from structops_cli.struct_ops.plan import Plan
from structops_cli.vm.settle import agrees, settled
from structops_cli.vm.trial import Fate, Trial

ERROR = Finding(Severity.ERROR, "the check's no", "rule")
UNKNOWN = Finding(Severity.UNKNOWN, "who knows")
WARNING = Finding(Severity.WARNING, "odd")
KERNELS_NO = Finding(Severity.ERROR, "the kernel's no", "errno", fields={"errno": "EINVAL"})
REGISTERED = Trial(Fate.REGISTERED)
REFUSED = Trial(Fate.REFUSED, (KERNELS_NO,))
UNTRIED = Trial(Fate.UNTRIED, (Finding(Severity.UNKNOWN, "it did not boot"),))


def report(*findings: Finding) -> CheckReport:
    return CheckReport("a.o", Plan((), (), (), ()), findings, (), ())


@pytest.mark.parametrize(
    ("findings", "trial", "verdict", "agree", "severities"),
    [
        ((WARNING,), REGISTERED, Verdict.WOULD, True, "w"),
        ((ERROR, WARNING), REGISTERED, Verdict.WOULD, False, "ww"),
        ((UNKNOWN,), REGISTERED, Verdict.WOULD, None, "n"),
        ((), REFUSED, Verdict.WOULD_NOT, False, "ew"),
        ((ERROR,), REFUSED, Verdict.WOULD_NOT, True, "ee"),
        ((UNKNOWN,), REFUSED, Verdict.WOULD_NOT, None, "en"),
        ((), UNTRIED, Verdict.UNDECIDABLE, None, "u"),
        ((ERROR,), UNTRIED, Verdict.WOULD_NOT, None, "ue"),
    ],
)
def test_the_kernel_decides(
    findings: tuple[Finding, ...], trial: Trial, verdict: Verdict, agree: bool | None, severities: str
) -> None:
    found = settled(report(*findings), trial)
    assert (found.verdict, agrees(report(*findings), trial)) == (verdict, agree)
    assert "".join(finding.severity.value[0] for finding in found.findings) == severities


def test_the_kernels_words_come_first_and_say_of_which_object() -> None:
    found = settled(report(ERROR), REFUSED).findings
    assert [finding.what for finding in found] == ["the kernel's no", "the check's no"]
    assert found[0].fields == {"errno": "EINVAL", "object": "a.o"}


def test_the_same_words_are_said_once() -> None:
    both = Trial(Fate.REFUSED, (ERROR,))
    assert len(settled(report(ERROR), both).findings) == 1


def test_a_refusal_that_the_kernel_does_not_share_is_told_as_such() -> None:
    (finding,) = settled(report(ERROR), REGISTERED).findings
    assert finding.what == "the kernel's types alone say that it would not register: the check's no"
    assert "trust the kernel" in finding.hint
