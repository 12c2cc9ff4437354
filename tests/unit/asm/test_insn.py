"""One instruction: decode, encode, patch."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from structops_cli.asm import insn
from structops_cli.asm.insn import AluOp, Insn, InsnClass, InsnMode, JumpOp

EXIT = bytes.fromhex("9500000000000000")
LOAD = bytes.fromhex("1812000078563412 00000000f0debc9a")
CALL = bytes.fromhex("85100000feffffff")
STORE = bytes.fromhex("631afcff00000000")


@pytest.mark.parametrize(
    ("raw", "decoded"),
    [
        (EXIT, Insn(0x95, 0, 0, 0, 0)),
        (LOAD[:8], Insn(0x18, 2, 1, 0, 0x12345678)),
        (CALL, Insn(0x85, 0, 1, 0, -2)),
        (STORE, Insn(0x63, 10, 1, -4, 0)),
    ],
)
def test_decode_and_encode(raw: bytes, decoded: Insn) -> None:
    assert insn.decode_insn(raw, 0) == decoded
    assert insn.decode_insn(EXIT + raw, 1) == decoded
    assert insn.encode_insn(decoded) == raw


@given(st.binary(min_size=8, max_size=8))
@settings(derandomize=True)
def test_encode_is_the_inverse_of_decode(raw: bytes) -> None:
    assert insn.encode_insn(insn.decode_insn(raw, 0)) == raw


def test_fields_without_decoding() -> None:
    code = EXIT + CALL + LOAD
    assert [insn.opcode_at(code, index) for index in range(4)] == [0x95, 0x85, 0x18, 0]
    assert [insn.src_reg_at(code, index) for index in range(4)] == [0, 1, 1, 0]
    assert [insn.imm_at(code, index) for index in range(4)] == [0, -2, 0x12345678, -0x65432110]


def test_iterating_skips_the_second_half_of_a_load() -> None:
    assert [(index, one.opcode) for index, one in insn.instructions(CALL + LOAD + EXIT)] == [
        (0, 0x85),
        (1, 0x18),
        (3, 0x95),
    ]
    assert list(insn.instructions(b"")) == []


def test_find_every_instruction_of_an_opcode() -> None:
    code = CALL + LOAD + CALL + EXIT + CALL
    assert list(insn.find_opcode(code, insn.CALL)) == [0, 3, 5]
    assert list(insn.find_opcode(code, insn.LD_IMM64)) == [1]
    assert list(insn.find_opcode(code, 0x07)) == []


def test_set_src_reg_keeps_the_destination() -> None:
    code = bytearray(EXIT + LOAD)
    insn.set_src_reg(code, 1, 4)
    assert bytes(code) == EXIT + bytes.fromhex("1842000078563412 00000000f0debc9a")


@pytest.mark.parametrize(("value", "stored"), [(-1, "ffffffff"), (0xFFFFFFFF, "ffffffff"), (7, "07000000")])
def test_set_imm(value: int, stored: str) -> None:
    code = bytearray(EXIT + CALL)
    insn.set_imm(code, 1, value)
    assert bytes(code) == EXIT + bytes.fromhex("85100000" + stored)


def test_set_imm64() -> None:
    code = bytearray(EXIT + LOAD + EXIT)
    insn.set_imm64(code, 1, -3, 0x80000000)
    assert bytes(code) == EXIT + bytes.fromhex("18120000fdffffff 0000000000000080") + EXIT


def test_imm64_is_unsigned_and_of_both_halves() -> None:
    assert insn.imm64_at(EXIT + LOAD, 1) == 0x9ABCDEF012345678


def test_put_insn_replaces_one_instruction() -> None:
    code = bytearray(EXIT + CALL + EXIT)
    insn.put_insn(code, 1, Insn(insn.CALL, imm=7))
    assert bytes(code) == EXIT + bytes.fromhex("8500000007000000") + EXIT


def test_the_parts_of_an_opcode() -> None:
    store = insn.decode_insn(STORE, 0)
    assert (store.insn_class, store.mode, store.size_bytes) == (InsnClass.STX, InsnMode.MEM, 4)
    addition = Insn(InsnClass.ALU64 | AluOp.ADD | 0x08, 1, 2)
    assert (addition.insn_class, addition.operation, addition.uses_register) == (
        InsnClass.ALU64,
        AluOp.ADD,
        True,
    )
    assert insn.decode_insn(CALL, 0).operation == JumpOp.CALL
    assert not insn.decode_insn(CALL, 0).uses_register


@pytest.mark.parametrize(("size_bytes", "opcode"), [(1, 0x73), (2, 0x6B), (4, 0x63), (8, 0x7B)])
def test_resized_changes_the_size_alone(size_bytes: int, opcode: int) -> None:
    assert insn.decode_insn(STORE, 0).resized(size_bytes) == Insn(opcode, 10, 1, -4, 0)
    assert Insn(opcode).size_bytes == size_bytes


def test_the_smallest_program_returns_zero() -> None:
    assert bytes.fromhex("b700000000000000") + EXIT == insn.RETURN_ZERO
