"""Loading gives everything back when one step fails, and owns everything when none does."""

from __future__ import annotations

from errno import EINVAL, ENOMEM

import pytest

from structops_cli.core.target import Target
from structops_cli.errors import KernelError
from structops_cli.runtime.loader import load
from structops_cli.struct_ops.plan import plan_object
from structops_cli.syscall import command
from structops_cli.syscall.uapi import BpfCmd
from tests.synthetic_kernels import kernel
from tests.unit.struct_ops.objects import spec
from tests.unit.syscall.fake_lib import FakeLib, is_open, real_fd

OBJECT = spec(members=("undo_cwnd", "ssthresh"))
STEPS = (BpfCmd.BTF_LOAD, BpfCmd.MAP_CREATE, BpfCmd.PROG_LOAD, BpfCmd.PROG_LOAD)


@pytest.mark.parametrize("failing", range(len(STEPS) + 1))
def test_a_failed_step_closes_all_fds(monkeypatch: pytest.MonkeyPatch, failing: int) -> None:
    fds: list[int] = []

    def opened(_: object) -> int:
        fds.append(real_fd())
        return fds[-1]

    errno = EINVAL if failing == 1 else ENOMEM
    refusals = [-errno] * 8
    lib = FakeLib([*[opened] * failing, *(refusals if failing < len(STEPS) else [])])
    monkeypatch.setattr(command, "lib", lib)
    types = kernel()
    plan = plan_object(OBJECT, types)
    if failing == len(STEPS):
        with load(OBJECT, plan, Target(types)) as loaded:
            assert all(is_open(number) for number in fds)
            assert set(loaded.programs) == {program.name for program in plan.programs}
    else:
        with pytest.raises(KernelError) as caught:
            load(OBJECT, plan, Target(types))
        assert caught.value.fields["object"] == OBJECT.name
        assert lib.commands[failing] == STEPS[failing]
    assert len(fds) == failing
    assert not any(is_open(number) for number in fds)
