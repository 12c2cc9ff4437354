"""Maps defined through BTF: every attribute, and every way of not being one."""

from __future__ import annotations

from typing import Any

import pytest

from structops_cli.btf.types import Array, BtfType, Enum, Enum64, Enumerator, Member, Ptr, Struct, Var
from structops_cli.errors import ErrorFields, InputError
from structops_cli.obj.reader import read_object
from structops_cli.obj.spec import MapSpec
from tests.compile import OBJECTS, compile_object
from tests.elf_writers import INIT_PROTO, MAP_STRUCT, U32, small_object

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
            "attribute max_entries of map t_map is no number of its range: it has to be 0 to 4294967295",
            "write it as __uint(max_entries, NUMBER)",
            "max_entries",
        ),
        (
            define(HASH, ("max_entries", Enum(27, "", 4, True, (Enumerator("___max", -1),)))),
            "attribute max_entries of map t_map is no number of its range: it has to be 0 to 4294967295",
            "write it as __uint(max_entries, NUMBER)",
            "max_entries",
        ),
        (
            define(HASH, ("key", Array(27, U32, U32, 4))),
            "attribute key of map t_map is no type: it is Array, no pointer",
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
