"""Check the rules of the subsystems, on kernels of several ages."""

from __future__ import annotations

from errno import EEXIST, EINVAL

from structops_cli.struct_ops.capabilities import Capabilities
from structops_cli.struct_ops.rules.model import (
    Update,
)
from tests.unit.struct_ops.rules.cases import (
    BEFORE_6_0,
    OLD,
    answer,
    value,
)


def test_an_old_kernel_wants_each_function_and_says_so_at_the_first_that_is_missing() -> None:
    update = Update("m", value(OLD, programs=(10, 0, 0, 13, 14), name=b""))
    assert answer(update, capabilities=BEFORE_6_0, kernel_type=OLD) == (
        EINVAL,
        "required-early",
        "cong_avoid",
    )
    assert answer(update, kernel_type=OLD) == (EINVAL, "name-given", "name"), (
        "cong_control is enough since 6.0"
    )


def test_an_old_kernel_looks_for_the_name_before_the_functions_behind_it() -> None:
    taken = frozenset([("tcp_congestion_ops", "t_one")])
    update = Update("m", value(OLD, programs=(10, 11, 0, 0, 0)))
    assert answer(update, taken=taken, capabilities=Capabilities(name_taken_at_update=True)) == (
        EEXIST,
        "name-taken-early",
        "name",
    )
    assert answer(update, taken=taken) == (EINVAL, "required", "undo_cwnd"), "today: validate before reg"
