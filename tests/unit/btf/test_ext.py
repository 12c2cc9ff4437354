"""``.BTF.ext``: its records, and each possible fault."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import Any

import pytest

from structops_cli.btf.btf import Btf
from structops_cli.btf.ext import BtfExt, CoreRelo, FuncInfo, LineInfo, parse_ext
from structops_cli.errors import BtfError
from tests.btf_writers import func, int_, proto, string_offset, write_btf, write_ext

DATA = write_btf(
    [int_("int"), proto(0), func("f", 2)],
    more_strings=["struct_ops", "struct_ops.s", "f.c", "return 0;", "0:1"],
)
BTF = Btf(DATA)
OPS, OPS_S, FILE, LINE, ACCESS = (
    string_offset(DATA, text) for text in ("struct_ops", "struct_ops.s", "f.c", "return 0;", "0:1")
)


def test_all_three_parts() -> None:
    data = write_ext(
        {OPS: [(0, 3), (16, 3)], OPS_S: [(0, 3)]},
        {OPS: [(0, FILE, LINE, 7 << 10 | 3), (24, FILE, 0, 0)]},
        {OPS_S: [(8, 1, ACCESS, 2), (8 * 1000, 0, 0, 12)]},
    )
    assert parse_ext(data, BTF) == BtfExt(
        {"struct_ops": (FuncInfo(0, 3), FuncInfo(2, 3)), "struct_ops.s": (FuncInfo(0, 3),)},
        {"struct_ops": (LineInfo(0, FILE, LINE, 7 << 10 | 3), LineInfo(3, FILE, 0, 0))},
        {"struct_ops.s": (CoreRelo(1, 1, "0:1", 2), CoreRelo(1000, 0, "", 12))},
    )


def test_a_line_has_a_number_and_a_text() -> None:
    (info,) = parse_ext(write_ext(None, {OPS: [(0, FILE, LINE, 7 << 10 | 3)]}), BTF).line_info["struct_ops"]
    assert (info.line, BTF.string(info.file_name_off), BTF.string(info.line_off)) == (7, "f.c", "return 0;")


def test_nothing_in_it() -> None:
    assert parse_ext(write_ext(), BTF) == BtfExt({}, {}, {})


def test_an_old_header_has_no_relocations() -> None:
    """LLVM before 10 wrote 24 bytes."""
    data = bytearray(write_ext({OPS: [(0, 3)]}, header={"hdr_len": 24}))
    del data[24:32]
    assert parse_ext(bytes(data), BTF) == BtfExt({"struct_ops": (FuncInfo(0, 3),)}, {}, {})


def test_a_longer_header_that_is_zero() -> None:
    data = write_ext({OPS: [(0, 3)]}, None, {OPS: [(0, 1, ACCESS, 0)]}, tail=bytes(8))
    assert parse_ext(data, BTF).core_relos == {"struct_ops": (CoreRelo(0, 1, "0:1", 0),)}


def test_the_header_of_llvm_9_with_the_place_of_a_fourth_part_that_is_empty() -> None:
    data = write_ext({OPS: [(0, 3)]}, tail=struct.pack("<II", 392, 0))
    assert parse_ext(data, BTF) == BtfExt({"struct_ops": (FuncInfo(0, 3),)}, {}, {})


@pytest.mark.parametrize(
    ("tail", "unknown"),
    [
        (struct.pack("<II", 392, 4), ("part 4 of 4 bytes",)),
        (struct.pack("<IIIIII", 392, 0, 392, 7, 0, 1), ("part 5 of 7 bytes", "part 6 of 1 bytes")),
        (struct.pack("<III", 392, 4, 1), ("part 4 of 4 bytes", "the last 4 bytes of the header")),
        (bytes(12), ()),
    ],
)
def test_a_part_that_is_not_known_is_skipped_and_named(tail: bytes, unknown: tuple[str, ...]) -> None:
    data = write_ext({OPS: [(0, 3)]}, tail=tail)
    assert parse_ext(data, BTF) == BtfExt({"struct_ops": (FuncInfo(0, 3),)}, {}, {}, unknown)


def test_longer_records_than_are_known() -> None:
    sizes = {"func_info": 12, "line_info": 20, "core_relo": 24}
    data = write_ext(
        {OPS: [(0, 3, 99), (8, 3, 99)]},
        {OPS: [(0, FILE, LINE, 0, 99), (8, FILE, LINE, 0, 99)]},
        {OPS: [(0, 1, ACCESS, 0, 99, 99), (8, 1, ACCESS, 0, 99, 99)]},
        sizes=sizes,
    )
    parsed = parse_ext(data, BTF)
    assert parsed.func_info["struct_ops"] == (FuncInfo(0, 3), FuncInfo(1, 3))
    assert [info.insn_index for info in parsed.line_info["struct_ops"]] == [0, 1]
    assert [relo.insn_index for relo in parsed.core_relos["struct_ops"]] == [0, 1]
    assert parsed.unknown == (
        "the last 4 bytes of each func_info record",
        "the last 4 bytes of each line_info record",
        "the last 8 bytes of each core_relo record",
    )


FUNCS = {OPS: [(0, 3), (8, 3)]}
LINES = {OPS: [(0, FILE, LINE, 0), (8, FILE, LINE, 0)]}
RELOS = {OPS: [(0, 1, ACCESS, 0), (8, 1, ACCESS, 0)]}
FUNC_INFO = "x: func_info of section struct_ops is damaged: "
LINE_INFO = "x: line_info of section struct_ops is damaged: "
CORE_RELO = "x: core_relo of section struct_ops is damaged: "


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        # the header
        ({"header": {"magic": 0x9FEB}}, "x cannot be read: its byte order is big-endian"),
        ({"header": {"magic": 0}}, "x is not BTF: it begins with 0x0000, not with 0xeb9f"),
        ({"header": {"version": 3}}, "x cannot be read: its version is 3, and only 1 is known"),
        ({"header": {"flags": 1}}, "x cannot be read: its header has unknown flags 0x1"),
        ({"header": {"hdr_len": 16}}, "x is damaged: a header of 16 bytes is shorter than 24"),
        ({"header": {"hdr_len": 28}}, "x is damaged: its header has 28 bytes, neither 24 nor 32"),
        ({"header": {"hdr_len": 9999}}, "x is damaged: its header has 9999 bytes, and the whole has 32"),
        # the extents
        (
            {"func_info": FUNCS, "header": {"func_info_off": 2}},
            "x: func_info is damaged: bytes 34 to 62 of 60 cannot hold it",
        ),
        (
            {"func_info": FUNCS, "header": {"func_info_len": 32}},
            "x: func_info is damaged: bytes 32 to 64 of 60 cannot hold it",
        ),
        (
            {"func_info": FUNCS, "header": {"func_info_off": 0xFFFFFFFC}},
            "x: func_info is damaged: bytes 4294967324 to 4294967352 of 60 cannot hold it",
        ),
        (
            {"func_info": FUNCS, "header": {"func_info_len": 3}},
            "x: func_info is damaged: bytes 32 to 35 of 60 cannot hold it",
        ),
        ({"func_info": FUNCS, "cut": 4}, "x: func_info is damaged: bytes 32 to 60 of 56 cannot hold it"),
        # the sizes of records
        (
            {"func_info": FUNCS, "sizes": {"func_info": 4}},
            "x: func_info is damaged: its records have 4 bytes, fewer than the known 8",
        ),
        (
            {"line_info": LINES, "sizes": {"line_info": 0}},
            "x: line_info is damaged: its records have 0 bytes, fewer than the known 16",
        ),
        (
            {"core_relos": RELOS, "sizes": {"core_relo": 18}},
            "x: core_relo is damaged: its records have 18 bytes, fewer than the known 16",
        ),
        # the blocks
        (
            {"func_info": FUNCS, "header": {"func_info_len": 8}},
            "x: func_info is damaged: 4 bytes are left at byte 36, too few for a section",
        ),
        ({"func_info": FUNCS, "counts": {"func_info": 0}}, FUNC_INFO + "it has 0 records, and 1 to 2 fit"),
        ({"func_info": FUNCS, "counts": {"func_info": 3}}, FUNC_INFO + "it has 3 records, and 1 to 2 fit"),
        (
            {"line_info": LINES, "counts": {"line_info": 0xFFFFFFFF}},
            LINE_INFO + "it has 4294967295 records, and 1 to 2 fit",
        ),
        (
            {"func_info": FUNCS, "counts": {"func_info": 1}},
            "x: func_info of section truct_ops is damaged: it has 3 records, and 1 to 0 fit",
        ),
        (
            {"func_info": {9999: [(0, 3)]}},
            "x: func_info is damaged: the name of a section: BTF is damaged: a string is at offset 9999, beyond the strings",
        ),
        # the records
        ({"func_info": {OPS: [(4, 3)]}}, FUNC_INFO + "byte 4 is not the start of an instruction"),
        ({"func_info": {OPS: [(8, 3), (0, 3)]}}, FUNC_INFO + "byte 0 comes after byte 8, out of order"),
        ({"func_info": {OPS: [(8, 3), (8, 3)]}}, FUNC_INFO + "byte 8 comes after byte 8, out of order"),
        ({"func_info": {OPS: [(8, 2)]}}, FUNC_INFO + "the record for byte 8: type 2 is not a function"),
        ({"func_info": {OPS: [(8, 0)]}}, FUNC_INFO + "the record for byte 8: type 0 is not a function"),
        (
            {"func_info": {OPS: [(8, 4)]}},
            FUNC_INFO + "the record for byte 8: BTF has no type 4: the last one is 3",
        ),
        (
            {"line_info": {OPS: [(0, 9999, LINE, 0)]}},
            LINE_INFO + "the record for byte 0: a string is at offset 9999, beyond the strings",
        ),
        (
            {"line_info": {OPS: [(0, FILE, 9999, 0)]}},
            LINE_INFO + "the record for byte 0: a string is at offset 9999, beyond the strings",
        ),
        ({"line_info": {OPS: [(1, FILE, LINE, 0)]}}, LINE_INFO + "byte 1 is not the start of an instruction"),
        (
            {"core_relos": {OPS: [(0, 4, ACCESS, 0)]}},
            CORE_RELO + "the record for byte 0: BTF has no type 4: the last one is 3",
        ),
        (
            {"core_relos": {OPS: [(0, 1, 9999, 0)]}},
            CORE_RELO
            + "the record for byte 0: BTF is damaged: a string is at offset 9999, beyond the strings",
        ),
        (
            {"core_relos": {OPS: [(0, 1, ACCESS, 13)]}},
            CORE_RELO + "the record for byte 0: there is no CO-RE relocation of kind 13",
        ),
        (
            {"core_relos": {OPS: [(8, 1, ACCESS, 0), (0, 1, ACCESS, 0)]}},
            CORE_RELO + "byte 0 comes after byte 8, out of order",
        ),
    ],
)
def test_a_damaged_ext(arguments: Mapping[str, Any], message: str) -> None:
    with pytest.raises(BtfError) as caught:
        parse_ext(write_ext(**arguments), BTF, origin="x")
    assert str(caught.value) == message


def test_errors_name_the_elf_section() -> None:
    with pytest.raises(BtfError) as caught:
        parse_ext(write_ext({OPS_S: [(4, 3)]}), BTF)
    assert caught.value.fields["section"] == "struct_ops.s"
    assert str(caught.value).startswith(".BTF.ext: func_info of section struct_ops.s is damaged")


def test_a_section_that_occurs_twice() -> None:
    block = write_ext({OPS: [(0, 3)]})[36:52]
    data = write_ext({OPS: [(0, 3)]}, header={"func_info_len": 36}) + block
    with pytest.raises(BtfError) as caught:
        parse_ext(data, BTF, origin="x")
    assert str(caught.value) == FUNC_INFO + "the section occurs twice"


def test_too_few_bytes() -> None:
    for length in range(32):
        with pytest.raises(BtfError):
            parse_ext(write_ext()[:length], BTF)
