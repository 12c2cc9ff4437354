"""SELECTOR: one meaning for each word, and a map's name only where nothing is changed."""

from __future__ import annotations

import pytest

from structops_cli.errors import AmbiguousError, NotFoundError
from structops_cli.runtime.live_map import LiveMap
from structops_cli.runtime.selection import (
    find_each,
    find_one,
    find_to_change,
    maps_to_change,
    matching,
    no_match,
)
from tests.unit.operations.live_maps import live

MAP_NAME = live(1, "registered", 1).info.name


def ids(found: tuple[LiveMap, ...]) -> list[int]:
    return [item.info.id for item in found]


def test_digits_are_a_name_and_never_an_id() -> None:
    stock = (live(7, "registered", 1, name="12"), live(12, "registered", 1, name="t_b"))
    assert find_one(stock, "12").info.id == find_to_change(stock, "12").info.id == 7
    assert find_one(stock, "id:12").info.id == find_to_change(stock, "id:12").info.id == 12
    assert matching(stock[1:], "12") == maps_to_change(stock[1:], "12") == ()


def test_digits_that_name_nothing_lead_to_the_id() -> None:
    assert "id:12" not in no_match((), "12").hint
    for find in (find_one, find_to_change):
        with pytest.raises(NotFoundError) as caught:
            find((live(12, "registered", 1),), "12")
        assert caught.value.hint == "for the map with that id write id:12"


@pytest.mark.parametrize("selector", ["id:", "id:x", "id:13", "id:-1", "id:07", "id:7 "])
def test_an_id_that_is_none(selector: str) -> None:
    stock = (live(7, "registered", 1, name="x"),)
    with pytest.raises(NotFoundError) as caught:
        find_one(stock, selector)
    assert caught.value.why == "no struct_ops map has that id"


def test_a_map_name_stands_in_for_no_registered_name() -> None:
    stock = (live(7, "registered", 1, name=MAP_NAME), live(8, "registered", 1, name="t_b"))
    assert ids(matching(stock, MAP_NAME)) == ids(maps_to_change(stock, MAP_NAME)) == [7]
    left = stock[1:]
    assert ids(matching(left, MAP_NAME)) == [8]
    assert maps_to_change(left, MAP_NAME) == ()
    with pytest.raises(NotFoundError) as caught:
        find_to_change(left, MAP_NAME)
    assert caught.value.what == f"no struct_ops is registered as {MAP_NAME}"
    assert caught.value.why == "map id:8 is called so, and is of t_b (registered)"
    assert caught.value.hint == "name t_b, or select by id: id:8"


def test_the_kernels_own_algorithm_is_named_as_one() -> None:
    with pytest.raises(NotFoundError) as caught:
        find_to_change((), "reno")
    assert caught.value.what == "reno is one of the kernel's own algorithms, which stay as they are"


def test_a_registered_map_wins_and_two_are_ambiguous() -> None:
    stock = (live(7, "retired", 1), live(8, "ready", 1), live(9, "registered", 1))
    assert find_to_change(stock, "t_a").info.id == 9
    assert find_to_change(stock[:2], "t_a").info.id == 8
    for find in (find_one, find_to_change):
        with pytest.raises(AmbiguousError):
            find((*stock, live(10, "registered", 1)), "t_a")


def test_several_selectors_give_each_map_once_in_their_order() -> None:
    stock = (live(7, "registered", 1), live(8, "registered", 1, name="t_b"))
    assert ids(find_each(stock, ["t_b", "id:7", "t_a", "id:8"])) == [8, 7]
    with pytest.raises(NotFoundError):
        find_each(stock, ["t_b", "t_nobody"])
