"""The three comparisons of a local type with a kernel's type."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from structops_cli.btf.layout import resolve
from structops_cli.btf.types import Int, Ptr
from structops_cli.core.compatibility import MAX_NESTING, fields_compatible, types_compatible, types_match
from structops_cli.errors import RelocationError
from tests.unit.core.worlds import World, at

Make = Callable[[World], int]

SHAPES: dict[str, Make] = {
    "void": lambda w: w.const(0),
    "int": lambda w: w.signed("int", 4),
    "u8": lambda w: w.integer("unsigned char", 1),
    "u64": lambda w: w.integer("unsigned long", 8),
    "typedef of u64": lambda w: w.typedef("u64", w.const(w.integer("unsigned long", 8))),
    "old int": lambda w: w.add(lambda i: Int(i, "bits", 4, 0, 3, 5)),
    "double": lambda w: w.floating("double", 8),
    "ptr to int": lambda w: w.ptr(w.signed("int", 4)),
    "ptr to void": lambda w: w.ptr(),
    "ptr to struct a": lambda w: w.ptr(w.struct("a", 4, at("x", w.signed("int", 4), 0))),
    "struct a": lambda w: w.struct("a", 4, at("x", w.signed("int", 4), 0)),
    "struct b": lambda w: w.struct("b", 1),
    "union a": lambda w: w.union("a", 4, at("x", w.signed("int", 4), 0)),
    "fwd a": lambda w: w.fwd("a"),
    "fwd a___old": lambda w: w.fwd("a___old"),
    "enum e": lambda w: w.enum("e", A=1),
    "enum e___old": lambda w: w.enum("e___old", B=1),
    "enum f": lambda w: w.enum("f", A=1),
    "no-name enum": lambda w: w.enum("", A=1),
    "enum64 e": lambda w: w.enum64("e", A=1),
    "array of int": lambda w: w.array(w.signed("int", 4), 3),
    "array of array of u8": lambda w: w.array(w.array(w.integer("unsigned char", 1), 2), 5),
    "array of array of int": lambda w: w.array(w.array(w.signed("int", 4), 1), 0),
    "array of struct": lambda w: w.array(w.struct("a", 4), 3),
    "function": lambda w: w.proto(0),
}


def pair(ours: str, theirs: str) -> tuple[World, int, World, int]:
    local, target = World(), World()
    return local, SHAPES[ours](local), target, SHAPES[theirs](target)


@pytest.mark.parametrize(
    ("ours", "theirs", "compatible"),
    [
        ("int", "u64", True),
        ("int", "typedef of u64", True),
        ("int", "double", False),
        ("int", "ptr to int", False),
        ("int", "old int", False),
        ("old int", "old int", False),
        ("int", "enum e", False),
        ("double", "double", True),
        ("ptr to int", "ptr to struct a", True),
        ("ptr to int", "u64", False),
        ("struct a", "struct b", True),
        ("struct a", "union a", True),
        ("struct a", "fwd a", False),
        ("struct a", "int", False),
        ("fwd a", "fwd a___old", True),
        ("enum e", "enum e___old", True),
        ("enum e", "enum64 e", True),
        ("enum e", "enum f", False),
        ("enum f", "no-name enum", True),
        ("enum e", "int", False),
        ("array of int", "int", False),
        ("array of int", "array of array of int", False),
        ("array of array of u8", "array of array of int", True),
        ("array of int", "array of struct", False),
        ("function", "function", False),
    ],
)
def test_fields_are_compatible(ours: str, theirs: str, compatible: bool) -> None:
    local, local_id, target, target_id = pair(ours, theirs)
    ours_btf, theirs_btf = local.btf("object"), target.btf()
    one, other = resolve(ours_btf, local_id), resolve(theirs_btf, target_id)
    assert fields_compatible(ours_btf, one, theirs_btf, other) is compatible
    assert fields_compatible(theirs_btf, other, ours_btf, one) is compatible


@pytest.mark.parametrize(
    ("ours", "theirs", "compatible"),
    [
        ("int", "u64", True),
        ("old int", "old int", False),
        ("struct a", "struct b", True),
        ("struct a", "union a", False),
        ("struct a", "fwd a", False),
        ("fwd a", "fwd a", True),
        ("enum e", "enum64 e", True),
        ("enum e", "enum f", True),
        ("enum e", "int", False),
        ("ptr to int", "ptr to int", True),
        ("ptr to int", "ptr to struct a", False),
        ("ptr to void", "ptr to void", True),
        ("ptr to void", "ptr to int", False),
        ("array of int", "array of array of int", False),
        ("array of array of u8", "array of array of int", True),
        ("double", "double", False),
    ],
)
def test_types_are_compatible(ours: str, theirs: str, compatible: bool) -> None:
    local, local_id, target, target_id = pair(ours, theirs)
    assert types_compatible(local.btf("object"), local_id, target.btf(), target_id) is compatible


def proto(w: World, *params: str, returns: str = "int") -> int:
    return w.ptr(w.proto(SHAPES[returns](w), *[SHAPES[param](w) for param in params]))


def test_prototypes_are_compatible_argument_by_argument() -> None:
    local, target = World(), World()
    same = proto(local, "int", "struct a"), proto(target, "u64", "struct b")
    shorter = proto(target, "u64")
    other = proto(target, "u64", "ptr to int")
    returns = proto(target, "u64", "struct b", returns="ptr to int")
    ours, theirs = local.btf("object"), target.btf()
    assert types_compatible(ours, same[0], theirs, same[1])
    for different in (shorter, other, returns):
        assert not types_compatible(ours, same[0], theirs, different)


@pytest.mark.parametrize(
    ("ours", "theirs", "match"),
    [
        ("int", "int", True),
        ("int", "u64", False),
        ("u64", "typedef of u64", True),
        ("ptr to int", "ptr to int", True),
        ("ptr to void", "ptr to void", True),
        ("ptr to int", "ptr to void", False),
        ("struct a", "struct a", True),
        ("struct a", "struct b", False),
        ("struct a", "union a", False),
        ("struct a", "fwd a", False),
        ("fwd a", "fwd a___old", True),
        ("enum e", "enum e", True),
        ("enum e", "enum e___old", False),
        ("enum e", "enum64 e", False),
        ("enum64 e", "enum64 e", True),
        ("array of int", "array of int", True),
        ("array of array of u8", "array of array of int", False),
        ("double", "double", False),
    ],
)
def test_types_match(ours: str, theirs: str, match: bool) -> None:
    local, local_id, target, target_id = pair(ours, theirs)
    assert types_match(local.btf("object"), local_id, target.btf(), target_id) is match


def match_structs(ours: Make, theirs: Make) -> bool:
    local, target = World(), World()
    local_id, target_id = ours(local), theirs(target)
    return types_match(local.btf("object"), local_id, target.btf(), target_id)


def test_the_target_may_have_more_members_in_another_order() -> None:
    def ours(w: World) -> int:
        i = w.signed("int", 4)
        return w.struct("s", 8, at("a", i, 0), at("b", w.ptr(i), 4))

    def theirs(w: World) -> int:
        i = w.signed("int", 4)
        return w.struct(
            "s", 40, at("new", i, 0), at("b", w.ptr(w.const(i)), 8), at("a", w.typedef("s32", i), 32)
        )

    assert match_structs(ours, theirs)
    assert not match_structs(theirs, ours)


def test_a_member_of_another_size_or_sign_does_not_match() -> None:
    def member(size: int, encoding: int) -> Make:
        return lambda w: w.struct("s", 8, at("a", w.integer("int", size, encoding), 0))

    assert match_structs(member(4, 1), member(4, 1))
    assert not match_structs(member(4, 1), member(8, 1))
    assert not match_structs(member(4, 1), member(4, 0))


def test_integers_match_by_name_too() -> None:
    """As with libbpf: what clang and gcc call the same integer differs, and the names are compared."""
    assert not match_structs(
        lambda w: w.struct("s", 8, at("a", w.integer("unsigned long", 8), 0)),
        lambda w: w.struct("s", 8, at("a", w.integer("long unsigned int", 8), 0)),
    )


def test_behind_a_pointer_kind_and_name_suffice() -> None:
    def through_pointer(make: Make) -> Make:
        return lambda w: w.struct("s", 8, at("p", w.ptr(make(w)), 0))

    full, empty = through_pointer(SHAPES["struct a"]), through_pointer(lambda w: w.struct("a", 0))
    declared = through_pointer(SHAPES["fwd a"])
    assert match_structs(full, empty)
    assert match_structs(full, declared)
    assert match_structs(declared, full)
    assert not match_structs(declared, through_pointer(SHAPES["union a"]))
    assert not match_structs(full, through_pointer(lambda w: w.fwd("a", is_union=True)))
    assert not match_structs(full, through_pointer(SHAPES["struct b"]))


def test_an_anonymous_member_may_be_any_anonymous_one() -> None:
    def with_unions(*names: str) -> Make:
        def make(w: World) -> int:
            i = w.signed("int", 4)
            return w.struct(
                "s", 32, *(at("", w.union("", 4, at(name, i, 0)), 8 * n) for n, name in enumerate(names))
            )

        return make

    assert match_structs(with_unions("b"), with_unions("a", "b"))
    assert not match_structs(with_unions("c"), with_unions("a", "b"))


def test_enumerators_match_by_name_whatever_their_value() -> None:
    def enum(size: int, **values: int) -> Make:
        return lambda w: w.enum("e", size, signed=False, **values)

    assert match_structs(enum(4, A=1), enum(4, B=5, A=2))
    assert match_structs(enum(4, A=1), enum(4, A___old=1))
    assert not match_structs(enum(4, A=1, B=2), enum(4, A=1))
    assert not match_structs(enum(4, A=1), enum(1, A=1))
    assert match_structs(lambda w: w.enum("e", 8, A=1), lambda w: w.enum64("e", A=1, B=1 << 40))


def test_function_pointers_match_argument_by_argument() -> None:
    def ops(*params: str, returns: str = "int") -> Make:
        return lambda w: w.struct("ops", 8, at("f", proto(w, *params, returns=returns), 0))

    assert match_structs(ops("ptr to struct a", "u64"), ops("ptr to struct a", "u64"))
    assert not match_structs(ops("ptr to struct a", "u64"), ops("ptr to struct a"))
    assert not match_structs(ops("ptr to struct a", "u64"), ops("ptr to struct a", "u8"))
    assert not match_structs(ops("int"), ops("int", returns="void"))


def endless(w: World) -> int:
    """Return a prototype whose argument is a pointer to itself, which no C declares."""
    first = w.add(lambda i: Ptr(i, i + 1))
    w.proto(0, first, first)
    return first


def test_types_that_run_in_a_circle_end_in_an_error() -> None:
    local, target = World(), World()
    ours, theirs = endless(local), endless(target)
    for compare in (types_compatible, types_match):
        with pytest.raises(RelocationError, match=str(MAX_NESTING)):
            compare(local.btf("object"), ours, target.btf(), theirs)


def test_shared_parts_are_compared_once() -> None:
    """Each struct holds the one before it twice: 2 to the 40th comparisons if nothing were remembered."""

    def tower(w: World) -> int:
        level = w.struct("l", 0)
        for _ in range(40):
            level = w.struct("l", 0, at("a", level, 0), at("b", level, 0))
        return level

    assert match_structs(tower, tower)
