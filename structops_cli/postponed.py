"""Spare a command the modules that its libraries import and that it never uses.

While a library is imported, stand-ins take the place of what it wants only to
have at hand. Whoever imports the same module later gets the real one.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType

__all__ = ["StandIn", "cleandoc", "standing_in"]


class StandIn(ModuleType):
    """A module with some of its names; asked for another, it loads the real one and becomes like it."""

    def __init__(self, name: str, **names: object) -> None:
        super().__init__(name)
        self.__dict__.update(names)

    def __getattr__(self, name: str) -> object:
        """Load the real module and answer from it."""
        if name.startswith("__"):
            raise AttributeError(name)  # the import system's own questions
        if sys.modules.get(self.__name__) is self:
            del sys.modules[self.__name__]
        real = __import__(self.__name__, fromlist=[name])
        self.__dict__.update(real.__dict__)
        return getattr(real, name)


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
