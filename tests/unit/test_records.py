"""The cheap NamedTuple does what the standard library's does."""

from __future__ import annotations

import copy
import pickle
import typing

import pytest

from structops_cli.records import NamedTuple


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
