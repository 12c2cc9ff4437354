"""The objects that bpftool and structops both load: one line each.

An object of ``tests/objects`` is named by its file, a bundled one by the
name under which it is shipped.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from structops_cli.runtime.objects import object_path
from tests.compile import FLAGS, OBJECTS, compile_object

__all__ = ["LOADED_BY_BOTH", "ONLY_BY_STRUCTOPS", "Subject"]


class Subject(NamedTuple):
    """One object to load twice. ``registers`` is False for a type that only ever is loaded."""

    name: str
    macros: tuple[str, ...] = ()
    registers: bool = True

    def __str__(self) -> str:
        """Return what names the test."""
        return "-".join((self.name, *self.macros))

    def read(self, *, clang: str = "clang-19", flags: tuple[str, ...] = FLAGS) -> bytes:
        """Return the object's bytes."""
        source = OBJECTS / f"{self.name}.bpf.c"
        if not source.exists():
            return Path(object_path(self.name)).read_bytes()
        return compile_object(source, clang=clang, flags=(*flags, *(f"-D{macro}" for macro in self.macros)))

    def write(self, folder: Path) -> Path:
        """Write the object to a file of a folder, under the name that it would have, and return its path."""
        path = folder / f"{self.name}.bpf.o"
        path.write_bytes(self.read())
        return path


LOADED_BY_BOTH = (
    Subject("reno"),
    Subject("cubic"),
    Subject("aimd"),
    Subject("live_maps"),
    Subject("map_in_map"),
    Subject("arena"),
)

ONLY_BY_STRUCTOPS = (
    # a program that no variable refers to
    Subject("live_ops"),
    # a function for a member that this kernel lacks
    Subject("live_ops", ("UNKNOWN_MEMBER=0",)),
)
"""bpftool has to refuse them: an object that it loads belongs to the other list."""
