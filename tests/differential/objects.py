"""The objects that bpftool and structops both load: one line each.

An object of ``tests/objects`` is named by its file, a bundled one by the
name under which it is shipped.
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
    """How an object is made of its source: compiler and flags, and what is done to it afterwards."""

    clang: str = "clang-19"
    flags: tuple[str, ...] = FLAGS
    after: Callable[[bytes], bytes] | None = None

    def __str__(self) -> str:
        """Return what names the test."""
        return " ".join((self.clang, *self.flags, *([self.after.__name__] if self.after else [])))


class Subject(NamedTuple):
    """One object to load twice.

    ``registers`` is False for a type that only ever is loaded; ``poisons`` says
    that it has relocations that no kernel can satisfy, in code that is never
    reached; ``builds`` are those to try besides the usual one; ``parts`` are
    files that the static linker joins with it.
    """

    name: str
    macros: tuple[str, ...] = ()
    registers: bool = True
    poisons: bool = False
    builds: tuple[Build, ...] = ()
    parts: tuple[str, ...] = ()

    def __str__(self) -> str:
        """Return what names the test."""
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
        """Write the object to a file of a folder, under the name that it would have, and return its path."""
        path = folder / f"{self.name}.bpf.o"
        path.write_bytes(self.read(build))
        return path


CURRENT = (
    *(Build(flags=("-O2", "-g", f"-mcpu=v{version}")) for version in (1, 2, 4)),
    Build(flags=("-O1", "-g", "-mcpu=v3")),
    Build(after=strip),
    Build(after=link),
)
"""A present compiler's instruction sets, less optimised, without DWARF, and through the static linker."""
OLD = (Build("clang-11"), Build("clang-11", ("-O2", "-g", "-mcpu=v2")), Build("clang-11", after=link))
"""LLVM 11: offsets in BTF that the loader fills in, pointers in data as R_BPF_64_64."""
OLDEST = (Build("clang-9", (*FLAGS, "-fno-common")),)
"""LLVM 9: no CO-RE, functions without linkage in BTF, .BTF.ext with a longer header."""
UP_TO_15 = tuple(Build(clang) for clang in ("clang-13", "clang-14", "clang-15"))
"""Their BTF lists small constants in .rodata, and has no places of static variables that libbpf could do without."""
LATER = (Build("clang-16"), Build(NEWEST), Build(NEWEST, ("-O2", "-g", "-mcpu=v4")))
BY_GCC = (Build(GCC, (*FLAGS, "-std=gnu11")),)
"""GCC: a .BTF.ext of its own making, constants in one .rodata, no DATASEC for what it leaves out."""
OTHERS = (*UP_TO_15, *LATER, *BY_GCC)

LOADED_BY_BOTH = (
    Subject("reno"),
    Subject("cubic"),
    Subject("aimd"),
    Subject("live_ops"),
    Subject("live_maps", builds=(*CURRENT, *OLD, *OLDEST, *OTHERS)),
    # libbpf asks for a syscall wrapper by means of a kprobe, and says no on a kernel without kprobes
    Subject("kernel_symbols", ("NO_WRAPPER",)),
    Subject("exceptions"),
    # without program arrays: the kernel forgets a reference of one that is opened by id and closed twice in a moment
    # while nobody else has it open (prog_array_map_clear), and such a map is left for good
    Subject("map_in_map", ("COMPARED",)),
    Subject("arena"),
    Subject("every_map", ("COMPARED",)),
    Subject("managed_fields"),
    Subject("habits_constants", builds=(*LATER, *BY_GCC)),
    Subject("habits_constants", ("ALONE",), builds=(*LATER, *BY_GCC)),
    Subject("habits_tunables", builds=(*CURRENT, *OLD, *OLDEST, *OTHERS)),
    # libbpf's linker takes no addresses of sections in data
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
    # libbpf's linker leaves a wrong offset in BTF, for a map that another file defines and that is not the first
    Subject("habits_linked", ("SHARED_THERE",), parts=("habits_linked_more",)),
    Subject("habits_odd", ("STATIC_MAP",)),
    Subject("habits_odd", ("STATIC_SUBPROGRAM",)),
    # a function for a member that this kernel lacks
    Subject("live_ops", ("UNKNOWN_MEMBER=0",)),
    # BTF that no kernel takes as the compiler writes it
    Subject("new_btf"),
    # programs of other types, among them one that is not for this kernel
    Subject("mixed"),
    # constants that BTF lists in a section that they are not in, and that may not be there
    Subject("habits_constants", builds=(Build("clang-11"), *UP_TO_15)),
    Subject("habits_constants", ("ALONE",), builds=UP_TO_15),
)
"""bpftool has to refuse them: an object that it loads belongs to the other list."""


def has_const_root(data: bytes) -> bool:
    """Tell whether a CO-RE relocation of an object begins at a const type.

    GCC 14 writes such, and takes const struct sock where it means a struct that begins with one. GCC 16 writes none.
    """
    spec = read_object(data, "")
    relocations = (one for function in spec.functions for one in function.core_relos)
    return any(isinstance(spec.btf.type(one.type_id), Const) for one in relocations)
