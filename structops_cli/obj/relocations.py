"""Resolve every reference from an instruction: to a map, data, a function or an extern.

BPF relocations carry no addends. The immediate of the instruction is the addend:
in bytes for a 64-bit load, in instructions less one for a call
(``Documentation/bpf/llvm_reloc.rst``). A call within one section usually has no
relocation: its immediate is already the distance.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from structops_cli.asm.insn import (
    CALL,
    INSN_BYTES,
    LD_IMM64,
    PseudoCall,
    find_opcode,
    imm_at,
    opcode_at,
    src_reg_at,
)
from structops_cli.errors import ObjectError
from structops_cli.obj.elf_values import ElfObject, ElfRelocation, RelocationType, Section, Symbol
from structops_cli.obj.functions import FunctionExtent
from structops_cli.obj.sections import JUMP_TABLES, MAPS, holds_functions, is_data, is_other
from structops_cli.obj.spec import Relocation, RelocationTarget


class Referent(NamedTuple):
    """The thing at an address. ``addend`` is the byte in a data section."""

    category: RelocationTarget
    name: str
    addend: int = 0


class AddressMap:
    """The things in an object: functions and maps by first byte, data by section."""

    def __init__(
        self,
        elf: ElfObject,
        extents: Iterable[FunctionExtent],
        maps: Mapping[int, str],
        externs: Iterable[str],
    ) -> None:
        self._sections = elf.sections
        self._functions = {(one.section.position, one.start * INSN_BYTES): one.name for one in extents}
        self._maps = maps
        self._externs = frozenset(externs)

    def find(self, symbol: Symbol, addend: int, label: str) -> Referent:
        """Return the thing at ``symbol`` plus ``addend`` bytes.

        ``label`` names the reference in errors. Raises ObjectError for an address
        of nothing that a program can refer to.
        """
        if symbol.section >= len(self._sections):
            raise _lost(label, symbol, "it has a fixed address")
        section, offset = self._sections[symbol.section], symbol.value + addend
        if symbol.section == 0:
            return self._extern(symbol, label)
        if is_other(section):
            why = f"it is in section {section.name}, a program of another type, which is not loaded here"
            raise _lost(label, symbol, why)
        if section.is_executable:
            return self._function(symbol, section, offset, label)
        if section.name == MAPS:
            return self._map(symbol, offset, label)
        if section.name == JUMP_TABLES:
            return Referent(RelocationTarget.JUMP_TABLE, symbol.name, addend)
        if not is_data(section.name):
            raise _lost(label, symbol, f"section {section.name} holds neither functions, maps nor data")
        if not 0 <= offset < section.size_bytes:
            why = f"byte {offset} is outside of section {section.name}, which has {section.size_bytes}"
            raise _lost(label, symbol, why)
        return Referent(RelocationTarget.DATA, section.name, offset)

    def _extern(self, symbol: Symbol, label: str) -> Referent:
        if symbol.name not in self._externs:
            raise _lost(label, symbol, "the object neither defines it nor declares it as an extern")
        return Referent(RelocationTarget.EXTERN, symbol.name)

    def _function(self, symbol: Symbol, section: Section, offset: int, label: str) -> Referent:
        name = self._functions.get((section.position, offset))
        if name is None:
            raise _lost(label, symbol, f"no function begins at byte {offset} of section {section.name}")
        return Referent(RelocationTarget.FUNCTION, name)

    def _map(self, symbol: Symbol, offset: int, label: str) -> Referent:
        name = self._maps.get(offset)
        if name is None:
            raise _lost(label, symbol, f"no map begins at byte {offset} of section {MAPS}")
        return Referent(RelocationTarget.MAP, name)


def function_relocations(
    elf: ElfObject, extents: Sequence[FunctionExtent], addresses: AddressMap
) -> Iterator[tuple[Relocation, ...]]:
    """Yield the references of each function by instruction, with calls in its section.

    ``extents`` are all functions by section and address. Raises ObjectError for
    a relocation outside of functions, of a wrong instruction, or to nothing.
    """
    left = {position: list(reversed(found)) for position, found in elf.relocations.items()}
    for extent in extents:
        relocations = left.get(extent.section.position, [])
        own = []
        while relocations and relocations[-1].offset_bytes < extent.end * INSN_BYTES:
            own.append(relocations.pop())
        yield _of_function(extent, own, addresses)
    for position, lost in left.items():
        if lost and holds_functions(elf.sections[position]):
            raise _outside(elf.sections[position], lost[-1])


def _of_function(
    extent: FunctionExtent, relocations: Sequence[ElfRelocation], addresses: AddressMap
) -> tuple[Relocation, ...]:
    insns = bytes(extent.section.data[extent.start * INSN_BYTES : extent.end * INSN_BYTES])
    found: dict[int, Relocation] = {}
    for relocation in relocations:
        index = relocation.offset_bytes // INSN_BYTES - extent.start
        if index < 0:
            raise _outside(extent.section, relocation)
        within = relocation.offset_bytes % INSN_BYTES
        if within:
            raise _unfit(extent, index, f"the relocation is at byte {within} of the instruction")
        if index in found:
            raise _unfit(extent, index, "it has two relocations")
        found[index] = _reference(extent, insns, index, relocation, addresses)
    for index in find_opcode(insns, CALL):
        if index not in found and src_reg_at(insns, index) != PseudoCall.HELPER:
            found[index] = _near_call(extent, insns, index, addresses)
    for index in find_opcode(insns, LD_IMM64):
        if index not in found and src_reg_at(insns, index):
            raise _unfit(extent, index, "the load is marked as an address but has no relocation")
    return tuple(found[index] for index in sorted(found))


def _reference(
    extent: FunctionExtent, insns: bytes, index: int, relocation: ElfRelocation, addresses: AddressMap
) -> Relocation:
    """Resolve a relocation of a 64-bit load or a call."""
    code, symbol = opcode_at(insns, index), relocation.symbol
    label = f"the relocation at instruction {index} of {extent.name}"
    if (code, relocation.type) == (LD_IMM64, RelocationType.R64_64):
        if (index + 2) * INSN_BYTES > len(insns):
            raise _unfit(extent, index, "the function ends in the middle of the load")
        return Relocation(index, *addresses.find(symbol, imm_at(insns, index), label))
    if (code, relocation.type) == (CALL, RelocationType.R64_32):
        target = addresses.find(symbol, (imm_at(insns, index) + 1) * INSN_BYTES, label)
        return Relocation(index, _callee(target, label), target.name, 0)
    why = f"relocation type {relocation.type} cannot change an instruction with opcode {code:#04x}"
    raise _unfit(extent, index, why)


def _callee(target: Referent, label: str) -> RelocationTarget:
    if target.category is RelocationTarget.FUNCTION:
        return RelocationTarget.CALL
    if target.category is RelocationTarget.EXTERN:
        return RelocationTarget.EXTERN
    why = f"it calls {target.name}, which is not a function"
    raise ObjectError(f"{label} is lost", why=why, symbol=target.name)


def _near_call(extent: FunctionExtent, insns: bytes, index: int, addresses: AddressMap) -> Relocation:
    """Resolve a call within the section by the distance in its immediate."""
    if src_reg_at(insns, index) != PseudoCall.CALL:
        raise _unfit(extent, index, "the call is marked as one of a kernel function but has no relocation")
    start = Symbol(extent.section.name, 0, 0, extent.section.position, 0, 0)
    offset = (extent.start + index + 1 + imm_at(insns, index)) * INSN_BYTES
    target = addresses.find(start, offset, f"the call at instruction {index} of {extent.name}")
    return Relocation(index, RelocationTarget.CALL, target.name, 0)


def _lost(label: str, symbol: Symbol, why: str) -> ObjectError:
    what = f"{label} is lost"
    return ObjectError(what, why=f"it refers to {symbol.name or 'nothing'}: {why}", symbol=symbol.name)


def _unfit(extent: FunctionExtent, index: int, why: str) -> ObjectError:
    what = f"the reference at instruction {index} of {extent.name} is wrong"
    return ObjectError(what, why=why, symbol=extent.name, section=extent.section.name, insn=index)


def _outside(section: Section, relocation: ElfRelocation) -> ObjectError:
    what = f"the relocation at byte {relocation.offset_bytes} of {section.name} is in no function"
    return ObjectError(what, why="no symbol of the section covers it", section=section.name)
