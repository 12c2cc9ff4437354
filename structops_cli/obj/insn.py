"""One BPF instruction: decode, encode, and the few in-place patches that linking and loading need.

Instructions are the little-endian bytes of ``struct bpf_insn``
(``include/uapi/linux/bpf.h``), 8 bytes each; the 64-bit immediate load takes
two of them. Functions with a ``bytearray`` change it, all others only look.
The caller has checked that an index is within the instructions.
"""

from __future__ import annotations

from collections.abc import Iterator
from struct import Struct
from typing import NamedTuple

__all__ = [
    "CALL",
    "INSN_BYTES",
    "LD_IMM64",
    "Insn",
    "decode",
    "encode",
    "find",
    "imm",
    "instructions",
    "opcode",
    "set_imm",
    "set_imm64",
    "set_src_reg",
    "src_reg",
]

INSN_BYTES = 8
LD_IMM64 = 0x18
"""Opcode of the 64-bit immediate load: BPF_LD | BPF_DW | BPF_IMM."""
CALL = 0x85
"""Opcode of a call: BPF_JMP | BPF_CALL."""

_INSN = Struct("<BBhi")
_IMM = Struct("<i")
_UNSIGNED_IMM = Struct("<I")


class Insn(NamedTuple):
    """The fields of one instruction; ``offset`` and ``imm`` are signed."""

    opcode: int
    dst_reg: int
    src_reg: int
    offset: int
    imm: int


def decode(insns: bytes | bytearray, index: int) -> Insn:
    """Decode the instruction at ``index``."""
    code, registers, offset, immediate = _INSN.unpack_from(insns, index * INSN_BYTES)
    return Insn(code, registers & 15, registers >> 4, offset, immediate)


def encode(insn: Insn) -> bytes:
    """Encode one instruction to its 8 bytes."""
    return _INSN.pack(insn.opcode, insn.dst_reg | insn.src_reg << 4, insn.offset, insn.imm)


def instructions(insns: bytes | bytearray) -> Iterator[tuple[int, Insn]]:
    """Yield every instruction with its index; the second half of a 64-bit load is not one."""
    index, count = 0, len(insns) // INSN_BYTES
    while index < count:
        insn = decode(insns, index)
        yield index, insn
        index += 2 if insn.opcode == LD_IMM64 else 1


def find(insns: bytes | bytearray, code: int) -> Iterator[int]:
    """Yield the index of every instruction with this opcode, in order."""
    codes = bytes(insns[::INSN_BYTES])
    index = codes.find(code)
    while index >= 0:
        yield index
        index = codes.find(code, index + 1)


def opcode(insns: bytes | bytearray, index: int) -> int:
    """Return the opcode of an instruction."""
    return insns[index * INSN_BYTES]


def src_reg(insns: bytes | bytearray, index: int) -> int:
    """Return the source register of an instruction."""
    return insns[index * INSN_BYTES + 1] >> 4


def imm(insns: bytes | bytearray, index: int) -> int:
    """Return the signed 32-bit immediate of an instruction."""
    immediate: int = _IMM.unpack_from(insns, index * INSN_BYTES + 4)[0]
    return immediate


def set_src_reg(insns: bytearray, index: int, register: int) -> None:
    """Set the source register: a number of ``PseudoSrc`` for a load, of ``PseudoCall`` for a call."""
    at = index * INSN_BYTES + 1
    insns[at] = insns[at] & 15 | register << 4


def set_imm(insns: bytearray, index: int, value: int) -> None:
    """Set the 32-bit immediate, signed or unsigned."""
    _UNSIGNED_IMM.pack_into(insns, index * INSN_BYTES + 4, value & 0xFFFFFFFF)


def set_imm64(insns: bytearray, index: int, low: int, high: int) -> None:
    """Set both immediates of the 64-bit load at ``index``; the load's second half is the next instruction."""
    set_imm(insns, index, low)
    set_imm(insns, index + 1, high)
