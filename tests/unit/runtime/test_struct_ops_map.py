"""Creating a struct_ops map on a kernel that has not read its own BTF yet."""

from __future__ import annotations

import pytest

from structops_cli.btf.btf import Btf
from structops_cli.btf.types import Struct
from structops_cli.errors import ENOTSUPP, KernelError
from structops_cli.runtime.struct_ops_map import create_struct_ops_map
from structops_cli.struct_ops.catalogue import StructOpsType
from structops_cli.syscall import command
from structops_cli.syscall.fd import Fd
from structops_cli.syscall.uapi import BpfCmd
from tests.elf_writers import small_btf
from tests.unit.syscall.fake_lib import FakeLib, real_fd

VALUE = Struct(7, "bpf_struct_ops_t_ops", 64, (), False)


def kernel_type() -> StructOpsType:
    struct = Struct(5, "t_ops", 16, (), False)
    return StructOpsType("t_ops", "", Btf(small_btf()), struct, VALUE, 8, 4, 0, ())


def test_a_type_that_seems_absent_is_asked_for_again_after_a_program(monkeypatch: pytest.MonkeyPatch) -> None:
    lib = FakeLib([-ENOTSUPP, lambda _: real_fd(), lambda _: real_fd()])
    monkeypatch.setattr(command, "lib", lib)
    with Fd(real_fd()) as btf:
        create_struct_ops_map(kernel_type(), "t_ops", btf, link=False).close()
    assert lib.commands == [BpfCmd.MAP_CREATE, BpfCmd.PROG_LOAD, BpfCmd.MAP_CREATE]


def test_a_type_that_is_absent_stays_so(monkeypatch: pytest.MonkeyPatch) -> None:
    lib = FakeLib([-ENOTSUPP, lambda _: real_fd(), -ENOTSUPP])
    monkeypatch.setattr(command, "lib", lib)
    with Fd(real_fd()) as btf, pytest.raises(KernelError) as caught:
        create_struct_ops_map(kernel_type(), "t_ops", btf, link=False)
    assert caught.value.errno == ENOTSUPP
