"""Check the findings about arguments, on programs of a few instructions."""

from __future__ import annotations

import pytest

from structops_cli.struct_ops.findings import Verdict
from tests.elf_writers import insn
from tests.unit.struct_ops.checks import DONE, EXIT, LDX, check, problems, states, with_code


def test_an_argument_that_the_kernel_does_not_pass() -> None:
    report = check(with_code(insn(LDX, 2, 1, 8) + DONE))
    ((severity, said),) = problems(report)
    assert severity == "error"
    assert "reads argument 2, and the kernel passes 1" in said
    assert states(report)["ssthresh"] == "error"
    assert report.findings[0].fields["insn"] == 0


def test_nothing_is_returned_where_something_is_wanted() -> None:
    ((severity, said),) = problems(check(with_code(insn(EXIT))))
    assert (severity, "it returns nothing" in said) == ("error", True)


@pytest.mark.parametrize(
    ("code", "verdict", "said"),
    [
        (insn(0x7B, 1, 10, 0), Verdict.WOULD_NOT, "it writes to the array of its arguments"),
        (insn(0x61, 2, 1, 4), Verdict.WOULD_NOT, "it loads 4 bytes at byte 4 of the array"),
        (insn(0x61, 2, 1, 0), Verdict.UNDECIDABLE, "it loads 4 bytes at byte 0 of the array of its arguments, and "),
        (insn(LDX, 2, 1) + insn(0x61, 3, 2, 0), Verdict.WOULD, ""),
        (insn(LDX, 2, 1) + insn(0x61, 3, 2, 4), Verdict.WOULD_NOT, "and struct sock has 4 bytes"),
        (insn(LDX, 2, 1) + insn(0x61, 3, 2, -4), Verdict.WOULD_NOT, "which is before it"),
    ],
)  # fmt: skip
def test_an_access_that_the_types_alone_show_to_be_refused(code: bytes, verdict: Verdict, said: str) -> None:
    report = check(with_code(code + DONE))
    assert report.verdict is verdict
    assert not said or said in report.findings[0].why
