"""Maps defined through BTF: every attribute and every refusal."""

from __future__ import annotations

from typing import Any

import pytest

from structops_cli.btf.types import (
    Array,
    BtfType,
    Enum,
    Enum64,
    Enumerator,
    FuncProto,
    Int,
    Member,
    Ptr,
    Struct,
    Var,
)
from structops_cli.errors import ErrorFields, InputError
from structops_cli.obj.reader import read_object
from structops_cli.obj.spec import MapSlot, MapSpec
from tests.compile import FLAGS, OBJECTS, compile_object
from tests.elf_writers import INIT_PROTO, MAP_STRUCT, U32, VOID_PTR, Rel, small_object

FIRST = 25


def number(type_id: int, value: int) -> tuple[BtfType, BtfType]:
    """Return the two types of ``int (*name)[value]``; the second is the pointer, of the next id."""
    return Array(type_id, U32, U32, value), Ptr(type_id + 1, type_id)


def define(*attributes: tuple[str, BtfType | tuple[BtfType, BtfType]]) -> dict[str, Any]:
    """Return the changes that give the small object's map these attributes; values are made from id FIRST on."""
    more: list[BtfType] = []
    members: list[Member] = []
    for name, made in attributes:
        parts = made if isinstance(made, tuple) and not hasattr(made, "_fields") else (made,)
        more.extend(parts)  # type: ignore[arg-type]  # a NamedTuple is a tuple as well
        members.append(Member(name, more[-1].id, 64 * len(members), 0))
    struct = Struct(MAP_STRUCT, "", 32, tuple(members), False)
    return {"types": {MAP_STRUCT: struct}, "more_types": more}


def the_map(**changes: Any) -> MapSpec:
    (found,) = read_object(small_object(**changes), "x.o").maps
    return found


def refusal(**changes: Any) -> tuple[str, str, ErrorFields]:
    with pytest.raises(InputError) as caught:
        read_object(small_object(**changes), "x.o")
    return str(caught.value), caught.value.hint, caught.value.fields


HASH = ("type", number(FIRST, 1))


@pytest.mark.parametrize(
    ("attribute", "field", "value"),
    [
        (("max_entries", number(27, 7)), "max_entries", 7),
        (("map_flags", number(27, 0x80)), "map_flags", 0x80),
        (("key_size", number(27, 12)), "key_size", 12),
        (("value_size", number(27, 400)), "value_size", 400),
        (("numa_node", number(27, 0)), "numa_node", 0),
        (("map_extra", number(27, 3)), "map_extra", 3),
        (("pinning", number(27, 0)), "pinned_by_name", False),
        (("pinning", number(27, 1)), "pinned_by_name", True),
        (("max_entries", Enum(27, "", 4, False, (Enumerator("___max", 9),))), "max_entries", 9),
        (("map_extra", Enum64(27, "", 8, False, (Enumerator("___extra", 1 << 40),))), "map_extra", 1 << 40),
    ],
)
def test_one_attribute(attribute: Any, field: str, value: Any) -> None:
    expected = MapSpec("t_map", 1, 0, 0, 0, 0, 0, None, 0, 0, False)
    assert the_map(**define(HASH, attribute)) == expected._replace(**{field: value})


def test_key_and_value_by_type() -> None:
    found = the_map(**define(HASH, ("key", Ptr(27, U32)), ("value", Ptr(28, 15))))
    assert (found.key_size, found.key_type_id, found.value_size, found.value_type_id) == (4, U32, 8, 15)


def test_size_and_type_may_say_the_same() -> None:
    found = the_map(**define(HASH, ("key", Ptr(27, U32)), ("key_size", number(28, 4))))
    assert (found.key_size, found.key_type_id) == (4, U32)


def test_an_object_without_maps() -> None:
    data = small_object(
        sections={".maps": None},
        symbols={"t_map": None},
        relocations={("struct_ops/init", 0): {"symbol": "first_limit"}},
    )
    assert read_object(data, "x.o").maps == ()


@pytest.mark.parametrize(
    ("changes", "message", "hint", "member"),
    [
        (
            define(("max_entries", number(FIRST, 1))),
            "map t_map has no type",
            "add __uint(type, BPF_MAP_TYPE_...)",
            "type",
        ),
        (
            define(HASH, ("colour", number(27, 1))),
            (
                "map t_map has an unknown attribute colour: known are type, key_size, value_size, max_entries, map_flags, "
                "map_extra, numa_node, pinning, key, value, values"
            ),
            "",
            "colour",
        ),
        (
            define(HASH, ("max_entries", Ptr(27, U32))),
            "attribute max_entries of map t_map is not a number in its range: it has to be 0 to 4294967295",
            "write it as __uint(max_entries, NUMBER)",
            "max_entries",
        ),
        (
            define(HASH, ("max_entries", Enum(27, "", 4, True, (Enumerator("___max", -1),)))),
            "attribute max_entries of map t_map is not a number in its range: it has to be 0 to 4294967295",
            "write it as __uint(max_entries, NUMBER)",
            "max_entries",
        ),
        (
            define(HASH, ("key", Array(27, U32, U32, 4))),
            "attribute key of map t_map is not a type: it is Array, not a pointer",
            "write it as __type(key, TYPE)",
            "key",
        ),
        (
            define(HASH, ("key", Ptr(27, U32)), ("key_size", number(28, 8))),
            "map t_map contradicts itself: key has 4 bytes, key_size says 8",
            "leave one of them out",
            "key",
        ),
        (
            define(HASH, ("pinning", number(27, 2))),
            "map t_map is pinned in an unknown way: pinning is 2; it can be 0 (not) or 1 (by name)",
            "",
            "pinning",
        ),
    ],
)
def test_definitions_that_are_none(changes: dict[str, Any], message: str, hint: str, member: str) -> None:
    assert refusal(**changes) == (
        f"x.o: {message}",
        hint,
        {"map": "t_map", "section": ".maps", "member": member, "object": "x.o"},
    )


OF_MAPS = ("type", number(FIRST, 12))
PROGRAMS = ("type", number(FIRST, 3))


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        (define(HASH, ("values", Array(27, VOID_PTR, U32, 0))), "a hash holds neither maps nor programs"),
        (
            define(("type", number(FIRST, 99)), ("values", Array(27, VOID_PTR, U32, 0))),
            "a map of type 99 holds neither maps nor programs",
        ),
        (define(OF_MAPS, ("values", Array(27, VOID_PTR, U32, 2))), "they are not an array without a length"),
        (define(OF_MAPS, ("values", Ptr(27, U32))), "they are not an array without a length"),
        (define(OF_MAPS, ("values", Array(27, U32, U32, 0))), "they are Int, not pointers"),
        (
            define(OF_MAPS, ("values", Array(27, 26, U32, 0))),
            "they are pointers to Array, not to the struct of a map",
        ),
        (define(PROGRAMS, ("values", Array(27, 26, U32, 0))), "they are pointers to Array, not to functions"),
        (
            define(OF_MAPS, ("values", Array(27, VOID_PTR, U32, 0)), ("max_entries", number(28, 1))),
            "they must be the last attribute, as their number is open",
        ),
        (
            define(OF_MAPS, ("value_size", number(27, 8)), ("values", Array(29, VOID_PTR, U32, 0))),
            "value_size is 8; a map or program takes 4",
        ),
    ],
)
def test_values_that_make_no_sense(changes: dict[str, Any], why: str) -> None:
    message, hint, fields = refusal(**changes)
    assert message == f"x.o: the values of map t_map are wrong: {why}"
    assert hint.startswith("write them as __array(values, struct { ... })")
    assert fields == {"map": "t_map", "section": ".maps", "member": "values", "object": "x.o"}


def test_a_map_of_maps_of_unknown_shape() -> None:
    message, hint, fields = refusal(**define(OF_MAPS))
    assert message == "x.o: map t_map is incomplete: it holds maps, and values do not define them"
    assert hint == "add __array(values, struct { ... }) with the attributes of the inner maps"
    assert fields["member"] == "values"


def test_maps_of_maps_and_programs_that_a_compiler_made() -> None:
    flags = (*FLAGS, "-DHOLDS=inner_other_init")
    spec = read_object(compile_object(OBJECTS / "map_in_map.bpf.c", flags=flags), "map_in_map.bpf.o")
    by_name = {one.name: one for one in spec.maps}
    array, hashed = by_name["array_of_maps"], by_name["hash_of_maps"]
    first = by_name["first"]
    assert (array.value_size, array.inner) == (4, first._replace(name="array_of_maps.inner"))
    assert array.slots == (MapSlot(0, "first"), MapSlot(2, "second"))
    assert hashed.inner is not None
    assert (hashed.inner.map_type, hashed.inner.max_entries, hashed.inner.map_flags) == (1, 8, 1)
    assert hashed.slots == ()
    assert by_name["with_programs"].slots == (MapSlot(1, "inner_other_init"),)
    assert by_name["with_programs"].inner is None


def test_an_address_in_a_map_without_values() -> None:
    message, hint, fields = refusal(more_relocations=[Rel(".maps", 24, "t_init", 2)])
    assert message == (
        "x.o: map t_map has an address outside of its values: "
        "byte 24 of .maps, relocation type 2, is not an element of values"
    )
    assert hint == "write initial contents as .values = {[INDEX] = &MAP}"
    assert fields == {"map": "t_map", "section": ".maps", "offset": 24, "member": "values", "object": "x.o"}


PROGRAM_ARRAY = define(PROGRAMS, ("values", Array(30, 29, U32, 0)))
PROGRAM_ARRAY["more_types"][2:2] = [FuncProto(27, 0, ()), Int(28, "filler", 4, 0, 0, 32), Ptr(29, 27)]


@pytest.mark.parametrize(
    ("relocation", "message"),
    [
        (Rel(".maps", 8, "t_map", 2), "element 0 of map t_map is of the wrong type: it is map t_map"),
        (Rel(".maps", 16, "count", 2), "element 1 of map t_map is of the wrong type: it is data .bss"),
        (Rel(".maps", 9, "t_init", 2), "map t_map has an address outside of its values: byte 9"),
        (Rel(".maps", 0, "t_init", 2), "map t_map has an address outside of its values: byte 0"),
        (Rel(".maps", 8, "t_init", 3), "map t_map has an address outside of its values: byte 8"),
    ],
)
def test_elements_that_cannot_be(relocation: Rel, message: str) -> None:
    assert refusal(**PROGRAM_ARRAY, more_relocations=[relocation])[0].startswith(f"x.o: {message}")


def test_an_element_that_is_a_program() -> None:
    relocation = Rel(".maps", 16, "t_init", 2)
    assert the_map(**PROGRAM_ARRAY, more_relocations=[relocation]).slots == (MapSlot(1, "t_init"),)


def test_a_map_that_is_no_struct() -> None:
    changes = {"types": {16: Var(16, "t_map", U32, 1)}, "symbols": {"t_map": {"size": 32}}}
    assert refusal(**changes)[0] == (
        "x.o: map t_map is not defined through BTF: "
        "its type is Int; the attributes of a map are members of a struct"
    )


def test_a_key_without_a_size() -> None:
    message, _, fields = refusal(**define(HASH, ("key", Ptr(27, INIT_PROTO))))
    assert message.startswith("x.o .BTF: type 3 has no size")
    assert (fields["map"], fields["section"]) == ("t_map", ".maps")


def test_maps_that_a_compiler_made() -> None:
    spec = read_object(compile_object(OBJECTS / "maps.bpf.c"), "maps.bpf.o")
    assert [(one.name, one.map_type, one.max_entries, one.map_extra) for one in spec.maps] == [
        ("hidden", 2, 1, 0),
        ("hash", 1, 8, 0),
        ("ring", 27, 4096, 0),
        ("arena", 33, 100, 1 << 44),
        ("per_socket", 24, 0, 0),
    ]
    per_socket = spec.maps[4]
    assert (per_socket.map_flags, per_socket.key_size, per_socket.value_size) == (1, 4, 24)
    assert (spec.maps[1].numa_node, spec.maps[2].numa_node) == (1, None)
    assert [one.symbol for one in spec.function("look").relocations] == ["hidden", "hash"]
