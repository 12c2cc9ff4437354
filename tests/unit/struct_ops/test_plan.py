"""The plan: which maps and programs of an object a kernel gets."""

from __future__ import annotations

import pytest

from structops_cli.errors import FitError, ObjectError, UnsupportedError, UsageError
from structops_cli.struct_ops.plan import Selection, plan_object
from tests.synthetic_kernels import kernel
from tests.unit.struct_ops.objects import function, spec


def test_a_flavour_is_stripped() -> None:
    plan = plan_object(spec(type_name="tcp_congestion_ops___mine"), kernel())
    assert plan.maps[0].type.name == "tcp_congestion_ops"


def test_a_link_is_planned_where_the_kernel_has_links() -> None:
    modern, old = (
        plan_object(spec(), kernel()).maps[0],
        plan_object(spec(), kernel(links=False, new=False)).maps[0],
    )
    assert (modern.link, modern.link_wanted) == (True, True)
    assert (old.link, old.link_wanted) == (False, True)


@pytest.mark.parametrize(("asked", "linked"), [(True, True), (False, False), (None, False)])
def test_link_can_be_forced(asked: bool | None, linked: bool) -> None:
    assert plan_object(spec(link=False), kernel(), Selection(link=asked)).maps[0].link is linked


def test_a_link_that_the_kernel_cannot_make_is_refused_when_asked_for() -> None:
    with pytest.raises(UnsupportedError, match="--link asks for a link") as caught:
        plan_object(spec(), kernel(links=False, new=False), Selection(link=True))
    assert caught.value.exit_code == 77


def test_one_program_cannot_serve_two_members() -> None:
    with pytest.raises(
        FitError, match=r"^p cannot serve both tcp_congestion_ops\.ssthresh and tcp_congestion_ops\.undo_cwnd"
    ):
        plan_object(spec(programs={"ssthresh": "p", "undo_cwnd": "p"}), kernel())


def test_one_program_serves_two_maps_at_the_same_member() -> None:
    two = spec(variables=("one", "two"))
    plan = plan_object(two, kernel(), Selection(members={("two", "name"): "t_two"}))
    assert [m.registered_name for m in plan.maps] == ["t_one", "t_two"]
    assert len(plan.programs) == 3


def test_two_variables_of_one_name_are_refused() -> None:
    with pytest.raises(ObjectError, match="one and two would both be t_one"):
        plan_object(spec(variables=("one", "two")), kernel())


def test_only_chooses_and_optional_ones_wait_to_be_asked_for() -> None:
    optional = spec(optional=True)
    with pytest.raises(ObjectError, match="registers nothing unless asked to"):
        plan_object(optional, kernel())
    assert plan_object(optional, kernel(), Selection(only=("one",))).maps[0].variable == "one"
    with pytest.raises(UsageError, match="no struct_ops variable three"):
        plan_object(optional, kernel(), Selection(only=("three",)))


def test_a_program_that_nothing_refers_to_is_named() -> None:
    object_spec = spec()
    object_spec = object_spec._replace(functions=(*object_spec.functions, function("p_idle")))
    assert plan_object(object_spec, kernel()).unused == ("p_idle",)
