"""Decode ``.BTF.ext``: func info, line info and CO-RE relocations, by ELF section (``Documentation/bpf/btf.rst``)."""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["BtfExt", "CoreRelo", "FuncInfo", "LineInfo"]


class FuncInfo(NamedTuple):
    """A function begins at this instruction; ``type_id`` is its BTF Func."""

    insn_index: int
    type_id: int


class LineInfo(NamedTuple):
    """The source line of an instruction; the offsets are into the object's BTF strings."""

    insn_index: int
    file_name_off: int
    line_off: int
    line_col: int

    @property
    def line(self) -> int:
        """The line number, from 1."""
        return self.line_col >> 10


class CoreRelo(NamedTuple):
    """One CO-RE relocation; ``access`` is the access string, ``kind`` a number of ``CoreReloKind``."""

    insn_index: int
    type_id: int
    access: str
    kind: int


class BtfExt(NamedTuple):
    """What ``.BTF.ext`` says, by section name; instruction indexes count from the start of the section."""

    func_info: dict[str, tuple[FuncInfo, ...]]
    line_info: dict[str, tuple[LineInfo, ...]]
    core_relos: dict[str, tuple[CoreRelo, ...]]
