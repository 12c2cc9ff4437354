"""Say what of an object's BTF must be other types, so that BTF_LOAD takes an object with externs.

The kernel knows neither extern variables (``btf_var_check_meta``), extern
functions (``btf_func_check_meta``) nor functions in a section
(``btf_datasec_resolve``), and looks at none of them. So variables and functions
become global ones; the section ``.ksyms`` becomes a struct with a number for
each entry; the types of kernel variables, which an object only names as a rule,
become a number too.
"""

from __future__ import annotations

from collections.abc import Iterator

from structops_cli.btf.btf import Btf
from structops_cli.btf.types import BtfType, Datasec, Func, FuncProto, Int, Member, Struct, Var
from structops_cli.errors import ObjectError
from structops_cli.obj.kconfig import KCONFIG
from structops_cli.syscall.uapi import BtfFuncLinkage, BtfKind, BtfVarLinkage

__all__ = ["KSYMS", "extern_types"]

KSYMS = ".ksyms"


def extern_types(btf: Btf) -> tuple[BtfType, ...]:
    """Return the types to put in the place of those of the same id; none for an object without externs.

    Raises ``ObjectError`` when kernel variables are there and no integer that could stand for them.
    """
    return (*_of_kconfig(btf), *_of_ksyms(btf))


def _of_kconfig(btf: Btf) -> Iterator[BtfType]:
    for target in _entries(btf, KCONFIG):
        if isinstance(target, Var):
            yield target._replace(linkage=BtfVarLinkage.GLOBAL_ALLOCATED)


def _of_ksyms(btf: Btf) -> Iterator[BtfType]:
    section_id = btf.find(KSYMS, BtfKind.DATASEC)
    if section_id is None:
        return
    number = _integer(btf)
    entries = tuple(_entries(btf, KSYMS))
    size = number.size_bytes
    members = tuple(Member("", number.id, 8 * size * index, 0) for index in range(len(entries)))
    yield Struct(section_id, "", size * len(members), members, False)
    for target in entries:
        if isinstance(target, Var):
            yield target._replace(type=number.id, linkage=BtfVarLinkage.GLOBAL_ALLOCATED)
        elif isinstance(target, Func):
            yield target._replace(linkage=BtfFuncLinkage.GLOBAL)
            proto = btf.type(target.type)
            if isinstance(proto, FuncProto) and (named := proto.named()) is not proto:
                yield named


def _entries(btf: Btf, section: str) -> Iterator[BtfType]:
    type_id = btf.find(section, BtfKind.DATASEC)
    datasec = btf.type(type_id) if type_id is not None else None
    if isinstance(datasec, Datasec):
        yield from (btf.type(entry.type) for entry in datasec.entries)


def _integer(btf: Btf) -> Int:
    """Return any integer of whole bytes: every object has one that gives a struct_ops member a number."""
    for target in btf.types():
        if isinstance(target, Int) and target.bits == 8 * target.size_bytes:
            return target
    what = f"section {KSYMS} cannot be told to the kernel"
    raise ObjectError(what, why="the object's BTF has no integer to stand for its entries", section=KSYMS)
