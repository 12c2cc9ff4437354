"""The header of a BTF: each wrong field with the exact error."""

from __future__ import annotations

import pytest

from structops_cli.btf.btf import Btf
from structops_cli.errors import BtfError
from tests.btf_writers import LAYOUT, int_, ptr, write_btf

WELL_FORMED = write_btf([int_(), ptr(1)])
"""24 bytes of header, 28 of types, 5 of strings."""


@pytest.mark.parametrize(
    ("data", "message"),
    [
        pytest.param(b"", "x is damaged: 0 bytes are too few for a header", id="empty"),
        pytest.param(WELL_FORMED[:7], "x is damaged: 7 bytes are too few for a header", id="7 bytes"),
        pytest.param(
            WELL_FORMED[:20],
            "x is damaged: its header has 24 bytes, and the whole has 20",
            id="truncated header",
        ),
        pytest.param(
            write_btf([int_()], header={"magic": 0x9FEB}),
            "x cannot be read: its byte order is big-endian",
            id="swapped magic",
        ),
        pytest.param(
            write_btf([int_()], header={"magic": 0x457F}),
            "x is not BTF: it begins with 0x457f, not with 0xeb9f",
            id="other magic",
        ),
        pytest.param(
            write_btf([int_()], header={"version": 2}),
            "x cannot be read: its version is 2, and only 1 is known",
            id="version",
        ),
        pytest.param(
            write_btf([int_()], header={"flags": 4}),
            "x cannot be read: its header has unknown flags 0x4",
            id="flags",
        ),
        pytest.param(
            write_btf([int_()], header={"hdr_len": 20}),
            "x is damaged: a header of 20 bytes is shorter than 24",
            id="short hdr_len",
        ),
        pytest.param(
            write_btf([int_()], tail=b"\0\0\0\1"),
            "x is damaged: its header has 28 bytes, neither 24 nor 32",
            id="half a layout",
        ),
        pytest.param(
            write_btf([int_()], layout=LAYOUT, header={"layout_off": 2}),
            "x is damaged: its layout is at 2 and has 80 bytes, not multiples of 4",
            id="unaligned layout",
        ),
        pytest.param(
            write_btf([int_()], layout=LAYOUT, header={"layout_len": 81}),
            "x is damaged: its layout is at 16 and has 81 bytes, not multiples of 4",
            id="part of a layout entry",
        ),
        pytest.param(
            write_btf([int_()], layout=LAYOUT, header={"layout_len": 400}),
            "x is damaged: its layout section ends at byte 448, and it has 133",
            id="layout beyond the end",
        ),
        pytest.param(
            write_btf([int_()], layout=LAYOUT, header={"layout_off": 0}),
            "x is damaged: its types (from byte 32) and its layout (from byte 32) overlap",
            id="layout over the types",
        ),
        pytest.param(
            write_btf([int_()], layout=LAYOUT, header={"layout_off": 20}),
            "x is damaged: its strings (from byte 128) and its layout (from byte 52) overlap",
            id="layout over the strings",
        ),
        pytest.param(
            write_btf([int_()], header={"type_off": 2}),
            "x is damaged: its types begin at 2, not a multiple of 4",
            id="unaligned types",
        ),
        pytest.param(
            write_btf([int_()], header={"type_len": 0xFFFFFFFF}),
            "x is damaged: its type section ends at byte 4294967319, and it has 45",
            id="types beyond the end",
        ),
        pytest.param(
            write_btf([int_()], header={"str_off": 20}),
            "x is damaged: its string section ends at byte 49, and it has 45",
            id="strings beyond the end",
        ),
        pytest.param(
            write_btf([int_()], header={"str_off": 12}),
            "x is damaged: its types (from byte 24) and its strings (from byte 36) overlap",
            id="overlap",
        ),
        pytest.param(
            write_btf([], header={"str_len": 0}),
            "x is damaged: it has no strings, not even the empty one",
            id="no strings",
        ),
        pytest.param(
            write_btf([], first_string=b"a\0"),
            "x is damaged: the string section does not begin with a NUL",
            id="first string",
        ),
        pytest.param(
            write_btf([], last_string=b"abc"),
            "x is damaged: the string section does not end with a NUL",
            id="last string",
        ),
    ],
)
def test_a_damaged_header_is_refused(data: bytes, message: str) -> None:
    with pytest.raises(BtfError) as caught:
        Btf(data, origin="x")
    assert str(caught.value) == message


def test_the_other_byte_order_has_a_hint() -> None:
    with pytest.raises(BtfError) as caught:
        Btf(write_btf(header={"magic": 0x9FEB}))
    assert caught.value.hint == "build it for a little-endian target"


def test_offsets_of_errors_are_absolute() -> None:
    with pytest.raises(BtfError) as caught:
        Btf(write_btf([int_()], header={"str_off": 12}))
    assert caught.value.fields["offset"] == 36


def test_a_longer_header_that_is_zero_is_accepted() -> None:
    btf = Btf(write_btf([int_("long", 8)], tail=bytes(16)))
    assert btf.name(1) == "long"


@pytest.mark.parametrize("layout", [LAYOUT, LAYOUT[:2], ()])
def test_a_header_with_a_layout(layout: tuple[tuple[int, int], ...]) -> None:
    btf = Btf(write_btf([int_("long", 8), ptr(1)], layout=layout))
    btf.check()
    assert (btf.end_id, btf.name(1), btf.unknown_parts()) == (3, "long", ())
    assert btf.has_layout == bool(layout)


def test_a_longer_header_than_is_known_is_read_and_named() -> None:
    data = write_btf([int_("long", 8)], layout=LAYOUT, tail=b"\1\0\0\0\0\0\0\0")
    btf = Btf(data)
    assert (btf.end_id, btf.name(1)) == (2, "long")
    assert btf.unknown_parts() == ("the last 8 bytes of the header",)


def test_bytes_between_and_behind_the_sections_are_ignored() -> None:
    btf = Btf(write_btf([int_("long", 8)], gap=b"????", behind=b"more"))
    assert (btf.end_id, btf.name(1)) == (2, "long")


def test_the_strings_may_come_first() -> None:
    types = write_btf([int_(1)])[24:40]
    data = write_btf(header={"type_off": 8, "type_len": 16, "str_off": 0, "str_len": 5})[:24]
    btf = Btf(data + b"\0abc\0\0\0\0" + types)
    assert (btf.end_id, btf.name(1)) == (2, "abc")


def test_no_types_at_all_is_a_btf() -> None:
    btf = Btf(write_btf())
    btf.check()
    assert (btf.start_id, btf.end_id, list(btf.types())) == (1, 1, [])
