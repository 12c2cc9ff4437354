"""A struct_ops type of a module: split BTF, and what the kernel is told of it (it is loaded nowhere here)."""

from __future__ import annotations

from struct import unpack_from

import pytest

from structops_cli.btf.btf import Btf
from structops_cli.btf.encode import encode
from structops_cli.btf.kernel_types import KernelTypes, ModuleBtf
from structops_cli.btf.types import BtfType, Member, Struct
from structops_cli.core.target import Target
from structops_cli.errors import FitError
from structops_cli.runtime import kernel as live
from structops_cli.runtime.loader import load
from structops_cli.struct_ops.plan import Plan, plan_object
from structops_cli.syscall import command
from structops_cli.syscall.uapi import BpfCmd, BpfMapType, BtfKind
from tests.synthetic_kernels import kernel
from tests.unit.struct_ops.objects import spec
from tests.unit.syscall.fake_lib import FakeLib, is_open, real_fd

VTYPE_BTF_OBJ_FD, LINK = 1 << 15, 1 << 13
OBJECT = spec(type_name="t_module_ops___mine", members=("undo_cwnd", "ssthresh"))


def kernel_with_module() -> KernelTypes:
    """Return a kernel whose only other type, of the same members as tcp_congestion_ops, is a module's."""
    vmlinux = kernel().vmlinux
    ops_id, value_id = (
        vmlinux.find(name, BtfKind.STRUCT)
        for name in ("tcp_congestion_ops", "bpf_struct_ops_tcp_congestion_ops")
    )
    assert ops_id is not None
    assert value_id is not None
    ops, value = vmlinux.type(ops_id), vmlinux.type(value_id)
    assert isinstance(ops, Struct)
    assert isinstance(value, Struct)
    first = vmlinux.end_id
    common, data = value.members
    types: list[BtfType] = [
        ops._replace(id=first, name="t_module_ops"),
        value._replace(
            id=first + 1,
            name="bpf_struct_ops_t_module_ops",
            members=(common, Member("data", first, data.bit_offset, 0)),
        ),
    ]
    split = Btf(encode(types, base=vmlinux), base=vmlinux, origin="t_module")
    return KernelTypes(vmlinux, lambda: [ModuleBtf("t_module", split, 7)])


def planned() -> tuple[KernelTypes, Plan]:
    types = kernel_with_module()
    return types, plan_object(OBJECT, types)


def test_the_type_is_found_in_the_module() -> None:
    types, plan = planned()
    [one] = plan.maps
    assert (one.type.name, one.type.module) == ("t_module_ops", "t_module")
    assert (one.type.struct.id, one.type.value.id) == (types.vmlinux.end_id, types.vmlinux.end_id + 1)
    assert [(item.member.name, item.member.member_index) for item in one.members if item.program] == [
        ("ssthresh", 0),
        ("undo_cwnd", 2),
    ]


def test_the_kernel_is_told_whose_type_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    types, plan = planned()
    fds: list[int] = []

    def opened(_: object) -> int:
        fds.append(real_fd())
        return fds[-1]

    lib = FakeLib([opened] * 6)
    monkeypatch.setattr(command, "lib", lib)
    monkeypatch.setattr(live, "btf_ids", lambda: [(1, "vmlinux"), (7, "t_module")])
    load(OBJECT, plan, Target(types)).close()
    assert lib.commands == [
        BpfCmd.BTF_LOAD,
        *(BpfCmd.BTF_GET_FD_BY_ID, BpfCmd.MAP_CREATE),
        *(BpfCmd.BTF_GET_FD_BY_ID, BpfCmd.PROG_LOAD, BpfCmd.PROG_LOAD),
    ]
    [kind] = unpack_from("<I", lib.calls[2][1])
    [flags] = unpack_from("<I", lib.calls[2][1], 16)
    [value_id] = unpack_from("<I", lib.calls[2][1], 60)
    [module_fd] = unpack_from("<i", lib.calls[2][1], 72)
    assert (kind, flags) == (BpfMapType.STRUCT_OPS, VTYPE_BTF_OBJ_FD | LINK)
    assert (value_id, module_fd) == (types.vmlinux.end_id + 1, fds[1])
    for call in (4, 5):
        assert unpack_from("<II", lib.calls[call][1], 108) == (types.vmlinux.end_id, fds[3])
    indexes = [unpack_from("<I", lib.calls[call][1], 68)[0] for call in (4, 5)]
    assert indexes == [program.member.member_index for program in plan.programs]
    assert not any(is_open(number) for number in fds)


def test_a_module_that_went_away_meanwhile_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    types, plan = planned()
    monkeypatch.setattr(command, "lib", FakeLib([lambda _: real_fd()]))
    monkeypatch.setattr(live, "btf_ids", lambda: [(1, "vmlinux")])
    with pytest.raises(FitError, match="the BTF of module t_module cannot be opened"):
        load(OBJECT, plan, Target(types))
