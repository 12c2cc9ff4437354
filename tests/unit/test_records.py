"""The cheap NamedTuple and IntEnum do what the standard library's do."""

from __future__ import annotations

import copy
import enum
import pickle
import typing

import pytest

from structops_cli.records import IntEnum, NamedTuple


class Point(NamedTuple):
    """Where."""

    x: int
    y: int = 2

    def sum(self) -> int:
        return self.x + self.y


class Standard(typing.NamedTuple):
    """The same, by the standard library."""

    x: int
    y: int = 2


def test_it_takes_fields_by_position_by_name_and_by_default() -> None:
    assert Point(1, 3) == Point(x=1, y=3) == Point(1, y=3) == (1, 3)
    assert Point(1) == (1, 2)
    assert Point(5).sum() == 7
    assert Point._make([4, 5]) == (4, 5)


@pytest.mark.parametrize(
    ("args", "kwargs"), [((), {}), ((1, 2, 3), {}), ((1,), {"z": 1}), ((1,), {"x": 1}), ((), {"y": 1})]
)
def test_it_refuses_what_the_standard_one_refuses(args: tuple[int, ...], kwargs: dict[str, int]) -> None:
    for kind in (Point, Standard):
        with pytest.raises(TypeError):
            kind(*args, **kwargs)


def test_it_looks_like_the_standard_one() -> None:
    one, other = Point(1, 3), Standard(1, 3)
    assert repr(one) == repr(other).replace("Standard", "Point")
    assert one._asdict() == other._asdict()
    assert tuple(one._replace(y=9)) == tuple(other._replace(y=9))
    assert (Point._fields, Point._field_defaults) == (Standard._fields, Standard._field_defaults)
    assert hash(one) == hash(other)
    assert Point.__doc__ == "Where."


def test_it_is_immutable_and_has_no_dict() -> None:
    with pytest.raises(AttributeError):
        Point(1).x = 2  # type: ignore[misc]  # the point of the test
    with pytest.raises(AttributeError):
        Point(1).z = 2  # type: ignore[attr-defined]  # the same
    assert not hasattr(Point(1), "__dict__")


def test_it_is_matched_copied_and_pickled() -> None:
    match Point(1, 3):
        case Point(x, 3):
            assert x == 1
    assert copy.deepcopy(Point(1, 3)) == Point(1, 3)
    assert type(pickle.loads(pickle.dumps(Point(1, 3)))) is Point


class Color(IntEnum):
    """A colour."""

    RED = 1
    BLUE = 2


class StandardColor(enum.IntEnum):
    """The same, by the standard library."""

    RED = 1
    BLUE = 2


def test_an_enum_looks_like_the_standard_one() -> None:
    for mine, other in zip(Color, StandardColor, strict=True):
        assert (mine.name, mine.value, int(mine), str(mine), f"{mine:x}") == (
            other.name, other.value, int(other), str(other), f"{other:x}",
        )  # fmt: skip
        assert repr(mine) == repr(other).replace("Standard", "")
        assert hash(mine) == hash(other)
    assert len(Color) == 2
    assert Color.__doc__ == "A colour."
    assert list(Color.__members__) == list(StandardColor.__members__)


def test_a_member_is_found_by_number_and_is_the_same_object() -> None:
    assert Color(2) is Color.BLUE
    assert Color(Color.RED) is Color.RED
    assert Color.RED in Color
    assert {Color.RED: "x"}[1] == "x"  # type: ignore[index]  # an IntEnum is an int
    with pytest.raises(ValueError, match="3 is not a valid Color"):
        Color(3)


def test_a_member_is_copied_pickled_and_matched() -> None:
    assert copy.deepcopy(Color.RED) is Color.RED
    assert pickle.loads(pickle.dumps(Color.BLUE)) is Color.BLUE
    match Color(1):
        case Color.BLUE:
            pytest.fail("matched the wrong member")
        case Color.RED:
            pass


def test_what_a_class_body_has_of_its_own_is_no_member() -> None:
    """Python 3.13 puts ``__firstlineno__`` into it."""
    made = type(IntEnum)("Made", (IntEnum,), {"__firstlineno__": 7, "ONE": 1})  # type: ignore[misc]
    assert list(made) == [1]
    with pytest.raises(ValueError, match="7 is not a valid Made"):
        made(7)
