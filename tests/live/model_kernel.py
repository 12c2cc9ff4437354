"""Execute the operations of the model as system calls, on maps of this process.

A handle is a name. A handle that is not open stands for a number that no descriptor has.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress

from structops_cli.asm.insn import RETURN_ZERO
from structops_cli.btf.kernel_types import KernelTypes
from structops_cli.errors import KernelError
from structops_cli.runtime.struct_ops_map import least_btf
from structops_cli.struct_ops.catalogue import StructOpsType, offered_types
from structops_cli.struct_ops.rules.model import (
    BtfFacts,
    CloseLink,
    CreateLink,
    CreateMap,
    Delete,
    DetachLink,
    FdFacts,
    Freeze,
    GetNextKey,
    LoadProgram,
    Lookup,
    Operation,
    ProgramFacts,
    RunProgram,
    Update,
    UpdateLink,
)
from structops_cli.struct_ops.value import KEY
from structops_cli.syscall import bpf, bpf_maps
from structops_cli.syscall.fd import Fd
from structops_cli.syscall.info import btf_info, map_info, prog_info
from structops_cli.syscall.uapi import BPF_F_SLEEPABLE, BpfMapType, BpfProgType

TYPES = ("tcp_congestion_ops", "bpf_dummy_ops")
"""The test may register maps of the first type only. Kernels before 5.17 lack the second."""
CLOSED = 1 << 20
"""A number above every descriptor that this process may have."""
WORD = struct.Struct("<I")


class Number(Fd):
    """A descriptor number that this object does not close."""

    __slots__ = ()

    def __del__(self) -> None:
        pass


class Pool:
    """Loaded programs by (type, member), and descriptors that are wrong in a value."""

    def __init__(self, kernel: KernelTypes, stack: ExitStack) -> None:
        self.types = {item.name: item for item in offered_types(kernel) if item.name in TYPES}
        self.fds: dict[int, FdFacts] = {}
        self.programs: dict[tuple[str, int], int] = {}
        self.btf = stack.enter_context(least_btf())
        self.array = stack.enter_context(
            bpf_maps.map_create(BpfMapType.ARRAY, key_size=4, value_size=4, max_entries=1, name="t_array")
        )
        self.vmlinux_btf = stack.enter_context(bpf.btf_get_fd_by_id(min(bpf.btf_ids())))
        if os.path.exists("/proc/self/fd/0"):
            self.fds[0] = None
        self.fds |= {
            self.btf.fileno(): BtfFacts(is_kernel=False),
            self.array.fileno(): None,
            self.vmlinux_btf.fileno(): BtfFacts(is_kernel=btf_info(self.vmlinux_btf).is_kernel),
        }
        for kernel_type in self.types.values():
            for member in kernel_type.members:
                if member.proto is not None:
                    with suppress(KernelError):  # the subsystem may not support the member
                        self._load(stack, kernel_type, member.member_index)
        fd = stack.enter_context(bpf.prog_load(BpfProgType.SOCKET_FILTER, RETURN_ZERO, licence="GPL"))
        self.filter = fd.fileno()
        self.fds[self.filter] = ProgramFacts(prog_info(fd).id, BpfProgType.SOCKET_FILTER, 0, 0)

    def _load(self, stack: ExitStack, kernel_type: StructOpsType, index: int) -> None:
        fd = stack.enter_context(load(kernel_type, kernel_type.struct.id, index))
        number = fd.fileno()
        self.programs[kernel_type.name, index] = number
        self.fds[number] = ProgramFacts(
            prog_info(fd).id, BpfProgType.STRUCT_OPS, kernel_type.struct.id, index
        )


def load(
    kernel_type: StructOpsType,
    attach_btf_id: int,
    index: int,
    *,
    licence: str = "GPL",
    sleepable: bool = False,
) -> Fd:
    """Load a program for a member; it returns 0."""
    return bpf.prog_load(
        BpfProgType.STRUCT_OPS,
        RETURN_ZERO,
        licence=licence,
        name="t_model",
        prog_flags=BPF_F_SLEEPABLE if sleepable else 0,
        expected_attach_type=index,
        attach_btf_id=attach_btf_id,
    )


class ModelKernel:
    """Executes operations, and keeps maps and links by handle."""

    def __init__(self, pool: Pool) -> None:
        self.pool = pool
        self.maps: dict[str, Fd] = {}
        self.links: dict[str, Fd] = {}

    def apply(self, operation: Operation) -> tuple[int, int, bytes]:
        """Execute an operation; return errno, result and value as the model's ``Answer`` does."""
        try:
            result, value = self._call(operation)
        except KernelError as error:
            return error.errno or 0, 0, b""
        return 0, result, value

    def _call(self, operation: Operation) -> tuple[int, bytes]:
        match operation:
            case CreateMap():
                self.maps[operation.map] = self._create(operation)
            case GetNextKey():
                key = None if operation.key is None else WORD.pack(operation.key)
                return WORD.unpack(bpf_maps.map_get_next_key(self._map(operation.map), key, 4))[0], b""
            case Lookup():
                return 0, bpf_maps.map_lookup_elem(
                    self._map(operation.map), WORD.pack(operation.key), self._size(operation.map)
                )
            case Update():
                key = WORD.pack(operation.key)
                return bpf_maps.map_update_elem(
                    self._map(operation.map), key, operation.value, operation.flags
                ), b""
            case Delete():
                bpf_maps.map_delete_elem(self._map(operation.map), WORD.pack(operation.key))
            case Freeze():
                bpf_maps.map_freeze(self._map(operation.map))
            case _:
                self._link_or_program(operation)
        return 0, b""

    def _link_or_program(self, operation: Operation) -> None:
        match operation:
            case CreateLink():
                self.links[operation.link] = bpf.link_create(self._map(operation.map), flags=operation.flags)
            case UpdateLink():
                old = None if operation.old is None else self._map(operation.old)
                bpf.link_update(
                    self._link(operation.link),
                    self._map(operation.map),
                    old_map_fd=old,
                    flags=operation.flags,
                )
            case DetachLink():
                bpf.link_detach(self._link(operation.link))
            case CloseLink():
                self.links.pop(operation.link).close()
            case LoadProgram():
                licence = operation.licence
                load(
                    operation.type,
                    operation.attach_btf_id,
                    operation.member_index,
                    licence=licence,
                    sleepable=operation.sleepable,
                ).close()
            case RunProgram():
                number = self.pool.programs[operation.type.name, operation.member_index]
                arguments: list[int | bytearray] = [bytearray(8)]
                arguments += [0] * (operation.argument_count - 1)
                bpf.prog_test_run(Number(number), arguments)

    def _create(self, operation: CreateMap) -> Fd:
        return bpf_maps.map_create(
            BpfMapType.STRUCT_OPS,
            name="t_model",
            key_size=operation.key_size,
            value_size=operation.value_size,
            max_entries=operation.max_entries,
            map_flags=operation.map_flags,
            btf_fd=operation.btf_fd,
            btf_key_type_id=operation.btf_key_type_id,
            btf_value_type_id=operation.btf_value_type_id,
            btf_vmlinux_value_type_id=operation.btf_vmlinux_value_type_id,
            map_extra=operation.map_extra,
            value_type_btf_obj_fd=operation.value_type_btf_obj_fd,
        )

    def _map(self, handle: str) -> Fd:
        return self.maps.get(handle) or Number(CLOSED)

    def _size(self, handle: str) -> int:
        return map_info(self.maps[handle]).value_size if handle in self.maps else 8

    def _link(self, handle: str) -> Fd:
        return self.links.get(handle) or Number(CLOSED)

    def close(self) -> None:
        """Unregister and close everything."""
        for link in self.links.values():
            link.close()
        for item in self.maps.values():
            with suppress(KernelError):
                bpf_maps.map_delete_elem(item, KEY)
            item.close()
        self.links, self.maps = {}, {}


@contextmanager
def model_pool(kernel: KernelTypes) -> Iterator[Pool]:
    """Yield a loaded pool, and close it after the block."""
    with ExitStack() as stack:
        yield Pool(kernel, stack)


__all__ = ["CLOSED", "ModelKernel", "Number", "Pool", "load", "model_pool"]
