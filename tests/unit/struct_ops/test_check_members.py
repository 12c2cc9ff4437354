"""Check the row of each member in the report of a check."""

from __future__ import annotations

from structops_cli.struct_ops.findings import Verdict
from tests.unit.struct_ops.checks import check, problems, states
from tests.unit.struct_ops.objects import spec


def test_every_member_that_does_not_fit_is_told() -> None:
    one = spec(members=("ssthresh", "cong_avoid", "name_less"), extra=b"\1\2", flags=1 << 40, flags_size=8)
    said = [text for severity, text in problems(check(one)) if severity == "error"]
    assert any("one.extra" in text for text in said)
    assert any("one.flags" in text and "4 bytes" in text for text in said)
    assert any("undo_cwnd" in text for text in said)


def test_a_member_that_is_left_out_is_noted() -> None:
    members = ("ssthresh", "cong_avoid", "undo_cwnd", "t_new")
    report = check(spec(members=members))
    assert report.verdict is Verdict.WOULD
    assert states(report)["t_new"] == "left out"
    assert any("no member t_new" in finding.what for finding in report.findings)
