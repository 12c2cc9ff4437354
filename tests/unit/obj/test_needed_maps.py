"""The maps that a load needs, refused initial contents, and maps that need a user."""

from __future__ import annotations

import pytest

from structops_cli.errors import ErrorFields, ObjectError
from structops_cli.obj.needed_maps import UserHeld, needed_maps, user_held
from structops_cli.obj.reader import read_object
from structops_cli.obj.spec import MapSlot, MapSpec, ObjectSpec
from tests.compile import OBJECTS, compile_object

PLAIN = MapSpec("plain", 2, 4, 8, 4, 0, 0, None, 0, 0, False)
OUTER = PLAIN._replace(name="outer", map_type=12, value_size=4, inner=PLAIN._replace(name="outer.inner"))
ARENA = PLAIN._replace(name="arena", map_type=33, key_size=0, value_size=0, map_flags=1024)
DATA = ".addr_space.1"


@pytest.fixture(scope="module")
def arena_object() -> ObjectSpec:
    return read_object(compile_object(OBJECTS / "arena.bpf.c"), "arena.bpf.o")


def names(spec: ObjectSpec, *used: str) -> list[str]:
    needed = needed_maps(spec, used, ())
    return [one.name for one in needed.maps] + [one.name for one in needed.data]


def refusal(spec: ObjectSpec, *used: str, programs: tuple[str, ...] = ()) -> tuple[str, str, ErrorFields]:
    with pytest.raises(ObjectError) as caught:
        needed_maps(spec, used, programs)
    return str(caught.value), caught.value.hint, caught.value.fields


def test_only_what_programs_refer_to(everything: ObjectSpec) -> None:
    spec = everything._replace(maps=(PLAIN, PLAIN._replace(name="other")))
    assert names(spec, "other", ".bss") == ["other", ".bss"]


def test_a_pinned_map_is_always_needed(everything: ObjectSpec) -> None:
    assert names(everything) == ["counters_of_everything"]


def test_what_a_needed_map_holds_is_needed(everything: ObjectSpec) -> None:
    held = OUTER._replace(slots=(MapSlot(0, "plain"), MapSlot(3, "plain")))
    spec = everything._replace(maps=(PLAIN._replace(name="other"), PLAIN, held))
    assert names(spec, "outer") == ["plain", "outer"]
    assert names(spec, "plain") == ["plain"]


def test_maps_that_hold_each_other(everything: ObjectSpec) -> None:
    one = OUTER._replace(name="one", slots=(MapSlot(0, "two"),))
    two = OUTER._replace(name="two", slots=(MapSlot(0, "one"),))
    assert names(everything._replace(maps=(one, two)), "one") == ["one", "two"]


def test_an_element_beyond_the_last(everything: ObjectSpec) -> None:
    spec = everything._replace(maps=(PLAIN, OUTER._replace(slots=(MapSlot(4, "plain"),))))
    assert refusal(spec, "outer") == (
        "map outer has no element 4 that could hold plain: max_entries is 4",
        "give it more: --map outer.max_entries=5",
        {"map": "outer", "symbol": "plain", "member": "values"},
    )
    hashed = OUTER._replace(map_type=13, slots=(MapSlot(4, "plain"),))
    assert names(everything._replace(maps=(PLAIN, hashed)), "outer") == ["plain", "outer"]


def test_elements_of_a_map_with_wide_keys(everything: ObjectSpec) -> None:
    spec = everything._replace(
        maps=(PLAIN, OUTER._replace(map_type=13, key_size=8, slots=(MapSlot(0, "plain"),)))
    )
    message, _, fields = refusal(spec, "outer")
    assert message == (
        "map outer cannot have initial contents: its elements have numbers, and its key has 8 bytes"
    )
    assert fields == {"map": "outer", "member": "key"}


def test_a_program_that_is_not_loaded(everything: ObjectSpec) -> None:
    array = PLAIN._replace(name="jumps", map_type=3, value_size=4, slots=(MapSlot(1, "lost"),))
    spec = everything._replace(maps=(array,))
    assert [one.name for one in needed_maps(spec, ["jumps"], ["lost"]).maps] == ["jumps"]
    message, hint, fields = refusal(spec, "jumps", programs=("found",))
    assert message == (
        "element 1 of map jumps is the program lost, which is not loaded: "
        "struct_ops programs are loaded for members, and no member points at this one"
    )
    assert hint == "point a member of a registered variable at it, or leave the element out"
    assert fields == {"map": "jumps", "program": "lost", "member": "values"}
    assert needed_maps(spec, (), ()).maps == ()


def test_an_arena_and_its_globals(arena_object: ObjectSpec) -> None:
    for used in ("arena", DATA):
        needed = needed_maps(arena_object, [used], ())
        assert needed.maps == (needed.arena,) == arena_object.maps
        assert needed.arena_data in arena_object.data
        assert needed.data == ()
    nothing = needed_maps(arena_object, (), ())
    assert (nothing.maps, nothing.arena, nothing.arena_data) == ((), None, None)


def test_globals_without_an_arena(arena_object: ObjectSpec) -> None:
    assert refusal(arena_object._replace(maps=()), DATA) == (
        "the global variables of section .addr_space.1 have no arena: the arenas of the object are: none",
        "define one map of type BPF_MAP_TYPE_ARENA",
        {"section": DATA},
    )


def test_globals_of_two_arenas(arena_object: ObjectSpec) -> None:
    two = arena_object._replace(maps=(ARENA, ARENA._replace(name="second")))
    assert refusal(two, DATA)[0] == (
        "the global variables of section .addr_space.1 could be in several arenas: "
        "the arenas of the object are: arena, second"
    )
    assert needed_maps(two, ["second"], ()).arena == two.maps[1]


def test_globals_where_a_write_would_kill(arena_object: ObjectSpec) -> None:
    deadly = arena_object._replace(maps=(ARENA._replace(map_flags=1024 | 1 << 17),))
    message, hint, fields = refusal(deadly, DATA)
    assert message == (
        "arena arena cannot hold global variables: "
        "with BPF_F_SEGV_ON_FAULT a write to a page that no program allocated kills the writer"
    )
    assert (hint, fields) == ("leave the flag out", {"map": "arena", "section": DATA})


def test_timers_and_no_other_fields() -> None:
    spec = read_object(compile_object(OBJECTS / "managed_fields.bpf.c"), "managed_fields.bpf.o")
    assert user_held(spec) == (UserHeld("timers", "its timers stop"),)


def test_a_program_array_that_holds_some(everything: ObjectSpec) -> None:
    plain = everything.maps[0]
    array = plain._replace(name="jumps", map_type=3, slots=(MapSlot(0, "first_ssthresh"),))
    of_maps = array._replace(name="outer", map_type=12, inner=plain)
    spec = everything._replace(maps=(plain, array, of_maps))
    assert user_held(spec) == (UserHeld("jumps", "its programs are taken out"),)


def test_nothing_of_an_ordinary_object(everything: ObjectSpec) -> None:
    assert user_held(everything) == ()
