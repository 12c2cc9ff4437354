"""Compile the objects of live tests: a sound congestion control and its variants."""

from __future__ import annotations

from pathlib import Path

from tests.compile import FLAGS, OBJECTS, compile_object

SOURCE = OBJECTS / "live_ops.bpf.c"


def live_ops(*macros: str, flags: tuple[str, ...] = FLAGS) -> bytes:
    """Return ``live_ops.bpf.c`` compiled with macros, each as ``NAME`` or ``NAME=VALUE``."""
    return compile_object(SOURCE, flags=(*flags, *(f"-D{macro}" for macro in macros)))


def live_ops_file(folder: Path, *macros: str, name: str = "live_ops.bpf.o") -> str:
    """Write an object of ``live_ops`` to a file and return its path."""
    path = folder / name
    path.write_bytes(live_ops(*macros))
    return str(path)
