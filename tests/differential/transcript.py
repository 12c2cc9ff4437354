"""Describe a loaded object as lines of text that do not depend on the loader.

Names replace ids, in the order of their appearance, and a placeholder replaces each
address. Everything else is printed as the kernel returns it. So two loads of one
object differ in a line exactly if they differ in the state behind it.
"""

from __future__ import annotations

import os
import re
import struct
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache

from structops_cli.asm.insn import (
    CALL,
    LD_IMM64,
    Insn,
    PseudoCall,
    PseudoSrc,
    decode_insn,
    instructions,
)
from structops_cli.btf.btf import Btf
from structops_cli.btf.kernel_types import KernelTypes
from structops_cli.errors import KernelError
from structops_cli.struct_ops.catalogue import type_of_value
from structops_cli.struct_ops.value import KEY, read_state, state_name
from structops_cli.syscall import bpf, bpf_maps
from structops_cli.syscall.fd import Fd
from structops_cli.syscall.info import MapInfo, ProgInfo, btf_bytes, map_info, prog_info
from structops_cli.syscall.uapi import BpfMapType
from tests.program_records import prog_functions, prog_lines, prog_xlated

__all__ = ["transcript"]

POINTER = struct.Struct("<Q")
WORD = struct.Struct("<I")
KERNEL_HALF = 1 << 63
"""Kernel addresses have the top bit set on x86-64; no constant of the test objects has."""
MOST_ENTRIES = 4096
PER_CPU = frozenset({BpfMapType.PERCPU_ARRAY, BpfMapType.PERCPU_HASH, BpfMapType.LRU_PERCPU_HASH})
OF_MAPS = frozenset({BpfMapType.ARRAY_OF_MAPS, BpfMapType.HASH_OF_MAPS})
"""Their lookup returns the id of a map."""


def transcript(kernel: KernelTypes, programs: Iterable[int], maps: Iterable[int]) -> list[str]:
    """Describe programs and maps, and every map and program that they refer to."""
    return _Writer(kernel).write(list(programs), list(maps))


class _Names:
    """Names for ids of one type: the kernel's names, numbered if several ids share one."""

    def __init__(self, name: Callable[[int], str]) -> None:
        self._name = name
        self._told: dict[int, str] = {}

    def __call__(self, number: int) -> str:
        if number not in self._told:
            name = self._name(number)
            same = sum(1 for told in self._told.values() if told.partition("#")[0] == name)
            self._told[number] = f"{name}#{same + 1}" if same else name
        return self._told[number]

    def ids(self) -> list[int]:
        """Return the requested ids in their first order."""
        return list(self._told)


class _Writer:
    def __init__(self, kernel: KernelTypes) -> None:
        self._kernel = kernel
        self._maps = _Names(_map_name)
        self._programs = _Names(_program_name)

    def write(self, programs: list[int], maps: list[int]) -> list[str]:
        for number in sorted(maps, key=_map_name):
            self._maps(number)
        for number in sorted(programs, key=_program_name):
            self._programs(number)
        blocks: dict[str, list[str]] = {}
        done: set[tuple[str, int]] = set()
        while left := [item for item in self._asked() if item not in done]:
            for sort, number in left:
                done.add((sort, number))
                label, lines = self._map(number) if sort == "map" else self._program(number)
                blocks[f"{sort} {label}"] = lines
        return [line for title in sorted(blocks) for line in (title, *blocks[title])]

    def _asked(self) -> list[tuple[str, int]]:
        return [("map", number) for number in self._maps.ids()] + [
            ("program", number) for number in self._programs.ids()
        ]

    # Programs

    def _program(self, number: int) -> tuple[str, list[str]]:
        with bpf.prog_get_fd_by_id(number) as fd:
            info = prog_info(fd)
            btf = _btf(info.btf_id)
            lines = [
                f"  type {info.prog_type}, tag {info.tag}, GPL {info.gpl_compatible}, for {self._attached(info)}",
                f"  maps {', '.join(sorted(_map_name(map_id) for map_id in info.map_ids)) or 'none'}",
                *self._instructions(prog_xlated(fd)),
            ]
            if btf is not None:
                lines += [f"  function {index} {btf.name(func)}" for index, func in prog_functions(fd)]
                lines += [_line(btf, record) for record in prog_lines(fd)]
        return self._programs(number), lines

    def _attached(self, info: ProgInfo) -> str:
        if not info.attach_btf_id:
            return "nothing"
        btf = _btf(info.attach_btf_obj_id, self._kernel.vmlinux)
        return btf.name(info.attach_btf_id) if btf else "nothing"

    def _instructions(self, insns: bytes) -> Iterator[str]:
        for index, insn in instructions(insns):
            if insn.opcode == LD_IMM64:
                second = decode_insn(insns, index + 1)
                yield f"  {index:4} r{insn.dst_reg} = {self._wide(insn, second)}"
            else:
                yield f"  {index:4} {_plain(insn)}"

    def _wide(self, insn: Insn, second: Insn) -> str:
        """Describe a 64-bit load: a map, an offset in a map, a function, an address or a number."""
        value = insn.imm & 0xFFFFFFFF | (second.imm & 0xFFFFFFFF) << 32
        if insn.src_reg == PseudoSrc.MAP_FD:
            return f"map {self._maps(insn.imm)}"
        if insn.src_reg == PseudoSrc.MAP_VALUE:
            return f"map {self._maps(insn.imm)} at byte {second.imm}"
        if insn.src_reg == PseudoSrc.FUNC:
            return f"function {insn.imm:+}"
        if _is_address(value):
            return f"an address of the kernel (source {insn.src_reg})"
        return f"{value:#x} (source {insn.src_reg})"

    # Maps

    def _map(self, number: int) -> tuple[str, list[str]]:
        with bpf.map_get_fd_by_id(number) as fd:
            info = map_info(fd)
            sizes = f"key {info.key_size}, value {info.value_size}, entries {info.max_entries}"
            flags = f"flags {info.map_flags:#x}, extra {info.map_extra:#x}{_frozen(fd)}"
            lines = [f"  type {info.map_type}, {sizes}, {flags}"]
            if info.map_type == BpfMapType.STRUCT_OPS:
                lines += self._struct_ops(fd, info)
            else:
                btf = _btf(info.btf_id)
                lines += [
                    f"  key type {_type(btf, info.btf_key_type_id)}, value type {_type(btf, info.btf_value_type_id)}"
                ]
                lines += sorted(self._entries(fd, info))
        return self._maps(number), lines

    def _struct_ops(self, fd: Fd, info: MapInfo) -> Iterator[str]:
        btf = _btf(info.btf_vmlinux_id, self._kernel.vmlinux)
        assert btf is not None
        kind = type_of_value(btf, info.btf_vmlinux_value_type_id)
        raw = bpf_maps.map_lookup_elem(fd, KEY, info.value_size)
        yield f"  struct {kind.name}, state {state_name(read_state(kind, raw)[0])}"
        for member in kind.members:
            at = kind.data_offset + member.offset_bytes
            data = raw[at : at + member.size_bytes]
            if member.proto is not None and any(data):
                yield f"  .{member.name} = program {self._programs(POINTER.unpack(data)[0])}"
            elif any(data):
                yield f"  .{member.name} = {data.hex()}"

    def _entries(self, fd: Fd, info: MapInfo) -> Iterator[str]:
        """Print the elements that lookup returns, without zeros."""
        key: bytes | None = None
        size = (
            -(-info.value_size // 8) * 8 * _possible_cpus() if info.map_type in PER_CPU else info.value_size
        )
        for _ in range(MOST_ENTRIES):
            try:
                key = bpf_maps.map_get_next_key(fd, key, info.key_size)
            except KernelError:
                return  # the last one, or a type without accessible elements
            try:
                value = bpf_maps.map_lookup_elem(fd, key, size)
            except KernelError:
                continue  # an element without a value
            if info.map_type in OF_MAPS:
                yield f"  [{key.hex()}] = map {self._maps(WORD.unpack(value)[0])}"
            elif info.map_type == BpfMapType.PROG_ARRAY:
                yield f"  [{key.hex()}] = program {self._programs(WORD.unpack(value)[0])}"
            elif any(value):
                yield f"  [{key.hex()}] = {_value(value)}"


def _value(raw: bytes) -> str:
    """Print a value without addresses: an empty list or tree points to itself."""
    words = (raw[at : at + POINTER.size] for at in range(0, len(raw), POINTER.size))
    return "".join(
        "(an address of the kernel)"
        if len(word) == POINTER.size and _is_address(POINTER.unpack(word)[0])
        else word.hex()
        for word in words
    )


def _is_address(value: int) -> bool:
    return KERNEL_HALF <= value < (1 << 64) - (1 << 31)


def _plain(insn: Insn) -> str:
    """Print an instruction without addresses.

    A call of a subprogram has its distance in the offset, and an address as immediate.
    """
    address = insn.opcode == CALL and insn.src_reg == PseudoCall.CALL
    immediate = "function" if address else f"{insn.imm:#x}"
    return f"{insn.opcode:02x} r{insn.dst_reg} r{insn.src_reg} {insn.offset:+} {immediate}"


def _line(btf: Btf, record: tuple[int, ...]) -> str:
    index, file, text, place = record
    return f"  line {index} {btf.string(file)}:{place >> 10}:{place & 1023} {btf.string(text)}"


def _type(btf: Btf | None, type_id: int) -> str:
    kind = btf.kind(type_id) if btf and type_id else None
    return f"{kind.name} {btf.name(type_id)}".rstrip() if btf and kind else "none"


def _frozen(fd: Fd) -> str:
    with open(f"/proc/self/fdinfo/{fd.fileno()}", encoding="ascii") as file:
        return ", frozen" if re.search(r"^frozen:\t1$", file.read(), re.MULTILINE) else ""


def _map_name(number: int) -> str:
    with bpf.map_get_fd_by_id(number) as fd:
        return map_info(fd).name


def _program_name(number: int) -> str:
    with bpf.prog_get_fd_by_id(number) as fd:
        return prog_info(fd).name


@lru_cache(maxsize=8)
def _loaded_btf(number: int) -> Btf:
    with bpf.btf_get_fd_by_id(number) as fd:
        return Btf(btf_bytes(fd), origin=f"BTF {number}")


def _btf(number: int, vmlinux: Btf | None = None) -> Btf | None:
    """Return a BTF object by id: None for 0, ``vmlinux`` for 1, the kernel's own."""
    if number == 1 and vmlinux is not None:
        return vmlinux
    return _loaded_btf(number) if number else None


def _possible_cpus() -> int:
    return os.sysconf("SC_NPROCESSORS_CONF")
