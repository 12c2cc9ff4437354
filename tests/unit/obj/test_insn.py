"""One instruction: decode, encode, patch."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from structops_cli.obj import insn
from structops_cli.obj.insn import Insn

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
    assert insn.decode(raw, 0) == decoded
    assert insn.decode(EXIT + raw, 1) == decoded
    assert insn.encode(decoded) == raw


@given(st.binary(min_size=8, max_size=8))
@settings(derandomize=True)
def test_encode_is_the_inverse_of_decode(raw: bytes) -> None:
    assert insn.encode(insn.decode(raw, 0)) == raw


def test_fields_without_decoding() -> None:
    code = EXIT + CALL + LOAD
    assert [insn.opcode(code, index) for index in range(4)] == [0x95, 0x85, 0x18, 0]
    assert [insn.src_reg(code, index) for index in range(4)] == [0, 1, 1, 0]
    assert [insn.imm(code, index) for index in range(4)] == [0, -2, 0x12345678, -0x65432110]


def test_iterating_skips_the_second_half_of_a_load() -> None:
    assert [(index, one.opcode) for index, one in insn.instructions(CALL + LOAD + EXIT)] == [
        (0, 0x85),
        (1, 0x18),
        (3, 0x95),
    ]
    assert list(insn.instructions(b"")) == []


def test_find_every_instruction_of_an_opcode() -> None:
    code = CALL + LOAD + CALL + EXIT + CALL
    assert list(insn.find(code, insn.CALL)) == [0, 3, 5]
    assert list(insn.find(code, insn.LD_IMM64)) == [1]
    assert list(insn.find(code, 0x07)) == []


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
