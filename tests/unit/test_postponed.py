"""Stand-ins: what they spare, and that nobody is left with one."""

from __future__ import annotations

import inspect
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from structops_cli.postponed import StandIn, cleandoc, standing_in

NAME = "colorsys"
"""A module of Python's that nothing here imports."""


@pytest.fixture(autouse=True)
def _not_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, NAME, raising=False)


def test_a_stand_in_answers_what_it_has_and_loads_nothing() -> None:
    with standing_in(StandIn(NAME, ONE=1)):
        from colorsys import ONE  # type: ignore[attr-defined]
    assert ONE == 1
    assert NAME not in sys.modules


def test_the_real_module_is_loaded_for_anything_else() -> None:
    mine = StandIn(NAME, ONE=1)
    with standing_in(mine):
        from colorsys import rgb_to_hsv
    assert rgb_to_hsv(0, 0, 0) == (0, 0, 0)
    assert mine.ONE == 1
    assert sys.modules[NAME] is not mine
    assert mine.rgb_to_hls is sys.modules[NAME].__dict__["rgb_to_hls"]


def test_who_imports_it_later_gets_the_real_one() -> None:
    with standing_in(StandIn(NAME)):
        pass
    import colorsys

    assert not isinstance(colorsys, StandIn)


def test_a_module_that_is_loaded_stays() -> None:
    import colorsys

    with standing_in(StandIn(NAME)):
        assert sys.modules[NAME] is colorsys
    assert sys.modules[NAME] is colorsys


def test_a_name_that_the_real_module_lacks() -> None:
    with standing_in(StandIn(NAME)), pytest.raises(ImportError):
        from colorsys import nothing  # type: ignore[attr-defined]  # noqa: F401


@settings(derandomize=True, max_examples=300)
@given(st.text(alphabet="ab \t\n", max_size=40))
def test_cleandoc_is_that_of_inspect(doc: str) -> None:
    assert cleandoc(doc) == inspect.cleandoc(doc)
