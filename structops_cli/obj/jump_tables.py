"""Read jump tables, the targets of ``switch`` statements (clang 22, -mcpu=v4).

Section ``.jumptables`` has a symbol for each table. An entry has 8 bytes and is
the place of an instruction in the function's section. The loader creates an
instruction array per table, which the kernel updates as it changes the program.
"""

from __future__ import annotations

from collections.abc import Iterator
from struct import Struct

from structops_cli.asm.insn import INSN_BYTES
from structops_cli.errors import ObjectError
from structops_cli.obj.elf_values import ElfObject
from structops_cli.obj.functions import FunctionExtent
from structops_cli.obj.sections import JUMP_TABLES
from structops_cli.obj.spec import (
    Function,
    JumpTable,
    LinkedProgram,
    ObjectSpec,
    Relocation,
    RelocationTarget,
)

_ENTRY = Struct("<Q")


def jump_tables_of(
    elf: ElfObject, extent: FunctionExtent, relocations: tuple[Relocation, ...]
) -> tuple[JumpTable, ...]:
    """Return the tables that a function refers to.

    Raises ObjectError for a table that leads out of the function or is damaged.
    """
    names = {one.symbol for one in relocations if one.target is RelocationTarget.JUMP_TABLE}
    return tuple(JumpTable(name, tuple(_targets(elf, extent, name))) for name in sorted(names))


def _targets(elf: ElfObject, extent: FunctionExtent, name: str) -> Iterator[int]:
    section = elf.section(JUMP_TABLES)
    assert section is not None  # a relocation refers to it
    symbol = next(one for one in elf.symbols if one.section == section.position and one.name == name)
    data = section.data[symbol.value : symbol.value + symbol.size_bytes]
    if not data or len(data) % _ENTRY.size:
        raise _unusable(extent, name, f"it has {len(data)} bytes; an entry has {_ENTRY.size}")
    for (place,) in _ENTRY.iter_unpack(data):
        index, rest = divmod(place, INSN_BYTES)
        if rest or not extent.start <= index < extent.end:
            raise _unusable(
                extent, name, f"an entry is byte {place} of {extent.section.name}, outside of the function"
            )
        yield index - extent.start


def linked_jump_tables(spec: ObjectSpec, linked: LinkedProgram) -> dict[int, JumpTable]:
    """Return the tables of a program by the referring instruction, counted from its start."""
    found = {}
    for one in linked.relocations:
        if one.target is RelocationTarget.JUMP_TABLE:
            start, name = max(place for place in linked.functions if place[0] <= one.insn_index)
            table = _of_function(spec.function(name), one.symbol)
            found[one.insn_index] = table._replace(targets=tuple(start + target for target in table.targets))
    return found


def _of_function(function: Function, name: str) -> JumpTable:
    return next(table for table in function.jump_tables if table.name == name)


def _unusable(extent: FunctionExtent, name: str, why: str) -> ObjectError:
    what = f"jump table {name} of {extent.name} is unusable"
    hint = "compile with -mcpu=v3, or compile it again: the file may be damaged"
    return ObjectError(what, why=why, hint=hint, symbol=name, section=JUMP_TABLES)
