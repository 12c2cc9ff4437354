"""The options that change an object become values."""

from __future__ import annotations

import pytest

from structops_cli.cli.changes import constants_from, map_attributes_from, open_changed, selection_from
from structops_cli.errors import UsageError


def test_members_have_a_variable_or_none() -> None:
    selection = selection_from(("a",), True, ("a.name=t_x", "start=1", ".x=2"), ("b",))
    assert (selection.only, selection.link, selection.also) == (("a",), True, ("b",))
    assert selection.members == {("a", "name"): "t_x", ("", "start"): "1", ("", ".x"): "2"}


def test_constants_and_attributes() -> None:
    assert constants_from(["a=1=2", "b="]) == {"a": "1=2", "b": ""}
    assert map_attributes_from(["m.inner.max_entries=4"]) == {("m.inner", "max_entries"): "4"}


@pytest.mark.parametrize("text", ["a", "=1", ""])
def test_a_change_without_a_name_or_a_value(text: str) -> None:
    with pytest.raises(UsageError):
        constants_from([text])


def test_an_attribute_without_a_map() -> None:
    with pytest.raises(UsageError, match="names no attribute"):
        map_attributes_from(["max_entries=4"])


def test_an_object_is_opened_with_its_changes() -> None:
    assert open_changed("reno", (), ()).name == "reno.bpf.o"
    with pytest.raises(UsageError):
        open_changed("reno", ("no_such_constant=1",), ())
