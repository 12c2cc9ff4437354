"""Fixups written into instructions, one form of instruction at a time."""

from __future__ import annotations

import pytest

from structops_cli.asm.insn import CALL, LD_IMM64, Insn, decode_insn, encode_insn
from structops_cli.core.apply import (
    POISON_BASE,
    POISON_COUNT,
    apply_fixups,
    poisoned_relocation,
    why_poisoned,
)
from structops_cli.core.fixup import Fixup
from structops_cli.errors import RelocationError
from structops_cli.syscall.uapi import CoreReloKind as Kind

MOV64, ADD64, MOV32, MOV64_REGISTER = 0xB7, 0x07, 0xB4, 0xBF
LDX_B, LDX_H, LDX_W, LDX_DW = 0x71, 0x69, 0x61, 0x79
LDX_SIGNED_W, ST_W, ST_DW, STX_W, STX_DW, ATOMIC_W, ATOMIC_DW = 0x81, 0x62, 0x7A, 0x63, 0x7B, 0xC3, 0xDB
EXIT = 0x95
NOTHING = Insn(MOV64, 0, 0, 0, 0)
POISON = Insn(CALL, 0, 0, 0, POISON_BASE)


def fixup(local: int, target: int, *sizes: int, index: int = 0, **changes: object) -> Fixup:
    """Return a fixup of a byte offset; ``sizes`` are the field's in the object and on the target."""
    local_size, target_size = sizes or (4, 4)
    plain = Fixup(
        index, 7, "0:1", Kind.FIELD_BYTE_OFFSET, local, target, True, local_size, target_size, "", ""
    )
    return plain._replace(**changes)  # type: ignore[arg-type]  # whatever the test says


def imm64(value: int) -> bytes:
    low, high = value & 0xFFFFFFFF, value >> 32 & 0xFFFFFFFF
    return b"".join(
        encode_insn(Insn(code, dst, 0, 0, half - (half >> 31 << 32)))
        for code, dst, half in ((LD_IMM64, 3, low), (0, 0, high))
    )


def apply_one(insn: Insn, fix: Fixup) -> Insn:
    """Apply one fixup to an instruction among others, which stay."""
    around = encode_insn(NOTHING)
    patched = apply_fixups(around + encode_insn(insn) + around, [fix._replace(insn_index=1)])
    assert patched[:8] == patched[16:] == around
    return decode_insn(patched, 1)


def apply_imm64(value: int, fix: Fixup) -> int:
    patched = apply_fixups(imm64(value), [fix])
    assert patched[:4] == imm64(0)[:4]
    assert patched[8:12] == b"\0" * 4
    return int.from_bytes(patched[4:8] + patched[12:16], "little")


@pytest.mark.parametrize("opcode", [MOV64, ADD64, MOV32])
def test_an_immediate_is_replaced(opcode: int) -> None:
    assert apply_one(Insn(opcode, 2, 0, 0, 16), fixup(16, 24)) == Insn(opcode, 2, 0, 0, 24)
    assert apply_one(Insn(opcode, 2, 0, 0, -5), fixup(-5, -6)) == Insn(opcode, 2, 0, 0, -6)


def test_an_immediate_must_hold_what_the_types_say() -> None:
    with pytest.raises(RelocationError, match="it holds 12 but the object's types give 16") as error:
        apply_one(Insn(MOV64, 2, 0, 0, 12), fixup(16, 24))
    assert error.value.fields["insn"] == 1
    assert apply_one(Insn(MOV64, 2, 0, 0, 12), fixup(16, 24, checked=False)).imm == 24


def test_an_immediate_has_its_limits() -> None:
    assert apply_one(Insn(MOV32, 2, 0, 0, 0), fixup(0, 0xFFFFFFFF)).imm == -1
    assert apply_one(Insn(MOV64, 2, 0, 0, 0), fixup(0, 0x7FFFFFFF)).imm == 0x7FFFFFFF
    for opcode, value in ((MOV64, 0x80000000), (MOV32, 1 << 32), (MOV64, -(1 << 31) - 1)):
        assert apply_one(Insn(opcode, 2, 0, 0, 0), fixup(0, value)) == POISON
        assert why_poisoned(fixup(0, value)) == f"{value} does not fit the instruction"


def test_a_register_operand_is_no_place_for_a_number() -> None:
    with pytest.raises(RelocationError, match="is a register"):
        apply_one(Insn(MOV64_REGISTER, 2, 1, 0, 0), fixup(0, 4))


@pytest.mark.parametrize("opcode", [LDX_W, LDX_SIGNED_W, ST_W, STX_W, ATOMIC_W])
def test_the_offset_of_a_load_or_store_is_replaced(opcode: int) -> None:
    insn = Insn(opcode, 1, 2, 16, 9)
    assert apply_one(insn, fixup(16, 24)) == insn._replace(offset=24)


@pytest.mark.parametrize(
    ("opcode", "sizes", "expected"),
    [
        (LDX_W, (4, 8), LDX_DW),
        (LDX_DW, (8, 1), LDX_B),
        (LDX_B, (1, 2), LDX_H),
        (STX_W, (4, 8), STX_DW),
        (ST_DW, (8, 4), ST_W),
        (ATOMIC_DW, (8, 4), ATOMIC_W),
    ],
)
def test_a_load_or_store_changes_size_with_its_field(
    opcode: int, sizes: tuple[int, int], expected: int
) -> None:
    insn = Insn(opcode, 1, 2, 16, 3)
    assert apply_one(insn, fixup(16, 40, *sizes)) == insn._replace(opcode=expected, offset=40)


def test_a_load_that_may_not_change_size_is_poisoned() -> None:
    refused = fixup(16, 24, 4, 8, fixed_size="it is signed")
    assert apply_one(Insn(LDX_W, 1, 2, 16, 0), refused) == Insn(CALL, 0, 0, 0, POISON_BASE)
    assert why_poisoned(refused) == "it is signed"
    # the offset alone is good for arithmetic
    assert apply_one(Insn(ADD64, 1, 0, 0, 16), refused) == Insn(ADD64, 1, 0, 0, 24)


def test_a_load_that_extends_the_sign_keeps_its_size_or_is_poisoned() -> None:
    insn = Insn(LDX_SIGNED_W, 1, 2, 16, 0)
    assert apply_one(insn, fixup(16, 24, 4, 4)) == insn._replace(offset=24)
    assert apply_one(insn, fixup(16, 24, 4, 8)).imm == POISON_BASE
    assert "extends the sign" in why_poisoned(fixup(16, 24, 4, 8))


def test_a_load_of_a_part_of_its_field_keeps_its_size_or_is_poisoned() -> None:
    insn = Insn(LDX_B, 1, 2, 16, 0)
    assert apply_one(insn, fixup(16, 24, 4, 4)) == insn._replace(offset=24)
    assert apply_one(insn, fixup(16, 24, 4, 2)) == POISON
    assert why_poisoned(fixup(16, 24, 4, 2)).startswith("it is 4 bytes in the object and 2 in the kernel")


def test_an_offset_has_its_limits() -> None:
    assert apply_one(Insn(LDX_W, 1, 2, 0, 0), fixup(0, 32767)).offset == 32767
    for value in (32768, -1):
        assert apply_one(Insn(LDX_W, 1, 2, 0, 0), fixup(0, value)) == POISON
        assert why_poisoned(fixup(0, value)) == f"{value} does not fit the instruction"
    with pytest.raises(RelocationError, match="it holds 4"):
        apply_one(Insn(LDX_W, 1, 2, 4, 0), fixup(0, 8))


@pytest.mark.parametrize(("local", "target"), [(1, 0), (7, 1 << 40), (-5, -6), (0xFFFFFFFF, 3)])
def test_a_64_bit_immediate_is_replaced(local: int, target: int) -> None:
    mask = (1 << 64) - 1
    assert apply_imm64(local & mask, fixup(local, target)) == target & mask


def test_a_64_bit_immediate_must_hold_what_the_types_say() -> None:
    with pytest.raises(RelocationError, match="it holds 4294967301 but the object's types give 5"):
        apply_imm64(1 << 32 | 5, fixup(5, 6))


def test_an_enumerator_that_an_old_compiler_made_negative_stays_negative() -> None:
    old = fixup(0xFFFFFFFB, 0xFFFFFFFA, kind=Kind.ENUMVAL_VALUE)
    assert apply_imm64(0xFFFFFFFFFFFFFFFB, old) == 0xFFFFFFFFFFFFFFFA
    assert apply_imm64(0xFFFFFFFFFFFFFFFB, old._replace(target_value=3)) == 3
    assert apply_imm64(0xFFFFFFFB, old) == 0xFFFFFFFA
    with pytest.raises(RelocationError):
        apply_imm64(0xFFFFFFFFFFFFFFFB, old._replace(kind=Kind.TYPE_SIZE))


def test_a_64_bit_load_of_something_else_is_refused() -> None:
    for broken in (
        encode_insn(Insn(LD_IMM64, 3, 1, 0, 5)) + imm64(0)[8:],
        encode_insn(Insn(LD_IMM64, 3, 0, 4, 5)) + imm64(0)[8:],
        imm64(5)[:8] + encode_insn(Insn(MOV64, 0, 0, 0, 0)),
        imm64(5)[:8] + encode_insn(Insn(0, 1, 0, 0, 0)),
    ):
        with pytest.raises(RelocationError, match="does not load a plain number"):
            apply_fixups(broken, [fixup(5, 6)])


@pytest.mark.parametrize("opcode", [EXIT, CALL, 0x05, 0x15, 0x1E, 0x20, 0x30])
def test_other_instructions_have_nothing_to_relocate(opcode: int) -> None:
    with pytest.raises(RelocationError, match="nothing to relocate"):
        apply_one(Insn(opcode, 0, 0, 0, 0), fixup(0, 0))


@pytest.mark.parametrize("insn", [Insn(MOV64, 2, 0, 0, 16), Insn(LDX_W, 1, 2, 16, 0), Insn(EXIT, 0, 0, 0, 0)])
def test_a_fixup_without_an_answer_poisons_whatever_is_there(insn: Insn) -> None:
    poison = fixup(16, 0, poison="there is no struct sock")
    assert apply_one(insn, poison) == Insn(CALL, 0, 0, 0, POISON_BASE)
    assert why_poisoned(poison) == "there is no struct sock"


def test_both_halves_of_a_64_bit_load_are_poisoned() -> None:
    patched = apply_fixups(imm64(5) + encode_insn(NOTHING), [fixup(5, 0, poison="gone")])
    call = Insn(CALL, 0, 0, 0, POISON_BASE)
    assert [decode_insn(patched, n) for n in range(3)] == [call, call, NOTHING]


def test_a_poisoned_call_names_its_fixup() -> None:
    insns = encode_insn(Insn(MOV64, 1, 0, 0, 4)) * 5
    poison = [fixup(4, 0, index=n, poison="gone" if n in {1, 4} else None) for n in range(5)]
    patched = apply_fixups(insns, poison)
    numbers = [poisoned_relocation(decode_insn(patched, n).imm) for n in range(5)]
    assert numbers == [None, 1, None, None, 4]
    assert decode_insn(patched, 4).imm == 2_100_000_004


@pytest.mark.parametrize("number", [0, 1, 195896080, POISON_BASE - 1, POISON_BASE + POISON_COUNT, -1])
def test_other_helpers_are_no_poison(number: int) -> None:
    assert poisoned_relocation(number) is None


def test_poison_fits_the_immediate_of_a_call() -> None:
    assert POISON_BASE + POISON_COUNT <= 1 << 31
    assert poisoned_relocation(POISON_BASE + POISON_COUNT - 1) == POISON_COUNT - 1


@pytest.mark.parametrize("index", [-1, 2, 1 << 40])
def test_an_instruction_that_is_not_there_is_refused(index: int) -> None:
    for poison in ("", "gone"):
        with pytest.raises(RelocationError, match="there are 2 instructions"):
            apply_fixups(encode_insn(NOTHING) * 2, [fixup(0, 0, index=index, poison=poison)])


def test_half_a_64_bit_load_is_refused() -> None:
    for poison in ("", "gone"):
        with pytest.raises(RelocationError, match="there are 1 instructions"):
            apply_fixups(imm64(5)[:8], [fixup(5, 6, poison=poison)])


def test_nothing_to_do_changes_nothing() -> None:
    insns = encode_insn(Insn(MOV64, 1, 0, 0, 4)) * 3
    assert apply_fixups(insns, []) == insns
