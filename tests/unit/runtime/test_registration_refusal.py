"""Whose answer it is when a subsystem that nobody here knows refuses a registration."""

from __future__ import annotations

from errno import E2BIG, EBUSY, EEXIST, EINVAL, ENODEV, ERANGE

import pytest

from structops_cli.errors import ENOTSUPP, KernelError
from structops_cli.runtime.registration_refusal import _of_an_unknown_subsystem
from structops_cli.struct_ops.plan import MapPlan, plan_object
from tests.synthetic_kernels import kernel
from tests.unit.struct_ops.objects import spec


def plan(type_name: str, module: str = "") -> MapPlan:
    [one] = plan_object(spec(), kernel()).maps
    return one._replace(type=one.type._replace(name=type_name, module=module))


@pytest.mark.parametrize(
    ("errno", "words"),
    [
        (EINVAL, "refuses it by a rule of its own"),
        (ERANGE, "refuses it by a rule of its own"),
        (ENODEV, "refuses it by a rule of its own"),
        (EEXIST, "has one like it already"),
        (EBUSY, "takes no more of them"),
    ],
)
def test_the_subsystem_is_named(errno: int, words: str) -> None:
    error = KernelError("refused", errno=errno, operation="LINK_CREATE")
    for item, who in (
        (plan("t_ops", "t_module"), "module t_module"),
        (plan("t_ops"), "the subsystem of t_ops"),
    ):
        cause = _of_an_unknown_subsystem(error, item)
        assert cause is not None
        assert cause.why == f"{who} {words}"


@pytest.mark.parametrize(
    ("operation", "errno"),
    [("MAP_UPDATE_ELEM", E2BIG), ("MAP_UPDATE_ELEM", ENOTSUPP), ("OBJ_PIN", EEXIST), ("LINK_UPDATE", EINVAL)],
)
def test_what_the_kernel_answers_itself_is_not_the_subsystems(operation: str, errno: int) -> None:
    error = KernelError("refused", errno=errno, operation=operation)
    assert _of_an_unknown_subsystem(error, plan("t_ops", "t_module")) is None


def test_a_subsystem_that_is_known_has_words_of_its_own() -> None:
    error = KernelError("refused", errno=EINVAL, operation="MAP_UPDATE_ELEM")
    assert _of_an_unknown_subsystem(error, plan("tcp_congestion_ops")) is None
