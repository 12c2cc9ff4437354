"""What a BPF object holds, as plain immutable values: the hand-over from ``obj`` to everything after it.

Nothing here knows a kernel. Instructions are the raw little-endian bytes of
the object (8 bytes each); an index of an instruction counts from the start of
its own function. Type ids are those of ``ObjectSpec.btf``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from enum import StrEnum
from typing import Any, NamedTuple, TypeVar

from structops_cli.btf.btf import Btf
from structops_cli.btf.ext import CoreRelo, FuncInfo, LineInfo
from structops_cli.obj.sparse_bytes import SparseBytes

__all__ = [
    "DataAddress",
    "DataSection",
    "DataVariable",
    "Extern",
    "ExternCategory",
    "Function",
    "JumpTable",
    "LinkedProgram",
    "MapSlot",
    "MapSpec",
    "MemberFunction",
    "ObjectSpec",
    "OtherProgram",
    "Record",
    "Relocation",
    "RelocationTarget",
    "StructOpsVariable",
    "moved",
    "source_line",
]


class RelocationTarget(StrEnum):
    """What the instruction at a relocation refers to."""

    MAP = "map"
    """A BTF-defined map: ``symbol`` is its name; the load becomes BPF_PSEUDO_MAP_FD."""
    DATA = "data"
    """Global data: ``symbol`` is the data section, ``addend`` the byte offset in it; BPF_PSEUDO_MAP_VALUE."""
    CALL = "call"
    """A call of the function ``symbol``; BPF_PSEUDO_CALL."""
    FUNCTION = "function"
    """The address of the function ``symbol`` (a callback); BPF_PSEUDO_FUNC."""
    EXTERN = "extern"
    """A symbol that the object leaves to the kernel: ``symbol`` is its name."""
    JUMP_TABLE = "jump table"
    """A table of instructions of the same function: ``symbol`` is its name; BPF_PSEUDO_MAP_VALUE of an instruction array."""
    MODULE = "module"
    """Something of the module ``symbol``: the load's second half becomes an fd of the module's BTF."""


class Relocation(NamedTuple):
    """One reference from an instruction to something that has no address yet."""

    insn_index: int
    target: RelocationTarget
    symbol: str
    addend: int


class JumpTable(NamedTuple):
    """Where a ``switch`` of a function goes: ``targets`` are indexes of instructions."""

    name: str
    targets: tuple[int, ...]


class Function(NamedTuple):
    """A function of an executable section, a program or a subprogram.

    ``is_program`` is true for a global function of a ``struct_ops*`` section:
    something that a struct_ops member may point at. ``sleepable`` says that
    its section was ``struct_ops.s``. ``is_global`` is false for a static and for a
    hidden subprogram: the verifier follows calls of it. ``type_id`` is its BTF Func, 0 when the
    object has none for it. Names are unique: a static function that shares its
    name with another has ``#2`` behind it.
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
    """A function pointer that the object stores in a struct_ops variable."""

    offset_bytes: int
    function: str


class StructOpsVariable(NamedTuple):
    """A variable of ``.struct_ops`` or ``.struct_ops.link``: one map to be.

    ``type_id`` is the local Struct, ``type_name`` its name with any
    ``___flavour``. ``data`` are its bytes (pointers zero), ``functions`` the
    pointers in them, by offset. ``optional`` is a section with a leading
    ``?``: not created unless asked for.
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
    """What an element of a map holds at first: a map of a map of maps, or a program of a program array, by name."""

    element: int
    symbol: str


class MapSpec(NamedTuple):
    """A map defined through BTF in ``.maps``.

    ``map_type`` is a number of ``BpfMapType``, or one that this project has no
    name for. ``key_type_id`` and ``value_type_id`` are 0 where only a size was
    given. ``inner`` is what a map of maps holds, ``slots`` its initial contents
    or those of a program array.
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
    """A global or static variable of a data section.

    ``type_id`` is the type of the variable, not its Var. A static variable of
    a function is named ``function.variable``.
    """

    name: str
    type_id: int
    offset_bytes: int
    size_bytes: int
    is_static: bool


class DataAddress(NamedTuple):
    """An address that the object stores in global data, of ``symbol`` (or of the section of that name)."""

    offset_bytes: int
    symbol: str


class DataSection(NamedTuple):
    """``.rodata*``, ``.data*`` or ``.bss*``: one array map of one element; ``in_arena``: the first bytes of the arena.

    ``type_id`` is its Datasec, 0 for none. ``addresses`` are where a linker would
    store an address: nobody does for BPF, and the bytes stay as they are.
    """

    name: str
    read_only: bool
    contents: SparseBytes
    type_id: int
    variables: tuple[DataVariable, ...]
    in_arena: bool = False
    addresses: tuple[DataAddress, ...] = ()


class ExternCategory(StrEnum):
    """What an extern is; the value is what messages call it."""

    FUNCTION = "kernel function"
    VARIABLE = "kernel variable"
    """A variable with a type: a program reads it through the kernel's BTF."""
    ADDRESS = "kernel symbol"
    """A variable of type void: nothing but an address."""
    KCONFIG = "configuration variable"


class Extern(NamedTuple):
    """A symbol that the object does not define.

    ``section`` is ``.ksyms`` or ``.kconfig``; ``type_id`` the Func of a
    function, the type of a variable.
    """

    name: str
    section: str
    type_id: int
    weak: bool
    category: ExternCategory


class OtherProgram(NamedTuple):
    """A function of a section that is neither ``.text`` nor for struct_ops: left out, whatever it is."""

    name: str
    section: str


class ObjectSpec(NamedTuple):
    """A whole object. ``btf`` is its BTF with DATASEC sizes and offsets repaired from the ELF symbols.

    ``compiler`` is what the debug information names, None without it. ``unknown_ext`` names the parts of
    .BTF.ext that were skipped because a newer tool wrote them.
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
        """Return the function of that name; ``KeyError`` when there is none."""
        for function in self.functions:
            if function.name == name:
                return function
        raise KeyError(name)


class LinkedProgram(NamedTuple):
    """A program with the subprograms that it reaches behind it, calls between them resolved.

    ``relocations`` (maps, data and externs only), ``core_relos``,
    ``func_info`` and ``line_info`` count from the start of ``insns``.
    ``functions`` says where each function begins, as (insn index, name).
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
"""FuncInfo, LineInfo, CoreRelo or Relocation: the index of the instruction is the first field of each."""


def moved(records: Sequence[Record], distance: int) -> Iterator[Record]:
    """Return the records with ``distance`` added to their instruction index.

    There is one for every source line, and ``_replace`` takes three times as long.
    """
    if distance == 0:
        return iter(records)
    return (tuple.__new__(type(record), (record[0] + distance, *record[1:])) for record in records)


def source_line(spec: ObjectSpec, linked: LinkedProgram, insn: int) -> str:
    """Return ``file:line: text`` of an instruction of a linked program.

    The text is left out where the object has none; "" stands for an object without line info.
    """
    found = None
    for info in linked.line_info:
        if info.insn_index <= insn:
            found = info
    if found is None:
        return ""
    text = spec.btf.string(found.line_off).strip()
    place = f"{spec.btf.string(found.file_name_off)}:{found.line}"
    return f"{place}: {text}" if text else place  # gcc stores no text
