"""Instruction arrays for the jump tables of a program (kernel/bpf/bpf_insn_array.c): each serves one program only."""

from __future__ import annotations

import struct
from contextlib import ExitStack
from errno import EINVAL

from structops_cli.errors import KernelError
from structops_cli.obj.jump_tables import HINT, WHY, linked_jump_tables
from structops_cli.obj.spec import JumpTable, LinkedProgram, ObjectSpec
from structops_cli.struct_ops.explain import Cause, explained
from structops_cli.syscall import bpf_maps
from structops_cli.syscall.fd import Fd
from structops_cli.syscall.uapi import BpfMapType

__all__ = ["create_jump_tables"]

NAME = ".jumptables"
KEY = struct.Struct("=I")
VALUE = struct.Struct("=IIII")
"""``struct bpf_insn_array_value``: the instruction as it is loaded; where it is later, which the kernel fills in."""


def create_jump_tables(spec: ObjectSpec, linked: LinkedProgram, stack: ExitStack) -> dict[int, Fd]:
    """Create the tables of a program, frozen as the verifier wants them, by the instruction that refers to each.

    The fds go with ``stack``: a loaded program holds its maps.
    """
    made: dict[JumpTable, Fd] = {}
    found = {}
    for index, table in linked_jump_tables(spec, linked).items():
        if table not in made:
            made[table] = _created(linked.name, table, stack)
        found[index] = made[table]
    return found


def _created(program: str, table: JumpTable, stack: ExitStack) -> Fd:
    try:
        fd = stack.enter_context(
            bpf_maps.map_create(
                BpfMapType.INSN_ARRAY,
                key_size=KEY.size,
                value_size=VALUE.size,
                max_entries=len(table.targets),
                name=NAME,
            )
        )
        for number, target in enumerate(table.targets):
            bpf_maps.map_update_elem(fd, KEY.pack(number), VALUE.pack(target, 0, 0, 0))
        bpf_maps.map_freeze(fd)
    except KernelError as error:
        error.add(program=program, symbol=table.name)
        lacking = error.operation == "MAP_CREATE" and error.errno == EINVAL
        what = f"the jump tables of {program} could not be created"
        raise explained(error, what, "", Cause(WHY, HINT) if lacking else None) from None
    return fd
