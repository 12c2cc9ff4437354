"""Write fixups into instructions.

A fixup without a value turns its instruction into a call of a helper that no
kernel has. The verifier first removes dead code. So a program that checks with
``bpf_core_field_exists`` loads; another is refused with ``invalid func
unknown#N``, where N identifies the fixup.
"""

from __future__ import annotations

from collections.abc import Sequence

from structops_cli.asm.insn import (
    CALL,
    INSN_BYTES,
    LD_IMM64,
    Insn,
    InsnClass,
    InsnMode,
    decode_insn,
    imm64_at,
    put_insn,
    set_imm,
    set_imm64,
)
from structops_cli.core.fixup import Fixup
from structops_cli.errors import RelocationError
from structops_cli.syscall.uapi import CoreReloKind

POISON_BASE = 2_100_000_000
"""A poisoned instruction calls the helper POISON_BASE + index of its fixup."""
POISON_COUNT = 40_000_000
"""The numbers from POISON_BASE on that mean a fixup. Immediates end at 2^31."""

_MAX_MEMORY_OFFSET = (1 << 15) - 1
_U31 = (1 << 31) - 1
_U32 = (1 << 32) - 1
_U64 = (1 << 64) - 1

_DAMAGED = "The object's instructions and its .BTF.ext do not belong together; compile it again."
_ENUMVAL_VALUE = CoreReloKind.ENUMVAL_VALUE


def apply_fixups(insns: bytes, fixups: Sequence[Fixup]) -> bytes:
    """Return the instructions with every fixup applied.

    An instruction without room for its value is poisoned. Raises RelocationError
    for an instruction of another form, or with another value than expected.
    """
    patched = bytearray(insns)
    for number, fixup in enumerate(fixups):
        _check_index(patched, fixup)
        insn = decode_insn(patched, fixup.insn_index)
        apply = _APPLY.get(insn.insn_class)
        if fixup.poison:
            _poison(patched, fixup.insn_index, insn, number)
        elif apply is not None:
            apply(patched, insn, fixup, number)
        else:
            raise _refusal(fixup, f"opcode {insn.opcode:#04x} has nothing to relocate")
    return bytes(patched)


def poisoned_relocation(call_imm: int) -> int | None:
    """Return the index of the fixup that poisoned a call, None for other calls."""
    number = call_imm - POISON_BASE
    return number if 0 <= number < POISON_COUNT else None


def why_poisoned(fixup: Fixup) -> str:
    """Return why ``apply_fixups`` poisoned the instruction of this fixup."""
    if known := fixup.poison or fixup.fixed_size:
        return known
    if not 0 <= fixup.target_value <= _MAX_MEMORY_OFFSET:
        return f"{fixup.target_value} does not fit the instruction"
    sizes = f"{fixup.local_size_bytes} bytes in the object and {fixup.target_size_bytes} in the kernel"
    return f"it is {sizes}, and the instruction extends the sign, or accesses a part of it"


def _poison(insns: bytearray, index: int, insn: Insn, number: int) -> None:
    """Poison an instruction: both halves of a 64-bit load, as a lone half is no opcode."""
    call = Insn(CALL, imm=POISON_BASE + number % POISON_COUNT)
    for at in range(index, index + (2 if insn.opcode == LD_IMM64 else 1)):
        put_insn(insns, at, call)


def _apply_immediate(insns: bytearray, insn: Insn, fixup: Fixup, number: int) -> None:
    if insn.uses_register:
        raise _refusal(fixup, "the operand of the arithmetic is a register, not an immediate")
    if fixup.checked and (insn.imm ^ fixup.local_value) & _U32:
        raise _unexpected(fixup, insn.imm)
    top = _U31 if insn.insn_class == InsnClass.ALU64 else _U32
    if -_U31 - 1 <= fixup.target_value <= top:
        set_imm(insns, fixup.insn_index, fixup.target_value)
    else:
        _poison(insns, fixup.insn_index, insn, number)


def _apply_memory(insns: bytearray, insn: Insn, fixup: Fixup, number: int) -> None:
    if fixup.checked and insn.offset != fixup.local_value:
        raise _unexpected(fixup, insn.offset)
    resized = _resized(insn, fixup)
    if resized is None or not 0 <= fixup.target_value <= _MAX_MEMORY_OFFSET:
        _poison(insns, fixup.insn_index, insn, number)
    else:
        put_insn(insns, fixup.insn_index, resized._replace(offset=fixup.target_value))


def _resized(insn: Insn, fixup: Fixup) -> Insn | None:
    """Return the access with the target's size of the field, None if no instruction does it."""
    if fixup.local_size_bytes == fixup.target_size_bytes:
        return insn
    partly = insn.size_bytes != fixup.local_size_bytes
    if fixup.fixed_size or partly or insn.mode == InsnMode.MEMSX:
        return None
    return insn.resized(fixup.target_size_bytes)


def _apply_imm64(insns: bytearray, insn: Insn, fixup: Fixup, _number: int) -> None:
    if insn.opcode != LD_IMM64:
        raise _refusal(fixup, f"opcode {insn.opcode:#04x} has nothing to relocate")
    second = decode_insn(insns, fixup.insn_index + 1)
    if insn.src_reg or insn.offset or second[:-1] != (0, 0, 0, 0):
        raise _refusal(fixup, "the 64-bit load does not load a plain number")
    held = imm64_at(insns, fixup.insn_index)
    value = fixup.target_value
    if fixup.checked and held != fixup.local_value & _U64:
        if fixup.kind != _ENUMVAL_VALUE or held != _sign_extended(fixup.local_value):
            raise _unexpected(fixup, held)
        value = _sign_extended(value)
    set_imm64(insns, fixup.insn_index, value, value >> 32)


def _sign_extended(value: int) -> int:
    """Sign-extend 32 bits, as compilers before LLVM 15 did for enums without a sign in BTF."""
    return value | _U64 ^ _U32 if _U31 < value <= _U32 else value & _U64


def _check_index(insns: bytearray, fixup: Fixup) -> None:
    index = fixup.insn_index
    count = len(insns) // INSN_BYTES
    wide = 0 <= index < count and insns[index * INSN_BYTES] == LD_IMM64
    if not 0 <= index < count - wide:
        raise _refusal(fixup, f"there are {count} instructions")


def _unexpected(fixup: Fixup, held: int) -> RelocationError:
    return _refusal(fixup, f"it holds {held} but the object's types give {fixup.local_value}")


def _refusal(fixup: Fixup, why: str) -> RelocationError:
    relocation = f"{fixup.kind.name}, type {fixup.type_id}, {fixup.access!r}"
    return RelocationError(
        f"instruction {fixup.insn_index} cannot be relocated ({relocation})",
        why=why,
        hint=_DAMAGED,
        insn=fixup.insn_index,
        type_id=fixup.type_id,
    )


_APPLY = {
    int(InsnClass.LD): _apply_imm64,
    int(InsnClass.LDX): _apply_memory,
    int(InsnClass.ST): _apply_memory,
    int(InsnClass.STX): _apply_memory,
    int(InsnClass.ALU): _apply_immediate,
    int(InsnClass.ALU64): _apply_immediate,
}
