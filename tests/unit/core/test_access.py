"""Access strings read against the object's own types."""

from __future__ import annotations

import pytest

from structops_cli.btf.btf import Btf
from structops_cli.core.access import (
    MAX_STEPS,
    check_whole_type,
    read_enumerator,
    read_field,
    spell_field,
    spell_type,
)
from structops_cli.errors import BtfError
from tests.unit.core.worlds import World, at, bits


def shapes() -> tuple[Btf, dict[str, int]]:
    """``struct outer { u32 a; struct inner in[3]; union { u32 x; u64 y; }; u32 flag:3, rest:9; u16 tail[]; }``."""
    w = World()
    u32, u16, u64 = w.integer("u32", 4), w.integer("u16", 2), w.integer("u64", 8)
    inner = w.struct("inner", 12, at("p", u32, 0), at("grid", w.array(w.array(u16, 2), 2), 4))
    union = w.union("", 8, at("x", u32, 0), at("y", u64, 0))
    outer = w.struct(
        "outer",
        64,
        at("a", u32, 0),
        at("in", w.typedef("inners", w.const(w.array(inner, 3))), 4),
        at("", union, 40),
        bits("flag", u32, 384, 3),
        bits("rest", u32, 387, 9),
        at("none", w.array(u32, 0), 52),
        at("tail", w.array(u16, 0), 52),
    )
    state = w.enum("state", OPEN=0, CLOSED=7)
    ids = {"outer": outer, "inner": inner, "u32": u32, "state": state, "state_t": w.typedef("state_t", state)}
    ids["alias"] = w.typedef("alias", w.const(outer))
    ids["huge"] = w.struct("huge", 0x7FFFFFFF, at("a", u32, 0))
    return w.btf("object"), ids


@pytest.mark.parametrize(
    ("access", "words", "bit_offset", "bit_size", "tail_bits"),
    [
        ("0", "struct outer", 0, 0, 0),
        ("2", "struct outer[2]", 1024, 0, 0),
        ("0:0", "struct outer.a", 0, 0, 0),
        ("0:1", "struct outer.in", 32, 0, 0),
        ("0:1:2", "struct outer.in[2]", 224, 0, 0),
        ("0:1:2:0", "struct outer.in[2].p", 224, 0, 0),
        ("0:1:2:1:1:1", "struct outer.in[2].grid[1][1]", 304, 0, 0),
        ("0:2:1", "struct outer.y", 320, 0, 0),
        ("1:2:0", "struct outer[1].x", 832, 0, 0),
        ("0:3", "struct outer.flag", 384, 3, 0),
        ("0:4", "struct outer.rest", 387, 9, 0),
        ("0:6", "struct outer.tail", 416, 0, 0),
        ("0:6:5", "struct outer.tail[5]", 496, 0, 0),
        ("0:2", "struct outer", 320, 0, 320),
    ],
)
def test_a_path_leads_to_its_field(
    access: str, words: str, bit_offset: int, bit_size: int, tail_bits: int
) -> None:
    btf, ids = shapes()
    path = read_field(btf, ids["outer"], access)
    assert (spell_field(btf, path), path.field.bit_offset, path.field.bit_size, path.tail_bits) == (
        words,
        bit_offset,
        bit_size,
        tail_bits,
    )


def test_the_root_may_be_a_typedef_of_a_const_struct() -> None:
    btf, ids = shapes()
    path = read_field(btf, ids["alias"], "0:1:1:0")
    assert spell_field(btf, path) == "alias.in[1].p"
    assert path.field.bit_offset == 128


@pytest.mark.parametrize(
    ("access", "why"),
    [
        ("", "not a list of up to 64 numbers"),
        (":", "not a list of up to 64 numbers"),
        ("0:", "not a list of up to 64 numbers"),
        ("0::1", "not a list of up to 64 numbers"),
        ("a", "not a list of up to 64 numbers"),
        ("0:-1", "not a list of up to 64 numbers"),
        ("0: 1", "not a list of up to 64 numbers"),
        ("0:1_0", "not a list of up to 64 numbers"),
        ("٣", "not a list of up to 64 numbers"),
        (":".join(["0"] * (MAX_STEPS + 1)), "not a list of up to 64 numbers"),
        ("0" * 1000, "not a list of up to 64 numbers"),
        ("0:7", "struct outer has no member 7"),
        ("0:0:0", "u32 has no element 0"),
        ("0:1:3", "an anonymous array has no element 3"),
        ("0:1:0:1:0:2", "an anonymous array has no element 2"),
        ("0:5:0", "an anonymous array has no element 0"),
        ("0:6:99999999999", "the offset does not fit 32 bits"),
        ("99999999999:0", "the offset does not fit 32 bits"),
    ],
)
def test_a_path_that_does_not_fit_is_refused(access: str, why: str) -> None:
    btf, ids = shapes()
    with pytest.raises(BtfError) as error:
        read_field(btf, ids["outer"], access)
    assert why in error.value.why
    assert error.value.fields["type_id"] == ids["outer"]


def test_an_offset_has_32_bits() -> None:
    btf, ids = shapes()
    assert read_field(btf, ids["huge"], "2:0").field.bit_offset == 2 * 0x7FFFFFFF * 8
    with pytest.raises(BtfError, match="32 bits"):
        read_field(btf, ids["huge"], "3:0")


def test_an_enumerator_is_counted() -> None:
    btf, ids = shapes()
    assert read_enumerator(btf, ids["state"], "1") == ("CLOSED", 7)
    assert read_enumerator(btf, ids["state_t"], "0") == ("OPEN", 0)


@pytest.mark.parametrize(("root", "access"), [("state", "2"), ("state", "0:0"), ("u32", "0"), ("state", "x")])
def test_an_enumerator_that_is_not_there_is_refused(root: str, access: str) -> None:
    btf, ids = shapes()
    with pytest.raises(BtfError):
        read_enumerator(btf, ids[root], access)


def test_a_whole_type_takes_no_path() -> None:
    btf, ids = shapes()
    check_whole_type(btf, ids["outer"], "0")
    for access in ("", "1", "0:0", "00"):
        with pytest.raises(BtfError, match="has no path"):
            check_whole_type(btf, ids["outer"], access)


def test_types_are_spelled_as_in_c() -> None:
    w = World()
    spelled = {
        w.integer("unsigned int", 4): "unsigned int",
        w.struct("s", 0): "struct s",
        w.union("u", 0): "union u",
        w.enum("e", A=1): "enum e",
        w.enum64("e64", A=1): "enum e64",
        w.fwd("f"): "struct f",
        w.fwd("g", is_union=True): "union g",
        w.ptr(): "an anonymous ptr",
        0: "void",
    }
    btf = w.btf()
    assert {type_id: spell_type(btf, type_id) for type_id in spelled} == spelled
