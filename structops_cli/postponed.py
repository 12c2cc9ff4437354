"""Spare a command the modules that its libraries import and that it never uses.

While a library is imported, stand-ins take the place of what it wants only to
have at hand. Whoever imports the same module later gets the real one.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import ModuleType

__all__ = ["TYPING", "StandIn", "cleandoc", "standing_in"]


class StandIn(ModuleType):
    """A module with some of its names; asked for another, it loads the real one and takes over the rest."""

    def __init__(self, name: str, **names: object) -> None:
        super().__init__(name)
        self._own = names
        self.__dict__.update(names)

    def __getattr__(self, name: str) -> object:
        """Load the real module and answer from it."""
        if name.startswith("__"):
            raise AttributeError(name)  # the import system's own questions
        if sys.modules.get(self.__name__) is self:
            del sys.modules[self.__name__]
        real = __import__(self.__name__, fromlist=[name])
        self.__dict__.update({**real.__dict__, **self._own})  # what was made with its own goes on with them
        return getattr(real, name)


class _Subscripted:
    """The base of a class that has type parameters, with any of which it is itself."""

    __slots__ = ()

    def __class_getitem__(cls, _: object) -> type:
        return cls


class _Unchecked:
    """Something that only a type checker looks at: whatever is done with it, it is itself."""

    def __getitem__(self, _: object) -> _Unchecked:
        return self

    def __or__(self, _: object) -> _Unchecked:
        return self

    __ror__ = __or__

    def __mro_entries__(self, bases: tuple[object, ...]) -> tuple[type, ...]:
        first = next(base for base in bases if isinstance(base, _Unchecked))
        inherited = any(isinstance(base, type) and issubclass(base, _Subscripted) for base in bases)
        return (_Subscripted,) if self is first and not inherited else ()


class _TypedDict(dict[str, object]):
    """What calling a class of typed keys makes: a dictionary."""

    def __init_subclass__(cls, **_: object) -> None:
        """Take ``total`` as well."""


def _unchecked(*_: object, **__: object) -> _Unchecked:
    return _Unchecked()


def _as_it_is(function: object) -> object:
    return function


TYPING = StandIn(
    "typing",
    TYPE_CHECKING=False,
    Callable=Callable,
    ParamSpec=_unchecked,
    TypeVar=_unchecked,
    TypedDict=_TypedDict,
    cast=lambda _, value: value,
    overload=_as_it_is,
    **{
        name: _Unchecked()
        for name in ("Any", "BinaryIO", "Final", "Generic", "IO", "Literal", "NoReturn", "Protocol", "Self",
                     "SupportsFloat", "SupportsIndex", "SupportsInt", "TextIO", "TypeAlias", "Unpack")
    },
)  # fmt: skip
"""What click, pyelftools and this project have of ``typing`` at run time, which is nothing: a quarter of an import of click.

It may stay for good: whoever wants more, and whoever imports ``typing`` after that, gets the real one.
"""


@contextmanager
def standing_in(*modules: StandIn) -> Iterator[None]:
    """Put stand-ins for modules that are not loaded yet in their places, for the block."""
    mine = {module.__name__: module for module in modules if module.__name__ not in sys.modules}
    sys.modules.update(mine)
    try:
        yield
    finally:
        for name, module in mine.items():
            if sys.modules.get(name) is module:
                del sys.modules[name]


def cleandoc(doc: str) -> str:
    """Return a docstring without the indentation that its lines share, as ``inspect.cleandoc`` does."""
    first, *rest = doc.expandtabs().split("\n")
    margin = min((len(line) - len(line.lstrip()) for line in rest if line.strip()), default=0)
    return "\n".join([first.lstrip(), *(line[margin:] for line in rest)]).strip("\n")
