"""List the objects that bpftool and structops both load.

An object of ``tests/objects`` has the name of its file, a bundled one its own name.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from structops_cli.btf.types import Const
from structops_cli.obj.reader import read_object
from structops_cli.runtime.objects import object_path
from tests.compile import FLAGS, GCC, NEWEST, OBJECTS, compile_object, link, strip

__all__ = ["LOADED_BY_BOTH", "ONLY_BY_STRUCTOPS", "Build", "Subject", "has_const_root"]


class Build(NamedTuple):
    """Compiler, flags, and a function that processes the compiled object."""

    clang: str = "clang-19"
    flags: tuple[str, ...] = FLAGS
    after: Callable[[bytes], bytes] | None = None

    def __str__(self) -> str:
        """Return the name of the test."""
        return " ".join((self.clang, *self.flags, *([self.after.__name__] if self.after else [])))


class Subject(NamedTuple):
    """One object to load twice.

    ``registers`` is False for a type that is only loaded. ``poisons`` marks relocations
    that no kernel can satisfy, in unreachable code. ``builds`` come in addition to the
    usual one. The static linker joins ``parts`` with the object.
    """

    name: str
    macros: tuple[str, ...] = ()
    registers: bool = True
    poisons: bool = False
    builds: tuple[Build, ...] = ()
    parts: tuple[str, ...] = ()

    def __str__(self) -> str:
        """Return the name of the test."""
        return "-".join((self.name, *self.macros))

    def read(self, build: Build = Build()) -> bytes:  # noqa: B008 -- immutable
        """Return the object's bytes."""
        source = OBJECTS / f"{self.name}.bpf.c"
        if not source.exists():
            return Path(object_path(self.name)).read_bytes()
        flags = (*build.flags, *(f"-D{macro}" for macro in self.macros))
        sources = (source, *(OBJECTS / f"{part}.bpf.c" for part in self.parts))
        compiled = [compile_object(one, clang=build.clang, flags=flags) for one in sources]
        data = link(*compiled) if self.parts else compiled[0]
        return build.after(data) if build.after else data

    def write(self, folder: Path, build: Build = Build()) -> Path:  # noqa: B008 -- immutable
        """Write the object to a folder, under its usual name, and return its path."""
        path = folder / f"{self.name}.bpf.o"
        path.write_bytes(self.read(build))
        return path


CURRENT = (
    *(Build(flags=("-O2", "-g", f"-mcpu=v{version}")) for version in (1, 2, 4)),
    Build(flags=("-O1", "-g", "-mcpu=v3")),
    Build(after=strip),
    Build(after=link),
)
"""A present compiler: other instruction sets, less optimised, no DWARF, static linker."""
OLD = (Build("clang-11"), Build("clang-11", ("-O2", "-g", "-mcpu=v2")), Build("clang-11", after=link))
"""LLVM 11: the loader fills in BTF offsets; pointers in data are R_BPF_64_64."""
OLDEST = (Build("clang-9", (*FLAGS, "-fno-common")),)
"""LLVM 9: no CO-RE, functions without linkage in BTF, .BTF.ext with a longer header."""
UP_TO_15 = tuple(Build(clang) for clang in ("clang-13", "clang-14", "clang-15"))
"""Their BTF lists small constants in .rodata, and lacks offsets that libbpf can compute."""
LATER = (Build("clang-16"), Build(NEWEST), Build(NEWEST, ("-O2", "-g", "-mcpu=v4")))
BY_GCC = (Build(GCC, (*FLAGS, "-std=gnu11")),)
"""GCC: a different .BTF.ext, constants in one .rodata, no DATASEC for omitted variables."""
OTHERS = (*UP_TO_15, *LATER, *BY_GCC)

LOADED_BY_BOTH = (
    Subject("reno"),
    Subject("cubic"),
    Subject("aimd"),
    Subject("live_ops"),
    Subject("live_maps", builds=(*CURRENT, *OLD, *OLDEST, *OTHERS)),
    # libbpf attaches a syscall wrapper with a kprobe, and fails on a kernel without kprobes
    Subject("kernel_symbols", ("NO_WRAPPER",)),
    Subject("exceptions"),
    # without program arrays: opening one by id and closing it twice in a moment leaks a reference
    # if no other process has it open (prog_array_map_clear)
    Subject("map_in_map", ("COMPARED",)),
    Subject("arena"),
    Subject("every_map", ("COMPARED",)),
    Subject("managed_fields"),
    Subject("habits_constants", builds=(*LATER, *BY_GCC)),
    Subject("habits_constants", ("ALONE",), builds=(*LATER, *BY_GCC)),
    Subject("habits_tunables", builds=(*CURRENT, *OLD, *OLDEST, *OTHERS)),
    # libbpf's linker does not support section addresses in data
    Subject("habits_addresses", builds=tuple(b for b in (*CURRENT, *OLD, *OLDEST) if b.after is not link)),
    Subject("habits_ecn", builds=(*CURRENT, *OLD, *OTHERS), poisons=True),
    Subject("habits_helpers", builds=(*CURRENT, *OLD, *OTHERS)),
    Subject("habits_linked", parts=("habits_linked_more",), builds=(*CURRENT, *OLD)),
    Subject(
        "habits_odd", builds=(Build(flags=(*FLAGS, "-fdata-sections")), *CURRENT, *OLD, *OLDEST, *OTHERS)
    ),
    Subject("habits_types"),
    Subject("habits_dummy", registers=False, builds=OLD),
)

ONLY_BY_STRUCTOPS = (
    # libbpf's linker writes a wrong BTF offset for a map of another file that is not the first one
    Subject("habits_linked", ("SHARED_THERE",), parts=("habits_linked_more",)),
    Subject("habits_odd", ("STATIC_MAP",)),
    Subject("habits_odd", ("STATIC_SUBPROGRAM",)),
    # a function for a member that this kernel lacks
    Subject("live_ops", ("UNKNOWN_MEMBER=0",)),
    # every kernel refuses this BTF as the compiler writes it
    Subject("new_btf"),
    # programs of other types, one of them not for this kernel
    Subject("mixed"),
    # constants that BTF lists in a section where they are not; the section may be missing
    Subject("habits_constants", builds=(Build("clang-11"), *UP_TO_15)),
    Subject("habits_constants", ("ALONE",), builds=UP_TO_15),
)
"""bpftool must refuse them: an object that it loads belongs to the other list."""


def has_const_root(data: bytes) -> bool:
    """Tell whether a CO-RE relocation of an object begins at a const type.

    GCC 14 writes them: it uses const struct sock for a struct that begins with one.
    GCC 16 does not.
    """
    spec = read_object(data, "")
    relocations = (one for function in spec.functions for one in function.core_relos)
    return any(isinstance(spec.btf.type(one.type_id), Const) for one in relocations)
