"""PROG_LOAD gets the BTF descriptors of the modules that a program calls or reads."""

from __future__ import annotations

from typing import Any

import pytest

from structops_cli.asm.insn import decode_insn
from structops_cli.btf.kernel_types import KernelTypes
from structops_cli.core.externs import Externs
from structops_cli.obj.link import link_program
from structops_cli.obj.reader import read_object
from structops_cli.obj.spec import Relocation, RelocationTarget
from structops_cli.runtime import kernel as kernel_module
from structops_cli.runtime.loaded import Loaded
from structops_cli.runtime.programs import PreparedProgram, load_programs
from structops_cli.struct_ops.catalogue import find_type
from structops_cli.struct_ops.plan import Plan, ProgramPlan
from structops_cli.syscall import command
from structops_cli.syscall._native import ffi
from structops_cli.syscall.fd import Fd
from structops_cli.syscall.uapi import BpfCmd
from tests.elf_writers import EXIT, load, small_object
from tests.synthetic_kernels import kernel
from tests.unit.syscall.fake_lib import FakeLib, is_open, real_fd

KERNEL: KernelTypes = kernel()
TYPE = find_type(KERNEL, "tcp_congestion_ops")


def test_the_fds_of_modules(monkeypatch: pytest.MonkeyPatch) -> None:
    opened: dict[str, int] = {}

    def open_module(name: str) -> Fd:
        assert name not in opened, "each module is opened once"
        opened[name] = real_fd()
        return Fd(opened[name])

    seen: list[tuple[list[int], bytes]] = []

    def look(attr: Any) -> int:
        fds = ffi.unpack(ffi.cast("int32_t *", attr.fd_array), 3)
        insns = bytes(ffi.buffer(ffi.cast("uint8_t *", attr.insns), attr.insn_cnt * 8))
        seen.append((list(fds), insns))
        return real_fd()

    monkeypatch.setattr(kernel_module, "open_module", open_module)
    lib = FakeLib([look])
    monkeypatch.setattr(command, "lib", lib)
    spec = read_object(small_object(), "x.o")
    plan = ProgramPlan("t_init", TYPE, TYPE.members[0])
    linked = link_program(spec, "t_init")._replace(
        insns=load(1, 77, 3) + EXIT,
        relocations=(Relocation(0, RelocationTarget.MODULE, "m_data", 77),),
        line_info=(),
    )
    found = Externs({}, None, ("m_first", "m_second"))
    with Loaded(spec, Plan((), (plan,), (), ()), found) as loaded, Fd(real_fd()) as btf:
        load_programs(loaded, btf, [PreparedProgram(plan, linked, (), linked.insns)])
        assert not any(is_open(number) for number in opened.values()), "a loaded program holds them itself"
    [(fds, insns)] = seen
    assert fds == [0, opened["m_first"], opened["m_second"]]
    assert (decode_insn(insns, 0).imm, decode_insn(insns, 0).src_reg, decode_insn(insns, 1).imm) == (
        77,
        3,
        opened["m_data"],
    )
    assert lib.commands == [BpfCmd.PROG_LOAD]
