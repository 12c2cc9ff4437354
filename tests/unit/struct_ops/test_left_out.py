"""Which parts of an object a registration leaves out."""

from __future__ import annotations

from structops_cli.obj.spec import OtherProgram
from structops_cli.struct_ops.findings import Severity
from structops_cli.struct_ops.left_out import absent_members, not_attached, programs_left_out
from structops_cli.struct_ops.plan import Selection, plan_object
from tests.synthetic_kernels import kernel
from tests.unit.struct_ops.objects import spec

OTHER, OPTIONAL = OtherProgram("on_exit", "fentry/do_exit"), OtherProgram("asked_for", "?fentry/do_exit")


def test_an_absent_member_is_a_warning() -> None:
    one = spec(members=("ssthresh", "brand_new"))
    (finding,) = absent_members(one, plan_object(one, kernel()))
    assert (finding.severity, finding.fields["member"]) == (Severity.WARNING, "brand_new")
    assert "p_brand_new" in finding.why


def test_programs_of_other_types_but_not_the_optional_ones() -> None:
    one = spec(members=("ssthresh",))._replace(other_programs=(OTHER, OPTIONAL))
    assert not_attached(one) == (OTHER,)
    (finding,) = programs_left_out(one)
    assert "1 program is neither loaded nor attached: on_exit (fentry/do_exit)" in finding.what


def test_a_program_that_only_a_variable_left_out_refers_to_was_asked_for() -> None:
    one = spec(members=("ssthresh",))
    (variable,) = one.struct_ops
    spare = one.functions[0]._replace(name="p_spare", section="struct_ops/spare")
    two = variable._replace(name="two", functions=(variable.functions[0]._replace(function="p_spare"),))
    both = one._replace(functions=(*one.functions, spare), struct_ops=(variable, two))
    assert plan_object(both, kernel(), Selection(only=("one",))).unused == ("p_spare",)
    assert not_attached(both) == ()
    assert not_attached(both._replace(struct_ops=(variable,))) == (
        OtherProgram("p_spare", "struct_ops/spare"),
    )
