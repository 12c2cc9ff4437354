"""A loaded object owns its fds."""

from __future__ import annotations

from structops_cli.runtime.loaded import Loaded
from structops_cli.struct_ops.plan import plan_object
from structops_cli.struct_ops.value import read_programs
from structops_cli.syscall.fd import Fd
from tests.synthetic_kernels import kernel
from tests.unit.struct_ops.objects import spec
from tests.unit.syscall.fake_lib import is_open, real_fd


def test_it_closes_the_fds_that_it_owns() -> None:
    with Loaded(spec(), plan_object(spec(), kernel())) as loaded:
        first, second = loaded.own(Fd(real_fd())), loaded.own(Fd(real_fd()))
        numbers = first.fileno(), second.fileno()
    assert not any(is_open(number) for number in numbers)


def test_the_value_has_the_fds_of_the_programs() -> None:
    one = spec(members=("undo_cwnd", "ssthresh"))
    plan = plan_object(one, kernel())
    with Loaded(one, plan) as loaded:
        for program in plan.programs:
            loaded.programs[program.name] = loaded.own(Fd(real_fd()))
        [planned] = plan.maps
        numbers = {fd.fileno() for fd in loaded.programs.values()}
        assert set(read_programs(planned.type, loaded.value_of(planned))) == numbers
