"""Define the contents of a BPF object as plain immutable values.

No value depends on a kernel. Instructions are the raw bytes of the object.
Instruction indexes count from the start of their function. Type ids are those
of ``ObjectSpec.btf``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from enum import StrEnum
from typing import Any, NamedTuple, TypeVar

from structops_cli.btf.btf import Btf
from structops_cli.btf.ext import CoreRelo, FuncInfo, LineInfo
from structops_cli.obj.sparse_bytes import SparseBytes


class RelocationTarget(StrEnum):
    """The sort of thing that an instruction refers to."""

    MAP = "map"
    """A BTF-defined map: ``symbol`` is its name. The load becomes BPF_PSEUDO_MAP_FD."""
    DATA = "data"
    """Global data: ``symbol`` is the section, ``addend`` the byte. BPF_PSEUDO_MAP_VALUE."""
    CALL = "call"
    """A call of the function ``symbol``; BPF_PSEUDO_CALL."""
    FUNCTION = "function"
    """The address of the function ``symbol``, for a callback; BPF_PSEUDO_FUNC."""
    EXTERN = "extern"
    """An extern: ``symbol`` is its name."""
    JUMP_TABLE = "jump table"
    """A jump table: ``symbol`` is its name. BPF_PSEUDO_MAP_VALUE of an instruction array."""
    MODULE = "module"
    """Something of the module ``symbol``: the second half of the load gets its BTF fd."""


class Relocation(NamedTuple):
    """A reference from an instruction to something without an address yet."""

    insn_index: int
    target: RelocationTarget
    symbol: str
    addend: int


class JumpTable(NamedTuple):
    """The targets of a ``switch``, as indexes of instructions."""

    name: str
    targets: tuple[int, ...]


class Function(NamedTuple):
    """A program or a subprogram.

    ``is_program``: a struct_ops member may point at it (a global function of a
    ``struct_ops*`` section). ``is_global`` is false for static functions and
    hidden subprograms, which the verifier checks with each caller. ``type_id``
    is its BTF Func, or 0. Names are unique: a second static function of one name gets ``#2``.
    """

    name: str
    section: str
    is_program: bool
    sleepable: bool
    is_global: bool
    type_id: int
    insns: bytes
    relocations: tuple[Relocation, ...]
    core_relos: tuple[CoreRelo, ...]
    func_info: tuple[FuncInfo, ...]
    line_info: tuple[LineInfo, ...]
    jump_tables: tuple[JumpTable, ...] = ()


class MemberFunction(NamedTuple):
    """A function pointer in a struct_ops variable."""

    offset_bytes: int
    function: str


class StructOpsVariable(NamedTuple):
    """A variable of ``.struct_ops`` or ``.struct_ops.link``, which becomes a map.

    ``type_id`` is the local Struct, ``type_name`` its name with any
    ``___flavour``. ``data`` has zeros for pointers; ``functions`` are the
    pointers by offset. ``optional``: created only on demand (a leading ``?``).
    """

    name: str
    section: str
    type_id: int
    type_name: str
    link: bool
    optional: bool
    data: bytes
    functions: tuple[MemberFunction, ...]


class MapSlot(NamedTuple):
    """The initial contents of an element: the name of an inner map or of a program."""

    element: int
    symbol: str


class MapSpec(NamedTuple):
    """A map defined through BTF in ``.maps``.

    ``map_type`` is a ``BpfMapType`` or a newer number. The type ids are 0 (void) if
    the object gives only sizes. ``inner`` defines the maps in a map of maps,
    ``slots`` the initial contents of it or of a program array.
    """

    name: str
    map_type: int
    key_size: int
    value_size: int
    max_entries: int
    map_flags: int
    map_extra: int
    numa_node: int | None
    key_type_id: int
    value_type_id: int
    pinned_by_name: bool
    inner: MapSpec | None = None
    slots: tuple[MapSlot, ...] = ()


class DataVariable(NamedTuple):
    """A variable of a data section. ``type_id`` is its type, not its Var.

    A static variable of a function is named ``function.variable``.
    """

    name: str
    type_id: int
    offset_bytes: int
    size_bytes: int
    is_static: bool


class DataAddress(NamedTuple):
    """An address in global data, of ``symbol`` or of the section of that name."""

    offset_bytes: int
    symbol: str


class DataSection(NamedTuple):
    """``.rodata*``, ``.data*`` or ``.bss*``: an array map of one element.

    ``in_arena``: the first bytes of the arena. ``type_id`` is its Datasec, or 0.
    ``addresses`` are the places that a linker would fill in. No loader does so.
    """

    name: str
    read_only: bool
    contents: SparseBytes
    type_id: int
    variables: tuple[DataVariable, ...]
    in_arena: bool = False
    addresses: tuple[DataAddress, ...] = ()


class ExternCategory(StrEnum):
    """The sort of an extern. The value is its name in messages."""

    FUNCTION = "kernel function"
    VARIABLE = "kernel variable"
    """A variable with a type. A program reads it through the kernel's BTF."""
    ADDRESS = "kernel symbol"
    """A variable of type void: a bare address."""
    KCONFIG = "configuration variable"


class Extern(NamedTuple):
    """A symbol that the object leaves to the kernel.

    ``section`` is ``.ksyms`` or ``.kconfig``. ``type_id`` is the Func of a
    function, the type of a variable.
    """

    name: str
    section: str
    type_id: int
    weak: bool
    category: ExternCategory


class OtherProgram(NamedTuple):
    """A function of a section for other loaders. It is left out."""

    name: str
    section: str


class ObjectSpec(NamedTuple):
    """A whole object. The Datasecs in ``btf`` have the places of the ELF symbols.

    ``compiler`` comes from the debug information, None without it.
    """

    name: str
    licence: str
    btf: Btf
    functions: tuple[Function, ...]
    struct_ops: tuple[StructOpsVariable, ...]
    maps: tuple[MapSpec, ...]
    data: tuple[DataSection, ...]
    externs: tuple[Extern, ...]
    other_programs: tuple[OtherProgram, ...] = ()
    compiler: str | None = None
    unknown_ext: tuple[str, ...] = ()

    def function(self, name: str) -> Function:
        """Return the function of that name. Raises KeyError if there is none."""
        for function in self.functions:
            if function.name == name:
                return function
        raise KeyError(name)


class LinkedProgram(NamedTuple):
    """A program followed by the subprograms that it reaches, with their calls resolved.

    All indexes count from the start of ``insns``. ``relocations`` are of maps,
    data, externs and jump tables. ``functions`` are (first instruction, name).
    """

    name: str
    sleepable: bool
    insns: bytes
    relocations: tuple[Relocation, ...]
    core_relos: tuple[CoreRelo, ...]
    func_info: tuple[FuncInfo, ...]
    line_info: tuple[LineInfo, ...]
    functions: tuple[tuple[int, str], ...]


Record = TypeVar("Record", bound=tuple[Any, ...])
"""FuncInfo, LineInfo, CoreRelo or Relocation. The first field is the instruction's index."""


def moved(records: Sequence[Record], distance: int) -> Iterator[Record]:
    """Return the records with ``distance`` added to their instruction index.

    There is a record for every source line, and ``_replace`` is three times slower.
    """
    if distance == 0:
        return iter(records)
    return (tuple.__new__(type(record), (record[0] + distance, *record[1:])) for record in records)


def source_line(spec: ObjectSpec, linked: LinkedProgram, insn: int) -> str:
    """Return ``file:line: text`` of an instruction, "" without line info."""
    found = None
    for info in linked.line_info:
        if info.insn_index <= insn:
            found = info
    if found is None:
        return ""
    text = spec.btf.string(found.line_off).strip()
    place = f"{spec.btf.string(found.file_name_off)}:{found.line}"
    return f"{place}: {text}" if text else place  # gcc stores no text
