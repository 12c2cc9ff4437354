"""Find the functions of an object, their places, and their records in ``.BTF.ext``."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from operator import attrgetter, itemgetter
from typing import NamedTuple

from structops_cli.asm.insn import INSN_BYTES
from structops_cli.btf.btf import Btf
from structops_cli.btf.ext import BtfExt
from structops_cli.errors import ObjectError
from structops_cli.obj.elf_values import ElfObject, Section, Symbol, SymbolBinding, SymbolType
from structops_cli.obj.sections import holds_functions, is_other, is_program, is_sleepable
from structops_cli.obj.spec import Function, JumpTable, OtherProgram, Record, Relocation, moved
from structops_cli.syscall.uapi import BtfKind

_AGAIN = "the file is damaged: compile it or copy it again"


class FunctionExtent(NamedTuple):
    """A function and its place: instructions ``start`` to ``end`` of its section."""

    name: str
    section: Section
    start: int
    end: int
    is_global: bool
    is_hidden: bool = False


def function_extents(elf: ElfObject, btf: Btf, ext: BtfExt) -> tuple[FunctionExtent, ...]:
    """Return every function that a struct_ops may need, by section and address.

    A linker may leave static functions of one name; they become ``name#2``,
    ``name#3`` and so on. So does the remaining code of a replaced weak function.
    Raises ObjectError for functions that overlap, are empty, or share a global name.
    """
    symbols = [symbol for symbol in _functions(elf) if not _of_another_type(elf, symbol)]
    symbols.sort(key=attrgetter("section", "value"))
    symbols += [*_replaced(elf, btf, ext, symbols)]  # named last
    names = _unique_names(symbols)
    extents = [_extent(elf, symbol, name) for symbol, name in zip(symbols, names, strict=True)]
    extents.sort(key=attrgetter("section.position", "start"))
    for before, after in pairwise(extents):
        if before.section is after.section and after.start < before.end:
            what = f"functions {before.name} and {after.name} overlap"
            why = f"in section {after.section.name}, at instruction {after.start}"
            raise ObjectError(what, why=why, hint=_AGAIN, symbol=after.name, section=after.section.name)
    return tuple(extents)


def other_programs(elf: ElfObject) -> tuple[OtherProgram, ...]:
    """Return the functions of other program types, in the order of the symbol table."""
    others = (symbol for symbol in _functions(elf) if _of_another_type(elf, symbol))
    return tuple(OtherProgram(symbol.name, elf.sections[symbol.section].name) for symbol in others)


def read_function(
    extent: FunctionExtent,
    btf: Btf,
    ext: BtfExt,
    relocations: tuple[Relocation, ...],
    jump_tables: tuple[JumpTable, ...] = (),
) -> Function:
    """Return the function at ``extent``. Its records count from its first instruction."""
    section = extent.section.name
    func_info = _within(ext.func_info.get(section, ()), extent)
    if len(func_info) > 1 or (func_info and func_info[0].insn_index):
        why = f"{len(func_info)} records of .BTF.ext name functions inside of it"
        what = f"function {extent.name} holds other functions"
        raise ObjectError(what, why=why, hint=_AGAIN, symbol=extent.name, section=section)
    return Function(
        name=extent.name,
        section=section,
        is_program=extent.is_global and is_program(section),
        sleepable=is_sleepable(section),
        is_global=extent.is_global and not (extent.is_hidden and not is_program(section)),
        type_id=func_info[0].type_id if func_info else _type_by_name(btf, extent.name),
        insns=bytes(extent.section.data[extent.start * INSN_BYTES : extent.end * INSN_BYTES]),
        relocations=relocations,
        core_relos=_within(ext.core_relos.get(section, ()), extent),
        func_info=func_info,
        line_info=_within(ext.line_info.get(section, ()), extent),
        jump_tables=jump_tables,
    )


def check_ext(elf: ElfObject, ext: BtfExt, functions: Sequence[Function]) -> None:
    """Refuse records of ``.BTF.ext`` that lie in no function of ours or of other types."""
    others = {section.name for section in elf.sections if is_other(section)}
    for label, by_section, count in (
        ("function", ext.func_info, _counted(functions, lambda function: len(function.func_info))),
        ("line", ext.line_info, _counted(functions, lambda function: len(function.line_info))),
        ("CO-RE", ext.core_relos, _counted(functions, lambda function: len(function.core_relos))),
    ):
        for section, records in by_section.items():
            lost = len(records) - count.get(section, 0)
            if lost and section not in others:
                what = f"{lost} {label} records of section {section} lie in no function"
                raise ObjectError(what, why=".BTF.ext and the symbols disagree", hint=_AGAIN, section=section)


def _replaced(elf: ElfObject, btf: Btf, ext: BtfExt, symbols: Sequence[Symbol]) -> Iterator[Symbol]:
    """Yield symbols for functions that only ``.BTF.ext`` names.

    A static linker keeps the code and the records of a weak function, and gives
    its symbol to the function that replaces it.
    """
    for section in elf.sections if ext.func_info else ():
        records = ext.func_info.get(section.name, ())
        own = sorted(
            (s.value, s.value + max(s.size_bytes, 1)) for s in symbols if s.section == section.position
        )
        if not holds_functions(section) or len(records) <= len(own):
            continue
        starts = sorted({start for start, _ in own} | {info.insn_index * INSN_BYTES for info in records})
        for info in records:
            start = info.insn_index * INSN_BYTES
            before = bisect_right(own, start, key=itemgetter(0))
            if before == 0 or own[before - 1][1] <= start:
                after = bisect_right(starts, start)
                end = starts[after] if after < len(starts) else section.size_bytes
                yield _local(btf.name(info.type_id), section, start, end)


def _local(name: str, section: Section, start: int, end: int) -> Symbol:
    return Symbol(name, SymbolType.FUNC, SymbolBinding.LOCAL, section.position, start, max(end - start, 0))


def _counted(functions: Sequence[Function], count: Callable[[Function], int]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for function in functions:
        counts[function.section] = counts.get(function.section, 0) + count(function)
    return counts


def _functions(elf: ElfObject) -> Iterator[Symbol]:
    return (symbol for symbol in elf.symbols if symbol.type == SymbolType.FUNC and symbol.section)


def _of_another_type(elf: ElfObject, symbol: Symbol) -> bool:
    return symbol.section < len(elf.sections) and is_other(elf.sections[symbol.section])


def _unique_names(symbols: Sequence[Symbol]) -> Iterator[str]:
    taken: set[str] = set()
    for symbol in symbols:
        if symbol.binding != SymbolBinding.LOCAL:
            if symbol.name in taken:
                what = f"there are two functions {symbol.name}"
                raise ObjectError(what, why="both are global", hint=_AGAIN, symbol=symbol.name)
            taken.add(symbol.name)
    seen: dict[str, int] = {}
    for symbol in symbols:
        name, number = symbol.name, seen.get(symbol.name, 1)
        if symbol.binding == SymbolBinding.LOCAL:
            while name in taken:
                number += 1
                name = f"{symbol.name}#{number}"
            seen[symbol.name] = number
            taken.add(name)
        yield name


def _extent(elf: ElfObject, symbol: Symbol, name: str) -> FunctionExtent:
    section = elf.sections[symbol.section] if symbol.section < len(elf.sections) else None
    why = ""
    if not name:
        why = "it has no name"
    elif section is None or not section.is_executable:
        why = f"its section {section.name if section else symbol.section} holds no instructions"
    elif symbol.size_bytes == 0 or symbol.value % INSN_BYTES or symbol.size_bytes % INSN_BYTES:
        why = f"it has {symbol.size_bytes} bytes at byte {symbol.value}; an instruction has {INSN_BYTES}"
    if why or section is None:
        raise ObjectError(f"function {name} is not a function", why=why, hint=_AGAIN, symbol=name)
    start = symbol.value // INSN_BYTES
    end = start + symbol.size_bytes // INSN_BYTES
    return FunctionExtent(name, section, start, end, symbol.binding != SymbolBinding.LOCAL, symbol.is_hidden)


def _within(records: Sequence[Record], extent: FunctionExtent) -> tuple[Record, ...]:
    """Return the records of a function, their indexes counted from its start."""
    place = attrgetter("insn_index")
    first = bisect_left(records, extent.start, key=place)
    last = bisect_left(records, extent.end, key=place)
    return tuple(moved(records[first:last], -extent.start))


def _type_by_name(btf: Btf, name: str) -> int:
    """Return the one Func of that name, 0 if there is none or more than one."""
    ids = btf.ids(name, BtfKind.FUNC)
    return ids[0] if len(ids) == 1 else 0
