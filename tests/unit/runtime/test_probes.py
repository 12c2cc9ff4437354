"""The kernel's answers to probes, and answers that say nothing."""

from __future__ import annotations

from errno import EINVAL, EMFILE, EPERM

import pytest

from structops_cli.errors import ENOTSUPP, KernelError
from structops_cli.runtime.probes import ProbeAnswer, flag_masks, is_registered, may_call
from structops_cli.struct_ops.catalogue import find_type
from structops_cli.struct_ops.plan import ProgramPlan, plan_object
from structops_cli.syscall import command
from structops_cli.syscall.uapi import BpfCmd
from tests.synthetic_kernels import kernel
from tests.unit.struct_ops.objects import spec
from tests.unit.syscall.fake_lib import Answer, FakeLib, real_fd, writing_log

TYPE = find_type(kernel(), "tcp_congestion_ops")


def opened(_: object) -> int:
    return real_fd()


def program() -> ProgramPlan:
    return plan_object(spec(), kernel()).programs[0]


@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        ((opened, opened), ProbeAnswer.YES),
        ((opened, -ENOTSUPP, opened, -ENOTSUPP), ProbeAnswer.NO),
        ((opened, -EPERM), ProbeAnswer.UNKNOWN),
    ],
)
def test_whether_a_subsystem_offers_a_type(
    monkeypatch: pytest.MonkeyPatch, answers: tuple[Answer, ...], expected: ProbeAnswer
) -> None:
    monkeypatch.setattr(command, "lib", FakeLib(answers))
    assert is_registered(TYPE) is expected


def test_a_process_out_of_files_gets_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "lib", FakeLib([opened, -EMFILE]))
    with pytest.raises(KernelError) as caught:
        is_registered(TYPE)
    assert caught.value.errno == EMFILE


@pytest.mark.parametrize(
    ("log", "expected"),
    [
        (b"program of this type cannot use helper bpf_sk_storage_get#107", False),
        (b"unknown func bpf_sk_storage_get#107", False),
        (b"R1 type=ctx expected=sock", True),
        (b"out of memory", None),
    ],
)
def test_whether_a_program_may_call_a_helper(
    monkeypatch: pytest.MonkeyPatch, log: bytes, expected: bool | None
) -> None:
    lib = FakeLib([-EINVAL, writing_log(log, -EINVAL)])
    monkeypatch.setattr(command, "lib", lib)
    assert may_call(program(), 107) is expected
    assert lib.commands == [BpfCmd.PROG_LOAD] * 2


def test_a_program_that_loads_may_call_the_helper(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "lib", FakeLib([opened]))
    assert may_call(program(), 5) is True


def test_flags_of_a_kernel_that_does_not_answer_are_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "lib", FakeLib([-EPERM] * 4))
    assert flag_masks(TYPE) == {}
