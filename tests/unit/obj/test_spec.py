"""Lookups in an object, records that move with their instructions, and source lines."""

from __future__ import annotations

import pytest

from structops_cli.btf.ext import CoreRelo, FuncInfo
from structops_cli.obj.link import link_program
from structops_cli.obj.spec import ObjectSpec, moved, source_line


def test_a_function_is_found_by_name(everything: ObjectSpec) -> None:
    first = everything.functions[0]
    assert everything.function(first.name) is first
    with pytest.raises(KeyError):
        everything.function("t_nobody")


def test_moved_records_keep_their_type_and_other_fields() -> None:
    records = (CoreRelo(3, 7, "0:1", 0), CoreRelo(5, 8, "0", 6))
    assert tuple(moved(records, 10)) == (CoreRelo(13, 7, "0:1", 0), CoreRelo(15, 8, "0", 6))
    assert all(isinstance(one, CoreRelo) for one in moved(records, 10))
    assert tuple(moved((FuncInfo(0, 1),), 0)) == (FuncInfo(0, 1),)


def test_a_source_line_is_the_last_one_before_the_instruction(everything: ObjectSpec) -> None:
    linked = link_program(everything, everything.struct_ops[0].functions[0].function)
    first, second = linked.line_info[:2]
    for insn in range(first.insn_index, second.insn_index):
        assert source_line(everything, linked, insn).partition(": ")[0].endswith(f":{first.line}")
    assert source_line(everything, linked, second.insn_index) != source_line(everything, linked, 0)
    assert source_line(everything, linked._replace(line_info=()), 0) == ""
