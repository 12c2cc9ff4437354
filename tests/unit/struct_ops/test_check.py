"""A whole check, of written objects against written kernels: everything that is wrong, and what it comes to."""

from __future__ import annotations

import pytest

from structops_cli.errors import UsageError
from structops_cli.runtime.objects import bundled_objects, open_object
from structops_cli.struct_ops.findings import Severity, Verdict
from structops_cli.struct_ops.plan import Selection
from tests.kernels.data import KERNELS, kernel_types
from tests.synthetic_kernels import kernel
from tests.unit.struct_ops.checks import check, problems, states
from tests.unit.struct_ops.objects import spec


def test_a_sound_object_would_register() -> None:
    report = check(spec())
    assert report.verdict is Verdict.WOULD
    assert problems(report) == []
    assert states(report) == {
        "ssthresh": "ok", "cong_avoid": "ok", "undo_cwnd": "ok", "name": "ok", "flags": "unset", "owner": "unset",
    }  # fmt: skip
    assert [row.member_index for row in report.variables[0].rows] == list(range(6))
    assert report.variables[0].registered_name == "t_one"


CONGESTION_CONTROLS = sorted(
    {*bundled_objects()} - {"dummy_ops", "fifo_qdisc", "hid_filter", "scx_fifo", "scx_vtime"}
)
"""Of the bundled objects; the excerpts have no other type."""


@pytest.mark.parametrize("version", KERNELS)
@pytest.mark.parametrize("name", CONGESTION_CONTROLS)
def test_the_bundled_congestion_controls_would_register_on_every_kernel(name: str, version: str) -> None:
    report = check(open_object(name), kernel=kernel_types(version))
    assert report.verdict is Verdict.WOULD, problems(report)


def test_a_type_that_the_kernel_lacks() -> None:
    report = check(spec(type_name="t_no_such_ops"))
    assert report.verdict is Verdict.WOULD_NOT
    assert "no struct_ops type t_no_such_ops" in problems(report)[0][1]
    assert report.variables[0].rows == ()


def test_a_kernel_without_links_is_warned_of_and_one_that_is_asked_for_a_link_refused() -> None:
    old = kernel(new=False, links=False)
    report = check(spec(), kernel=old)
    assert report.verdict is Verdict.WOULD
    [(severity, text)] = problems(report)
    assert (severity, text.partition(": ")[0]) == ("warning", "this kernel has no link for t_one (one)")
    assert problems(check(spec(), kernel=old, selection=Selection(link=False))) == []
    assert check(spec(), kernel=old, selection=Selection(link=True)).verdict is Verdict.WOULD_NOT


def test_two_variables_of_one_name() -> None:
    report = check(spec(variables=("one", "two")))
    assert report.verdict is Verdict.WOULD_NOT
    [error] = [item for item in report.findings if item.severity is Severity.ERROR]
    assert error.what.startswith("one and two would both be t_one")
    assert error.hint == "choose one: --only one; or rename one: --set two.name=NAME"


def test_a_call_that_makes_no_sense_is_no_finding() -> None:
    with pytest.raises(UsageError):
        check(spec(), selection=Selection(only=("nobody",)))


# Verdicts


def test_the_gravest_come_first() -> None:
    one = spec(members=("ssthresh", "cong_avoid", "undo_cwnd", "t_new"), extra=b"\1")
    order = [finding.severity for finding in check(one).findings]
    assert order == sorted(order, key=tuple(Severity).index)
    assert len(set(order)) > 1
