"""Write an object's BTF as the newest kernel accepts it.

Compilers write some types for loaders only. The kernel refuses extern variables
(``btf_var_check_meta``), extern functions (``btf_func_check_meta``) and functions
in a section (``btf_datasec_resolve``), and needs none of them. So externs become
global. Section ``.ksyms`` becomes a struct with an integer for each entry. The
types of kernel variables, mostly declared only, become integers too.
"""

from __future__ import annotations

from collections.abc import Iterator

from structops_cli.btf.btf import Btf
from structops_cli.btf.layout import resolve
from structops_cli.btf.types import BtfType, Datasec, Enum64, Func, FuncProto, Int, Member, Param, Struct, Var
from structops_cli.errors import ObjectError
from structops_cli.obj.sections import KCONFIG, KSYMS
from structops_cli.obj.spec import ObjectSpec
from structops_cli.syscall.uapi import BtfFuncLinkage, BtfKind, BtfVarLinkage


def loadable_btf(spec: ObjectSpec) -> bytes:
    """Return the bytes for BTF_LOAD. Ids are those of ``spec.btf``.

    Features that an older kernel lacks stay; ``btf.sanitise`` removes them.
    """
    changed = (*_hidden_functions(spec), *_large_enum_arguments(spec), *extern_types(spec.btf))
    if not changed:
        return spec.btf.raw()
    from structops_cli.btf.encode import rewrite  # few objects need it

    return rewrite(spec.btf, changed)


def _hidden_functions(spec: ObjectSpec) -> Iterator[BtfType]:
    """Yield the subprograms of hidden visibility as static functions.

    The verifier checks a global function once, for any arguments
    (``do_check_subprogs``), and a static one with each caller, as ``__hidden`` asks.
    """
    for function in spec.functions:
        if not function.is_global and not function.is_program and function.type_id:
            target = spec.btf.type(function.type_id)
            if isinstance(target, Func) and target.linkage == BtfFuncLinkage.GLOBAL:
                yield target._replace(linkage=BtfFuncLinkage.STATIC)


def _large_enum_arguments(spec: ObjectSpec) -> Iterator[BtfType]:
    """Yield prototypes of global functions with integers in place of 64-bit enums.

    Verifiers up to about 6.7 refuse such arguments (``btf_prepare_func_args``).
    The integer is a new type behind the last one.
    """
    number = Int(spec.btf.end_id, "unsigned long long", 8, 0, 0, 64)
    changed = dict(_protos_with_large_enums(spec, number.id))
    if changed:
        yield number
        yield from changed.values()


def _protos_with_large_enums(spec: ObjectSpec, number_id: int) -> Iterator[tuple[int, BtfType]]:
    for function in spec.functions:
        target = spec.btf.type(function.type_id) if function.is_global and not function.is_program else None
        proto = spec.btf.type(target.type) if isinstance(target, Func) else None
        if isinstance(proto, FuncProto) and any(_is_large(spec.btf, param) for param in proto.params):
            params = [
                param._replace(type=number_id) if _is_large(spec.btf, param) else param
                for param in proto.params
            ]
            yield proto.id, proto._replace(params=tuple(params))


def _is_large(btf: Btf, param: Param) -> bool:
    return param.type != 0 and isinstance(resolve(btf, param.type), Enum64)


def extern_types(btf: Btf) -> tuple[BtfType, ...]:
    """Return replacements for the types of externs, by their ids.

    Raises ObjectError if an object with kernel variables has no integer type.
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
    """Return any integer of whole bytes. Every object with struct_ops has one."""
    for target in btf.types():
        if isinstance(target, Int) and target.bits == 8 * target.size_bytes:
            return target
    what = f"section {KSYMS} cannot be loaded"
    raise ObjectError(what, why="the object's BTF has no integer type for its entries", section=KSYMS)
