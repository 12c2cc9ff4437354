"""Check the findings about rules of the kernel and of the subsystem."""

from __future__ import annotations

import pytest

from structops_cli.errors import ENOTSUPP
from structops_cli.struct_ops.check import Surroundings
from structops_cli.struct_ops.findings import Severity, Verdict
from tests.synthetic_kernels import kernel
from tests.unit.struct_ops.checks import check, problems
from tests.unit.struct_ops.objects import spec


def test_an_excerpt_of_a_kernel_does_not_tell_its_rules() -> None:
    report = check(spec(), kernel=kernel(machinery=False))
    assert report.verdict is Verdict.UNDECIDABLE
    [(severity, text)] = problems(report)
    assert severity == "unknown"
    assert text.endswith("it has no struct bpf_struct_ops_map: it is an excerpt of a kernel's BTF")


def test_a_required_member_without_a_program() -> None:
    report = check(spec(programs={"ssthresh": "p_one", "cong_avoid": "p_two"}))
    assert report.verdict is Verdict.WOULD_NOT
    assert "undo_cwnd has no program" in problems(report)[0][1]


def test_a_name_that_is_taken() -> None:
    around = Surroundings(taken=frozenset({("tcp_congestion_ops", "t_one")}))
    report = check(spec(), surroundings=around)
    assert report.verdict is Verdict.WOULD_NOT
    assert "taken" in problems(report)[0][1]


def test_a_licence_that_is_not_compatible() -> None:
    assert check(spec()._replace(licence="Proprietary")).verdict is Verdict.WOULD_NOT
    assert check(spec()._replace(licence="")).verdict is Verdict.WOULD_NOT
    assert check(spec()._replace(licence="Dual MIT/GPL")).verdict is Verdict.WOULD


def offering(*, answer: bool | None) -> Surroundings:
    return Surroundings(offers=lambda _: answer)


def test_a_type_that_no_subsystem_has_registered() -> None:
    report = check(spec(), surroundings=offering(answer=False))
    [only] = [one for one in report.findings if one.severity is Severity.ERROR]
    assert (only.fields["operation"], only.fields["errno"]) == ("MAP_CREATE", ENOTSUPP)
    assert "no subsystem registered it" in only.why
    assert report.verdict is Verdict.WOULD_NOT
    assert check(spec(), surroundings=offering(answer=True)).verdict is Verdict.WOULD


def test_where_the_kernel_does_not_tell_what_is_known_of_the_type_counts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert check(spec(), surroundings=offering(answer=None)).verdict is Verdict.WOULD
    monkeypatch.setattr("structops_cli.struct_ops.check_rules.REGISTRY", {})
    report = check(spec(), surroundings=offering(answer=None))
    assert report.verdict is Verdict.UNDECIDABLE
    assert "asking takes CAP_BPF" in report.findings[0].why
