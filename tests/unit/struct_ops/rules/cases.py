"""Cases for the rules: types, fds, values, and the answer of the model to one operation."""

from __future__ import annotations

import struct
from typing import Any

from structops_cli.struct_ops.capabilities import Capabilities
from structops_cli.struct_ops.catalogue import StructOpsType, find_type
from structops_cli.struct_ops.rules.model import (
    BtfFacts,
    CreateMap,
    MapModel,
    Model,
    ProgramFacts,
    World,
)
from structops_cli.struct_ops.rules.step import step
from structops_cli.syscall.uapi import (
    BPF_F_LINK,
    BpfProgType,
)
from tests.synthetic_kernels import kernel

FUNCTIONS = ("ssthresh", "cong_avoid", "set_state", "undo_cwnd", "cong_control")
TCP = find_type(kernel(members=FUNCTIONS), "tcp_congestion_ops")
OLD = find_type(kernel(new=False, links=False, members=FUNCTIONS), "tcp_congestion_ops")
BEFORE_6_0 = Capabilities(
    common_value=False,
    links=False,
    link_detach=False,
    module_types=False,
    trampoline_pages=1,
    every_member_required=True,
    name_taken_at_update=True,
)
BTF_FD, KERNEL_BTF_FD, MODULE_BTF_FD = 3, 4, 5


def fds(kernel_type: StructOpsType) -> dict[int, ProgramFacts | BtfFacts | None]:
    """Return programs at fd 10 and up, each for the member of its number, and a few others."""
    programs = {
        10 + index: ProgramFacts(100 + index, BpfProgType.STRUCT_OPS, kernel_type.struct.id, index)
        for index in range(len(FUNCTIONS))
    }
    others = {BTF_FD: BtfFacts(False), KERNEL_BTF_FD: BtfFacts(True), MODULE_BTF_FD: BtfFacts(True, True)}
    return {**programs, **others, 6: None}


def value(
    kernel_type: StructOpsType = TCP,
    *,
    programs: tuple[int, ...] = (10, 11, 0, 13, 0),
    name: bytes = b"t_one",
) -> bytes:
    raw = bytearray(kernel_type.value.size_bytes)
    struct.pack_into("<5Q16s", raw, kernel_type.data_offset, *programs, name)
    return bytes(raw)


def answer(
    operation: object,
    *,
    capabilities: Capabilities = Capabilities(),  # noqa: B008 -- immutable
    kernel_type: StructOpsType = TCP,
    model: Model | None = None,
    **world: Any,
) -> tuple[int, str, str]:
    """Return errno, rule and member of the answer to one operation."""
    start = model or Model({"m": MapModel(kernel_type), "l": MapModel(kernel_type, BPF_F_LINK)})
    there = World(capabilities, fds(kernel_type))._replace(**world)
    _, said = step(start, operation, there)  # type: ignore[arg-type]  # the operations' union
    return said.errno, said.rule, said.member


def create(**changes: int) -> CreateMap:
    plain = CreateMap("n", TCP, 4, TCP.value.size_bytes, 1, 0, TCP.value.id, BTF_FD)
    return plain._replace(**changes)  # type: ignore[arg-type]  # numbers only
