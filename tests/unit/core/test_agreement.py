"""Several types of one name: the matching ones must agree."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from structops_cli.btf.ext import CoreRelo
from structops_cli.errors import RelocationError
from structops_cli.syscall.uapi import CoreReloKind as Kind
from tests.core_fixups import compute_fixups
from tests.unit.core.worlds import World, at, kernel


def local_entry() -> tuple[World, int]:
    w = World()
    u32 = w.integer("u32", 4)
    return w, w.struct("entry", 12, at("key", u32, 0), at("only_a", u32, 4), at("only_b", u32, 8))


def two_entries(a_offset: int = 0, b_offset: int = 0, *, b_size: int = 4) -> World:
    """Two files with a ``struct entry`` of their own; ``key`` at those offsets."""
    w = World()
    u32 = w.integer("u32", 4)
    w.struct("entry", 32, at("key", u32, a_offset), at("only_a", u32, 20))
    w.struct("entry", 24, at("key", w.integer("key", b_size), b_offset), at("only_b", u32, 16))
    return w


def answers(target: World, asked: Sequence[tuple[str, Kind]]) -> list[int | str]:
    """Ask in this order; a poisoned one is its sentence."""
    local, entry = local_entry()
    relos = [CoreRelo(n, entry, access, kind) for n, (access, kind) in enumerate(asked)]
    return [f.poison or f.target_value for f in compute_fixups(local.btf("object"), kernel(target), relos)]


KEY, ONLY_A, ONLY_B = "0:0", "0:1", "0:2"
OFFSET, EXISTS = Kind.FIELD_BYTE_OFFSET, Kind.FIELD_EXISTS


def test_the_same_answer_from_all_is_an_answer() -> None:
    assert answers(two_entries(8, 8), [(KEY, OFFSET)]) == [8]


@pytest.mark.parametrize(
    ("target", "access", "kind", "given"),
    [
        (two_entries(0, 8), KEY, OFFSET, (0, 8)),
        (two_entries(b_size=8), KEY, Kind.FIELD_BYTE_SIZE, (4, 8)),
        (two_entries(), "0", Kind.TYPE_SIZE, (32, 24)),
        (two_entries(), "0", Kind.TYPE_ID_TARGET, (2, 4)),
    ],
)
def test_different_answers_are_an_error_that_names_them(
    target: World, access: str, kind: Kind, given: tuple[int, int]
) -> None:
    with pytest.raises(RelocationError, match="several answers") as error:
        answers(target, [(access, kind)])
    assert error.value.fields["candidates"] == [
        "struct entry (type 2 of vmlinux)",
        "struct entry (type 4 of vmlinux)",
    ]
    assert error.value.fields["insn"] == 0
    assert all(f"gives {value}" in error.value.why for value in given)


def test_existence_is_one_answer_wherever_the_field_is() -> None:
    assert answers(two_entries(0, 8), [(KEY, EXISTS)]) == [1]


def test_those_that_do_not_match_are_left_out() -> None:
    assert answers(two_entries(), [(ONLY_A, OFFSET)]) == [20]
    assert answers(two_entries(), [(ONLY_B, OFFSET)]) == [16]


def test_who_was_left_out_once_is_not_asked_again() -> None:
    apart = two_entries(0, 8)
    assert answers(apart, [(ONLY_A, OFFSET), (KEY, OFFSET)]) == [20, 0]
    assert answers(apart, [(ONLY_B, EXISTS), (KEY, OFFSET)]) == [1, 8]
    assert answers(apart, [(ONLY_A, EXISTS), (ONLY_B, EXISTS)]) == [1, 0]
    with pytest.raises(RelocationError):
        answers(apart, [(KEY, OFFSET), (ONLY_A, OFFSET)])


def test_a_question_that_nobody_answers_leaves_all_in() -> None:
    local, _ = local_entry()
    u32 = 1
    entry = local.struct("entry___other", 8, at("gone", u32, 0), at("only_b", u32, 4))
    relos = [CoreRelo(0, entry, "0:0", EXISTS), CoreRelo(1, entry, "0:1", OFFSET)]
    fixups = compute_fixups(local.btf("object"), kernel(two_entries()), relos)
    assert [f.target_value for f in fixups] == [0, 16]


def test_another_local_view_of_the_type_is_asked_afresh() -> None:
    local, entry = local_entry()
    other = local.struct("entry___b", 4, at("only_b", 1, 0))
    relos = [CoreRelo(0, entry, ONLY_A, OFFSET), CoreRelo(1, other, "0:0", OFFSET)]
    fixups = compute_fixups(local.btf("object"), kernel(two_entries()), relos)
    assert [f.target_value for f in fixups] == [20, 16]


def test_where_only_sizes_differ_a_load_takes_the_first() -> None:
    local, entry = local_entry()
    relos = [CoreRelo(0, entry, KEY, OFFSET)]
    fixup = compute_fixups(local.btf("object"), kernel(two_entries(b_size=8)), relos)[0]
    assert (fixup.target_value, fixup.poison) == (0, None)
    assert (fixup.target_size_bytes, fixup.fixed_size) == (4, None)
