"""A user's settings of an object: constants, global variables, map attributes."""

from __future__ import annotations

from typing import Any

import pytest

from structops_cli.errors import AmbiguousError, UsageError
from structops_cli.obj.reader import read_object
from structops_cli.obj.settings import chosen_globals, with_constants, with_globals, with_map_attributes
from structops_cli.obj.spec import MapSpec, ObjectSpec
from tests.compile import OBJECTS, compile_object


@pytest.fixture(scope="module")
def map_in_map() -> ObjectSpec:
    return read_object(compile_object(OBJECTS / "map_in_map.bpf.c"), "map_in_map.bpf.o")


def value(spec: ObjectSpec, section: str, name: str) -> str:
    (holder,) = [one for one in spec.data if one.name == section]
    (variable,) = [one for one in holder.variables if one.name == name]
    end = variable.offset_bytes + variable.size_bytes
    return holder.contents[variable.offset_bytes : end].hex()


def find(spec: ObjectSpec, name: str) -> MapSpec:
    (found,) = [one for one in spec.maps if one.name == name]
    return found


# Constants and globals


def test_a_constant(everything: ObjectSpec) -> None:
    changed = with_constants(everything, {"beta": "5", ".rodata:tuning.gain": "7"})
    assert value(changed, ".rodata", "beta") == "05000000"
    assert value(changed, ".rodata", "tuning").startswith("07000000")
    assert [one for one in changed.data if one.name != ".rodata"] == [
        one for one in everything.data if one.name != ".rodata"
    ]


@pytest.mark.parametrize(
    ("member", "section", "name", "expected"),
    [
        (("", "calls"), ".data", "calls", "0900000000000000"),
        (("", "losses"), ".bss", "losses", "0900000000000000"),
        (("", ".bss:losses"), ".bss", "losses", "0900000000000000"),
        (("", "per_mode[2]"), ".bss", "per_mode", "00000000" * 2 + "09000000" + "00000000"),
        (("", "own_section"), ".data.own", "own_section", "09000000"),
        (("", "quiet_calls"), ".data", "quiet_calls", "09000000"),
    ],
)
def test_a_global_variable(
    everything: ObjectSpec, member: tuple[str, str], section: str, name: str, expected: str
) -> None:
    changed, left = with_globals(everything, {member: "9"})
    assert left == {}
    assert value(changed, section, name) == expected


@pytest.mark.parametrize(
    ("member", "section", "name", "bits"),
    [
        (("", "calls"), ".data", "calls", (0, 64)),
        (("", "losses"), ".bss", "losses", (0, 64)),
        (("", "per_mode[2]"), ".bss", "per_mode", (64, 32)),
        (("", "per_mode"), ".bss", "per_mode", (0, 128)),
    ],
)
@pytest.mark.parametrize("number", ["0", "9"])
def test_which_bits_of_a_global_variable_are_set(
    everything: ObjectSpec,
    member: tuple[str, str],
    section: str,
    name: str,
    bits: tuple[int, int],
    number: str,
) -> None:
    [chosen] = chosen_globals(everything, {member: number, ("", "name"): "t_x"})
    assert chosen.section == section
    [whole] = [one for one in everything.data if one.name == section]
    [place] = [one for one in whole.variables if one.name == name]
    assert chosen.bits == ((8 * place.offset_bytes + bits[0], bits[1]),)


def test_without_global_variables_none_is_chosen(everything: ObjectSpec) -> None:
    assert chosen_globals(everything, {("", "name"): "t_x"}) == ()


def test_members_of_struct_ops_variables_are_left(everything: ObjectSpec) -> None:
    variable = everything.struct_ops[0].name
    members = {("", "name"): "t_x", (variable, "name"): "t_y", ("", "nothing"): "1", ("no", "thing"): "2"}
    assert with_globals(everything, members) == (everything, members)


def test_a_name_of_two_things(everything: ObjectSpec) -> None:
    data = next(one for one in everything.data if one.name == ".data")
    twin = data.variables[0]._replace(name="flags")
    sections = tuple(
        one._replace(variables=(twin, *one.variables[1:])) if one is data else one for one in everything.data
    )
    spec = everything._replace(data=sections)
    with pytest.raises(AmbiguousError) as caught:
        with_globals(spec, {("", "flags"): "1"})
    assert str(caught.value) == (
        "--set flags could mean two things: it is a member of a struct_ops variable, and a variable of .data"
    )
    assert caught.value.hint == "write .data:flags=... or VAR.flags=..."
    assert value(with_globals(spec, {("", ".data:flags"): "9"})[0], ".data", "flags").startswith("09")
    variable = spec.struct_ops[0].name
    assert with_globals(spec, {(variable, "flags"): "1"}) == (spec, {(variable, "flags"): "1"})


@pytest.mark.parametrize(
    ("place", "message", "hint"),
    [
        ("calls", "calls is not a constant: programs may write to it", "write --set calls=1"),
        (
            "per_mode[1]",
            "per_mode[1] is not a constant: programs may write to it",
            "write --set 'per_mode[1]=1'",
        ),
        (".bss:beta", "there is no variable beta: the object has none", ""),
    ],
)
def test_what_is_no_constant(everything: ObjectSpec, place: str, message: str, hint: str) -> None:
    with pytest.raises(UsageError) as caught:
        with_constants(everything, {place: "1"})
    assert (str(caught.value), caught.value.hint) == (message, hint)


def test_a_constant_is_no_global_variable(everything: ObjectSpec) -> None:
    with pytest.raises(UsageError, match=r"^beta is a constant$") as caught:
        with_globals(everything, {("", "beta"): "1"})
    assert caught.value.hint == "write --const beta=1"


# Maps


@pytest.mark.parametrize(
    ("path", "text", "changes"),
    [
        (("first", "max_entries"), "7", {"max_entries": 7}),
        (("first", "map_flags"), "0x400", {"map_flags": 0x400}),
        (("first", "map_extra"), "0x100000000000", {"map_extra": 1 << 44}),
        (("first", "numa_node"), "0", {"numa_node": 0, "map_flags": 4}),
    ],
)
def test_an_attribute(map_in_map: ObjectSpec, path: tuple[str, str], text: str, changes: Any) -> None:
    changed = with_map_attributes(map_in_map, {path: text})
    assert find(changed, "first") == find(map_in_map, "first")._replace(**changes)
    assert [one for one in changed.maps if one.name != "first"] == [
        one for one in map_in_map.maps if one.name != "first"
    ]


def test_an_attribute_of_an_inner_map(map_in_map: ObjectSpec) -> None:
    changed = find(
        with_map_attributes(map_in_map, {("hash_of_maps.inner", "max_entries"): "99"}), "hash_of_maps"
    )
    before = find(map_in_map, "hash_of_maps")
    assert before.inner is not None
    assert changed == before._replace(inner=before.inner._replace(max_entries=99))


@pytest.mark.parametrize(
    ("path", "text", "message"),
    [
        ("none.max_entries", "1", "map_in_map.bpf.o has no map none: its maps are first, second, array_of_maps, array_of"),
        ("first.inner.max_entries", "1", "map_in_map.bpf.o has no map first.inner: its maps are first, "),
        ("first.key_size", "1", "--map first.key_size=1 is refused: key_size is not one of max_entries, map_flags, numa_node"),
        ("first.max_entries", "many", "--map first.max_entries=many is refused: 'many' is not a whole number"),
        ("first.max_entries", "-1", "--map first.max_entries=-1 is refused: it has to be 0 to 4294967295"),
        ("first.max_entries", "4294967296", "--map first.max_entries=4294967296 is refused: it has to be 0 to 42949"),
    ],
)  # fmt: skip
def test_attributes_that_cannot_be(map_in_map: ObjectSpec, path: str, text: str, message: str) -> None:
    name, _, attribute = path.rpartition(".")
    with pytest.raises(UsageError) as caught:
        with_map_attributes(map_in_map, {(name, attribute): text})
    assert str(caught.value).startswith(message)


def test_an_object_without_maps(map_in_map: ObjectSpec) -> None:
    with pytest.raises(UsageError, match=r"^map_in_map.bpf.o has no map first: it has none$"):
        with_map_attributes(map_in_map._replace(maps=()), {("first", "max_entries"): "1"})
