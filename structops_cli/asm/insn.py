"""Decode, encode and patch BPF instructions.

An instruction has 8 little-endian bytes (``struct bpf_insn``,
``include/uapi/linux/bpf.h``). The 64-bit load takes two of them. The opcode
holds a class in its low three bits. A load or store adds a size and a mode,
arithmetic and jumps add an operand and an operation. Names and numbers are
those of ``bpf.h`` and ``bpf_common.h``.

Functions that take a ``bytearray`` change it. No function checks an index.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import IntEnum
from struct import Struct
from typing import NamedTuple

INSN_BYTES = 8
FRAME_POINTER = 10
"""The register that points at the end of the stack frame, the last that exists."""

_INSN = Struct("<BBhi")
_IMM = Struct("<i")
_UNSIGNED_IMM = Struct("<I")
_U32 = (1 << 32) - 1
_CLASS, _SIZE, _MODE, _OPERATION, _USES_REGISTER = 0x07, 0x18, 0xE0, 0xF0, 0x08
"""The bits of an opcode (BPF_CLASS, BPF_SIZE, BPF_MODE, BPF_OP and BPF_SRC)."""


class InsnClass(IntEnum):
    """``BPF_CLASS``: the sort of instruction."""

    LD = 0
    LDX = 1
    ST = 2
    STX = 3
    ALU = 4
    JMP = 5
    JMP32 = 6
    ALU64 = 7


class InsnSize(IntEnum):
    """``BPF_SIZE``: the bytes that a load or store moves."""

    W = 0x00
    H = 0x08
    B = 0x10
    DW = 0x18


class InsnMode(IntEnum):
    """``BPF_MODE``: how a load or store finds its operand."""

    IMM = 0x00
    MEM = 0x60
    MEMSX = 0x80
    ATOMIC = 0xC0


class AluOp(IntEnum):
    """``BPF_OP`` of arithmetic."""

    ADD = 0x00
    SUB = 0x10
    MUL = 0x20
    DIV = 0x30
    OR = 0x40
    AND = 0x50
    LSH = 0x60
    RSH = 0x70
    NEG = 0x80
    MOD = 0x90
    XOR = 0xA0
    MOV = 0xB0
    ARSH = 0xC0
    END = 0xD0


class JumpOp(IntEnum):
    """``BPF_OP`` of jumps, calls included."""

    JA = 0x00
    JEQ = 0x10
    JGT = 0x20
    JGE = 0x30
    JSET = 0x40
    JNE = 0x50
    JSGT = 0x60
    JSGE = 0x70
    CALL = 0x80
    EXIT = 0x90
    JLT = 0xA0
    JLE = 0xB0
    JSLT = 0xC0
    JSLE = 0xD0
    JCOND = 0xE0
    """``may_goto``."""


class PseudoSrc(IntEnum):
    """``src_reg`` of a 64-bit load: the meaning of the immediate. 0 is a plain number."""

    MAP_FD = 1
    MAP_VALUE = 2
    BTF_ID = 3
    FUNC = 4


class PseudoCall(IntEnum):
    """``src_reg`` of a call: the sort of function that it calls."""

    HELPER = 0
    CALL = 1
    KFUNC_CALL = 2


LD_IMM64 = InsnClass.LD | InsnSize.DW | InsnMode.IMM
"""Opcode of the 64-bit load."""
ATOMIC_FETCH = 0x01
"""``BPF_FETCH`` in the immediate of an atomic store: the old value goes into a register."""
ATOMIC_CMPXCHG = 0xF0 | ATOMIC_FETCH
"""``BPF_CMPXCHG``: the old value goes into register 0."""
CALL = InsnClass.JMP | JumpOp.CALL
EXIT = InsnClass.JMP | JumpOp.EXIT
_SIZE_BYTES = {InsnSize.W: 4, InsnSize.H: 2, InsnSize.B: 1, InsnSize.DW: 8}
_SIZES = {size_bytes: size for size, size_bytes in _SIZE_BYTES.items()}


class Insn(NamedTuple):
    """The fields of one instruction. ``offset`` and ``imm`` are signed."""

    opcode: int
    dst_reg: int = 0
    src_reg: int = 0
    offset: int = 0
    imm: int = 0

    @property
    def insn_class(self) -> int:
        """The ``InsnClass``."""
        return self.opcode & _CLASS

    @property
    def mode(self) -> int:
        """The ``InsnMode`` of a load or store."""
        return self.opcode & _MODE

    @property
    def size_bytes(self) -> int:
        """The bytes that a load or store moves."""
        return _SIZE_BYTES[self.opcode & _SIZE]  # type: ignore[index]  # an IntEnum equals its number

    @property
    def operation(self) -> int:
        """The ``AluOp`` of arithmetic, the ``JumpOp`` of a jump."""
        return self.opcode & _OPERATION

    @property
    def uses_register(self) -> bool:
        """Whether the operand of arithmetic or of a jump is ``src_reg``, not ``imm``."""
        return bool(self.opcode & _USES_REGISTER)

    def resized(self, size_bytes: int) -> Insn:
        """Return a load or store of another size: 1, 2, 4 or 8 bytes."""
        return self._replace(opcode=self.opcode & ~_SIZE | _SIZES[size_bytes])


def decode_insn(insns: bytes | bytearray, index: int) -> Insn:
    """Decode the instruction at ``index``."""
    opcode, registers, offset, imm = _INSN.unpack_from(insns, index * INSN_BYTES)
    return Insn(opcode, registers & 15, registers >> 4, offset, imm)


def encode_insn(insn: Insn) -> bytes:
    """Encode one instruction to its 8 bytes."""
    return _INSN.pack(insn.opcode, insn.dst_reg | insn.src_reg << 4, insn.offset, insn.imm)


RETURN_ZERO = encode_insn(Insn(InsnClass.ALU64 | AluOp.MOV)) + encode_insn(Insn(EXIT))
"""The smallest program: it returns 0."""


def instructions(insns: bytes | bytearray) -> Iterator[tuple[int, Insn]]:
    """Yield every instruction with its index. Skip the second half of a 64-bit load."""
    index, count = 0, len(insns) // INSN_BYTES
    while index < count:
        insn = decode_insn(insns, index)
        yield index, insn
        index += 2 if insn.opcode == LD_IMM64 else 1


def find_opcode(insns: bytes | bytearray, opcode: int) -> Iterator[int]:
    """Yield the index of every instruction with this opcode, in order."""
    opcodes = bytes(insns[::INSN_BYTES])
    index = opcodes.find(opcode)
    while index >= 0:
        yield index
        index = opcodes.find(opcode, index + 1)


def opcode_at(insns: bytes | bytearray, index: int) -> int:
    """Return the opcode of an instruction."""
    return insns[index * INSN_BYTES]


def src_reg_at(insns: bytes | bytearray, index: int) -> int:
    """Return the source register of an instruction."""
    return insns[index * INSN_BYTES + 1] >> 4


def imm_at(insns: bytes | bytearray, index: int) -> int:
    """Return the signed 32-bit immediate of an instruction."""
    imm: int = _IMM.unpack_from(insns, index * INSN_BYTES + 4)[0]
    return imm


def imm64_at(insns: bytes | bytearray, index: int) -> int:
    """Return the unsigned immediate of the 64-bit load at ``index``."""
    return imm_at(insns, index) & _U32 | (imm_at(insns, index + 1) & _U32) << 32


def put_insn(insns: bytearray, index: int, insn: Insn) -> None:
    """Replace the instruction at ``index``."""
    insns[index * INSN_BYTES : (index + 1) * INSN_BYTES] = encode_insn(insn)


def set_src_reg(insns: bytearray, index: int, register: int) -> None:
    """Set the source register: a ``PseudoSrc`` of a load, a ``PseudoCall`` of a call."""
    at = index * INSN_BYTES + 1
    insns[at] = insns[at] & 15 | register << 4


def set_imm(insns: bytearray, index: int, value: int) -> None:
    """Set the 32-bit immediate, signed or unsigned."""
    _UNSIGNED_IMM.pack_into(insns, index * INSN_BYTES + 4, value & _U32)


def set_imm64(insns: bytearray, index: int, low: int, high: int) -> None:
    """Set both 32-bit immediates of the 64-bit load at ``index``."""
    set_imm(insns, index, low)
    set_imm(insns, index + 1, high)
