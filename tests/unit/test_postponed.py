"""Stand-ins: what they spare, and that nobody is left with one."""

from __future__ import annotations

import inspect
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from structops_cli.postponed import TYPING, StandIn, cleandoc, standing_in
from tests.cli_runner import run_python

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


def test_its_own_names_stay_when_the_real_module_is_loaded() -> None:
    mine = StandIn(NAME, rgb_to_hsv=None)
    with standing_in(mine):
        assert "hsv_to_rgb" not in vars(mine)
        assert mine.hsv_to_rgb
    assert mine.rgb_to_hsv is None


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


# typing

LIBRARY = """
from __future__ import annotations
import abc
from typing import (IO, TYPE_CHECKING, Any, Callable, Final, Generic, Literal, NoReturn, ParamSpec, Protocol, Self,
    SupportsIndex, SupportsInt, TextIO, TypeAlias, TypedDict, TypeVar, Unpack, cast, overload)
P, T, U = ParamSpec("P"), TypeVar("T", bound="Box[Any]"), TypeVar("U", covariant=True)
LIMIT: Final = 3
Answer: TypeAlias = int | T | None | Literal["no"]
Made: TypeAlias = Callable[[T], Any] | IO[str] | list[TextIO | int]
class Box(Generic[T, U], abc.ABC):
    def __class_getitem__(cls, item): return super().__class_getitem__(item)
class Smaller(Box[SupportsInt | SupportsIndex, int]): pass
class Both(Generic[T], Smaller): pass
class Shaped(Protocol[T], Generic[T]): pass
class Keys(TypedDict, total=False):
    key: int
@overload
def twice(number: int) -> int: ...
def twice(number: Any) -> Any: return cast("int", number) * 2
"""
"""What a library does with typing while it is imported."""


def test_a_library_that_only_wants_types_does_without_typing() -> None:
    script = f"""
import sys
from structops_cli.postponed import TYPING
sys.modules["typing"] = TYPING
exec({LIBRARY!r})
assert sys.modules["typing"] is TYPING
assert (twice(2), Keys(key=1), LIMIT, TYPE_CHECKING) == (4, {{"key": 1}}, 3, False)
assert isinstance(Both(), Box) and Both.__mro__.index(Smaller) == 1
from typing import NamedTuple, TypeVar, get_type_hints
class Pair(NamedTuple):
    one: int
assert Pair(1).one == 1
import typing
assert typing is not TYPING and typing.TypeVar is not TypeVar
"""
    result = run_python("-c", script)
    assert result.exit_code == 0, result.stderr


def test_what_stands_for_typing_has_no_name_that_typing_lacks() -> None:
    import typing

    own = set(vars(TYPING)) - {"_own"} - set(vars(StandIn("nothing")))
    assert own
    assert own <= set(vars(typing))
