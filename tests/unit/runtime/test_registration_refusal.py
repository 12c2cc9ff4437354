"""Check the cause that a refused registration names."""

from __future__ import annotations

from errno import EEXIST, EINVAL
from types import SimpleNamespace
from typing import Any, cast

from structops_cli.errors import KernelError
from structops_cli.runtime.loaded import Loaded
from structops_cli.runtime.registration_refusal import refusal
from structops_cli.struct_ops.plan import MapPlan, plan_object
from tests.synthetic_kernels import kernel
from tests.unit.struct_ops.objects import spec

LOADED = cast("Loaded", SimpleNamespace(spec=spec()))


def plan(type_name: str) -> MapPlan:
    [one] = plan_object(spec(), kernel()).maps
    return one._replace(type=one.type._replace(name=type_name))


def refused(type_name: str, errno: int, operation: str = "LINK_CREATE", **fields: Any) -> KernelError:
    error = KernelError("refused", errno=errno, operation=operation, **fields)
    return refusal(error, plan(type_name), LOADED)


def test_an_unknown_subsystem_is_named() -> None:
    answer = refused("t_ops", EINVAL)
    assert "the subsystem of t_ops refuses it by a rule of its own" in answer.why
    assert "structops types t_ops" in answer.hint
    assert answer.fields["object"] == spec().name


def test_a_known_subsystem_answers_by_the_rules() -> None:
    answer = refused("tcp_congestion_ops", EEXIST)
    assert answer.why.startswith("the name is taken")
    assert answer.fields["type_name"] == "tcp_congestion_ops"


def test_the_kernel_log_is_the_cause_if_there_is_one() -> None:
    answer = refused("sched_ext_ops", EINVAL, kernel_log="ops.init() failed")
    assert answer.why.startswith("ops.init() failed")
