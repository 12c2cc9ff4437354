"""Compare ``kinds/`` with the running kernel, for every member of every type.

A program is the shortest possible one. A value has the required members of its type and
one more data member. The test sets the value in a link map and never registers it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from errno import EINVAL

import pytest

from structops_cli.asm.insn import RETURN_ZERO
from structops_cli.btf.types import Enum
from structops_cli.errors import ENOTSUPP, KernelError
from structops_cli.runtime.kernel import live_kernel
from structops_cli.runtime.probes import ProbeAnswer, flag_masks, is_registered, may_call
from structops_cli.runtime.struct_ops_map import create_struct_ops_map, least_btf
from structops_cli.struct_ops.capabilities import capabilities_of
from structops_cli.struct_ops.catalogue import KernelMember, StructOpsType, find_type, offered_types
from structops_cli.struct_ops.kinds import REGISTRY, kind_of
from structops_cli.struct_ops.plan import ProgramPlan
from structops_cli.struct_ops.rules.model import LoadProgram, MapModel, Model, Update, World
from structops_cli.struct_ops.rules.step import step
from structops_cli.struct_ops.rules.verifier import is_allowed
from structops_cli.struct_ops.value import KEY, read_state
from structops_cli.syscall import bpf, bpf_maps
from structops_cli.syscall.fd import Fd
from structops_cli.syscall.uapi import BPF_F_LINK, BPF_F_SLEEPABLE, BpfProgType, BtfKind, StructOpsState
from tests.kernel_features import (
    DUMMY_OPS,
    HID_BPF,
    IO_URING_OPS,
    LINKS,
    QDISC_OPS,
    SCHED_EXT,
    SCHED_EXT_CID,
    needs,
)

UNSUPPORTED = "attach to unsupported member"
"""The verifier's message for check_member begins with this."""
DUMMY = pytest.param("bpf_dummy_ops", marks=needs(DUMMY_OPS, LINKS))
QDISC = pytest.param("Qdisc_ops", marks=needs(QDISC_OPS))
VALUED = [
    pytest.param("tcp_congestion_ops", marks=needs(LINKS)),
    pytest.param("sched_ext_ops", marks=needs(SCHED_EXT)),
    pytest.param("sched_ext_ops_cid", marks=needs(SCHED_EXT_CID)),
    pytest.param("hid_bpf_ops", marks=needs(HID_BPF)),
    pytest.param("io_uring_bpf_ops", marks=needs(IO_URING_OPS)),
]
"""Types that register, and whose required members the shortest program can implement."""


def load(kernel_type: StructOpsType, member: KernelMember, *, sleepable: bool = False) -> Fd:
    return bpf.prog_load(
        BpfProgType.STRUCT_OPS,
        RETURN_ZERO,
        licence="GPL",
        name="t_kind",
        prog_flags=BPF_F_SLEEPABLE if sleepable else 0,
        expected_attach_type=member.member_index,
        attach_btf_id=kernel_type.struct.id,
    )


def refused_as(
    kernel_type: StructOpsType, member: KernelMember, *, sleepable: bool = False
) -> tuple[int, str]:
    """Return errno and log of a refused program; the errno is 0 if it loads."""
    try:
        load(kernel_type, member, sleepable=sleepable).close()
    except KernelError as error:
        return error.errno or 0, getattr(error, "log", "")
    return 0, ""


def functions(kernel_type: StructOpsType) -> Iterator[KernelMember]:
    return (member for member in kernel_type.members if member.proto is not None)


@pytest.mark.parametrize("name", [DUMMY, QDISC, *VALUED])
def test_which_members_take_a_program(name: str) -> None:
    kernel_type = find_type(live_kernel(), name)
    refused = {
        member.name for member in functions(kernel_type) if refused_as(kernel_type, member)[0] == ENOTSUPP
    }
    here = {member.name for member in functions(kernel_type)}
    assert refused == kind_of(name).members.unsupported & here


@pytest.mark.parametrize("name", [DUMMY, *VALUED])
def test_which_members_may_sleep(name: str) -> None:
    kernel_type, world = find_type(live_kernel(), name), World(capabilities_of(live_kernel()))
    for member in functions(kernel_type):
        errno, log = refused_as(kernel_type, member, sleepable=True)
        load = LoadProgram(kernel_type, kernel_type.struct.id, member.member_index, sleepable=True)
        _, said = step(Model(), load, world)
        assert (errno == EINVAL and UNSUPPORTED in log) == (said.rule == "member-sleepable"), (
            member.name,
            log,
        )


def numbers_for(kernel_type: StructOpsType, member: KernelMember) -> list[int]:
    """Return test values for a data member: small, large, and on both sides of known limits."""
    kind, bits = kind_of(kernel_type.name), 8 * min(member.size_bytes, 8)
    limits = [kind.data.at_most.get(member.name, 0), kind.data.at_least.get(member.name, 0)]
    around = [number + step for number in filter(None, limits) for step in (-1, 0, 1)]
    alone = sorted(kind.data.beyond.get(member.name, ()))
    flags = (
        [1 << bit for bit in range(bits)] if member.name in {**kind.data.flags, **kind.data.flag_mask} else []
    )
    every = [1, 8, (1 << bits) - 1, *around, *alone, *(number - 1 for number in alone), *flags]
    return sorted({number for number in every if 0 < number < 1 << bits})


def with_member(kernel_type: StructOpsType, raw: bytes, member: KernelMember, data: bytes) -> bytes:
    start = kernel_type.data_offset + member.offset_bytes
    return raw[:start] + data + raw[start + len(data) :]


def least_value(kernel_type: StructOpsType, stack: ExitStack) -> bytes:
    """Return a value with a name and the required programs, one of each group included."""
    kind, raw = kind_of(kernel_type.name), bytes(kernel_type.value.size_bytes)
    wanted = (
        kind.members.required
        | kind.members.required_to_register
        | {min(group) for group in kind.members.either}
    )
    for member in kernel_type.members:
        if member.name == kind.naming.member:
            raw = with_member(kernel_type, raw, member, b"t_kind")
        elif member.name in wanted:
            fd = stack.enter_context(load(kernel_type, member))
            raw = with_member(kernel_type, raw, member, fd.fileno().to_bytes(8, "little"))
    return raw


def answered(kernel_type: StructOpsType, raw: bytes, btf: Fd) -> tuple[int, int, int]:
    """Set the value of a new link map; return errno, result and the map's state."""
    with create_struct_ops_map(kernel_type, "t_kind", btf, link=True) as fd:
        try:
            errno, result = 0, bpf_maps.map_update_elem(fd, KEY, raw)
        except KernelError as error:
            errno, result = error.errno or 0, 0
        state, _ = read_state(kernel_type, bpf_maps.map_lookup_elem(fd, KEY, kernel_type.value.size_bytes))
    return errno, result, state


@pytest.mark.parametrize("name", VALUED)
def test_which_values_the_subsystem_takes(name: str) -> None:
    kernel_type = find_type(live_kernel(), name)
    world = World(capabilities_of(live_kernel()), fds=None, flag_masks=flag_masks(kernel_type))
    with ExitStack() as stack:
        btf, least = stack.enter_context(least_btf()), least_value(kernel_type, stack)
        assert answered(kernel_type, least, btf) == (0, 0, StructOpsState.READY)
        for member in kernel_type.members:
            if member.proto is not None or not member.size_bytes:
                continue
            for number in numbers_for(kernel_type, member):
                data = number.to_bytes(min(member.size_bytes, 8), "little")
                raw = with_member(kernel_type, least, member, data)
                model = Model({"m": MapModel(kernel_type, BPF_F_LINK)})
                after, said = step(model, Update("m", raw), world)
                expected = said.errno, said.result, after.maps["m"].state
                assert answered(kernel_type, raw, btf) == expected, (member.name, number, said)


def test_every_type_that_this_kernel_offers_is_known() -> None:
    found = [item for item in offered_types(live_kernel()) if not item.module]
    assert found
    assert {item.name for item in found} <= REGISTRY.keys()
    assert {item.name for item in found if is_registered(item) is not ProbeAnswer.YES} == set()
    assert [item.name for item in found if not kind_of(item.name).proven] == []


@pytest.mark.parametrize("name", [DUMMY, QDISC, *VALUED])
def test_which_helpers_a_program_may_call(name: str) -> None:
    """The kernel refuses each helper that ``kinds/`` lists as refused. Both answers occur."""
    kernel = live_kernel()
    kernel_type = find_type(kernel, name)
    type_id = kernel.vmlinux.find("bpf_func_id", BtfKind.ENUM)
    listed = kernel.vmlinux.type(type_id) if type_id else None
    assert isinstance(listed, Enum)
    members = [one for one in functions(kernel_type) if refused_as(kernel_type, one)[0] == 0]
    answers: set[tuple[bool | None, bool | None]] = set()
    wrong = []
    for member in members[:1] + [one for one in members if one.name in kind_of(name).programs.helpers_not_in]:
        for value in listed.values:
            helper = value.name.removeprefix("BPF_FUNC_")
            held = is_allowed(kind_of(name), member.name, helper)
            if helper == "unspec" or helper.startswith("__") or held is None:
                continue
            answer = may_call(ProgramPlan("t_helper", kernel_type, member), value.value)
            answers.add((held, answer))
            if held is False and answer is not False:
                wrong.append((member.name, helper, answer))
    assert not wrong
    expected = {(True, True), (False, False)} if kind_of(name).programs.base_helpers else {(False, False)}
    assert members == [] or expected <= answers
