"""``register`` refuses some objects before loading, and leaves others to the kernel."""

from __future__ import annotations

import pytest

from structops_cli.errors import FitError
from structops_cli.obj.spec import ObjectSpec
from structops_cli.struct_ops.early import refuse_early
from structops_cli.struct_ops.plan import plan_object
from tests.cli_runner import run_python
from tests.synthetic_kernels import kernel
from tests.unit.struct_ops.objects import spec

TOO_FEW = {"ssthresh": "p_one", "cong_avoid": "p_two"}


def refuse(one: ObjectSpec) -> None:
    refuse_early(one, plan_object(one, kernel()), kernel())


def test_a_sound_object_passes() -> None:
    refuse(spec())
    refuse(spec()._replace(licence="Dual MIT/GPL"))


def test_a_sound_object_costs_no_import_of_the_rules() -> None:
    code = (
        "import sys\n"
        "from tests.unit.struct_ops.test_early import refuse, spec\n"
        "from structops_cli.struct_ops.kinds import tcp_congestion_ops\n"
        "before = set(sys.modules)\n"
        "refuse(spec())\n"
        "print([name for name in set(sys.modules) - before if name.startswith('structops_cli.struct_ops')])\n"
    )
    assert run_python("-c", code).stdout == "[]\n"


@pytest.mark.parametrize(
    ("one", "why"),
    [
        (spec(programs=TOO_FEW), "undo_cwnd"),
        (spec(name=""), "name is empty"),
        (spec(name="has space"), "character"),
        (spec()._replace(licence="Proprietary"), "licence"),
        (spec()._replace(licence=""), "licence"),
    ],
)
def test_what_breaks_a_rule_is_refused(one: ObjectSpec, why: str) -> None:
    with pytest.raises(FitError, match=why) as caught:
        refuse(one)
    assert caught.value.fields["object"] == "t_object.bpf.o"
    assert caught.value.fields["variable"] == "one"


def test_what_an_old_kernel_requires_besides() -> None:
    """Before 6.0 each function that is not optional, cong_avoid beside cong_control; later one of the two."""
    functions = ("ssthresh", "cong_avoid", "undo_cwnd", "cong_control")
    programs = {"ssthresh": "p_one", "undo_cwnd": "p_two", "cong_control": "p_three"}
    alone = spec(members=functions, programs=programs)
    new, old = kernel(members=functions), kernel(new=False, links=False, members=functions)
    refuse_early(alone, plan_object(alone, new), new)
    with pytest.raises(FitError, match="requires every function that is not optional") as caught:
        refuse_early(alone, plan_object(alone, old), old)
    assert caught.value.fields["member"] == "cong_avoid"


def test_flags_that_only_the_kernel_knows_are_left_to_it() -> None:
    refuse(spec(flags=8))


def test_a_type_that_nobody_knows_is_left_to_the_kernel() -> None:
    from structops_cli.struct_ops.early import _is_suspect

    (item,) = plan_object(spec(programs=TOO_FEW), kernel()).maps
    assert _is_suspect(spec(), item)
    assert not _is_suspect(spec(), item._replace(type=item.type._replace(name="t_unknown_ops")))
