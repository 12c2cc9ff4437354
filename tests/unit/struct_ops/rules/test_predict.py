"""Predict the kernel's answers to an object before anything is done."""

from __future__ import annotations

from errno import EEXIST, EINVAL
from typing import Any

import pytest

from structops_cli.btf.kernel_types import KernelTypes
from structops_cli.struct_ops.capabilities import Capabilities
from structops_cli.struct_ops.findings import Severity
from structops_cli.struct_ops.plan import Selection, plan_object
from structops_cli.struct_ops.rules.predict import Prediction, predict_registration
from tests.synthetic_kernels import kernel
from tests.unit.struct_ops.objects import spec

TAKEN = [("tcp_congestion_ops", "t_one")]


def findings(
    kernel_types: KernelTypes | None = None,
    selection: Selection = Selection(),  # noqa: B008 -- immutable
    capabilities: Capabilities | None = None,
    taken: list[tuple[str, str]] | None = None,
    **changes: Any,
) -> tuple[Prediction, ...]:
    there = kernel_types or kernel()
    plan = plan_object(spec(**changes), there, selection)
    return predict_registration(plan, there, capabilities, taken_names=taken or [])


def errors(*given: Any, **more: Any) -> list[tuple[str, int, str, str]]:
    return [
        (item.operation, item.errno, item.rule, item.member)
        for item in findings(*given, **more)
        if item.severity == Severity.ERROR
    ]


@pytest.mark.parametrize("link", [True, False])
def test_a_sound_object_meets_nothing(link: bool) -> None:
    assert findings(link=link) == ()


def test_everything_that_is_wrong_is_found_and_the_kernels_answer_comes_first() -> None:
    assert errors(members=("ssthresh",), name="a b", flags=1 << 31) == [
        ("MAP_UPDATE_ELEM", EINVAL, "name-characters", "name"),
        ("MAP_UPDATE_ELEM", EINVAL, "flags-known", "flags"),
        ("MAP_UPDATE_ELEM", EINVAL, "required", "undo_cwnd"),
        ("MAP_UPDATE_ELEM", EINVAL, "either", ""),
    ]


@pytest.mark.parametrize(("link", "operation"), [(True, "LINK_CREATE"), (False, "MAP_UPDATE_ELEM")])
def test_a_taken_name_is_met_when_it_is_registered(link: bool, operation: str) -> None:
    assert errors(link=link, taken=TAKEN) == [(operation, EEXIST, "name-taken", "")]
    assert findings(link=link, taken=TAKEN)[0].hint.endswith("choose another name with --set one.name=NAME")


def test_an_old_kernel_looks_at_the_name_earlier() -> None:
    old = kernel(new=False, links=False)
    assert errors(old, link=False, taken=TAKEN)[0] == ("MAP_UPDATE_ELEM", EEXIST, "name-taken-early", "name")


def test_a_link_that_there_is_not_is_a_note() -> None:
    notes = [(item.severity, item.rule) for item in findings(kernel(new=False, links=False))]
    assert notes == [(Severity.NOTE, "no-links-here")]


def test_a_member_that_the_kernel_lacks_is_a_note() -> None:
    found = findings(members=("ssthresh", "cong_avoid", "undo_cwnd", "brand_new"))
    assert [(item.severity, item.rule, item.member) for item in found] == [
        (Severity.NOTE, "member-unknown", "brand_new")
    ]


def test_programs_are_judged_before_they_are_loaded() -> None:
    plan = plan_object(spec(), kernel())
    found = predict_registration(plan, kernel(), licence="Proprietary")
    assert {(item.operation, item.rule) for item in found} == {("PROG_LOAD", "licence")}
    assert len(found) == 3


def test_findings_say_what_to_do() -> None:
    for item in findings(members=("ssthresh",), name="", flags=1 << 31):
        assert item.variable == "one"
        assert item.why
        assert item.hint


def test_two_schedulers_of_one_object() -> None:
    there = kernel()
    both = spec(variables=("one", "two"))
    plan = plan_object(both, there, Selection(members={("two", "name"): "t_two"}))
    maps = [item._replace(type=item.type._replace(name="sched_ext_ops")) for item in plan.maps]
    [found] = [
        item
        for item in predict_registration(plan._replace(maps=tuple(maps)), there)
        if item.rule == "one-at-a-time"
    ]
    assert (found.variable, found.operation) == ("two", "LINK_CREATE")
    assert found.why == "the subsystem takes one at a time, and one of the same object comes first"
    assert found.hint == "choose one: --only two, or --only one"
