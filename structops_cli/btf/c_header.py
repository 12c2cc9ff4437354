"""Write a C header with the types that a program needs, in an order that compiles."""

from __future__ import annotations

from collections.abc import Container, Sequence

from structops_cli.btf import types as t
from structops_cli.btf.btf import Btf
from structops_cli.btf.c_declarations import Printer, keyword
from structops_cli.errors import BtfError, NotFoundError
from structops_cli.syscall.uapi import BtfKind

_TAGS = (BtfKind.STRUCT, BtfKind.UNION, BtfKind.ENUM, BtfKind.ENUM64)
_MAX_DEPTH = 200
_BUILT_IN = ("__builtin_va_list",)
"""Typedefs of the compiler. A kernel's typedef of that name gets another name."""

_TOP = """\
#pragma once

#ifndef BPF_NO_PRESERVE_ACCESS_INDEX
#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)
#endif
"""
_BOTTOM = """\
#ifndef BPF_NO_PRESERVE_ACCESS_INDEX
#pragma clang attribute pop
#endif
"""


def header(btf: Btf, names: Sequence[str]) -> str:
    """Declare the named structs, unions, enums and typedefs with all that they need.

    Members' types are defined first; types behind pointers are declared.
    Records get ``preserve_access_index``, so that accesses are relocated. The
    later of two types with one name gets the flavour ``name___2``. Raises
    NotFoundError for an unknown name, and BtfError for a type that C lacks.
    """
    wanted = [type_id for name in names for type_id in _find(btf, name)]
    writer = _HeaderWriter(btf, wanted)
    for type_id in wanted:
        writer.need(type_id)
    return f"{_TOP}\n{writer.text()}\n{_BOTTOM}"


def _find(btf: Btf, name: str) -> list[int]:
    """Return the types of a name: the tagged type, and the typedef."""
    found = [btf.find(name, *_TAGS), btf.find(name, BtfKind.TYPEDEF)]
    if found == [None, None]:
        why = f"{btf.origin} has no struct, union, enum or typedef of that name"
        later = [btf.type(type_id) for type_id in btf.ids(name) if btf.kind(type_id) is None]
        if later and isinstance(later[0], t.UnknownKind):
            why = f"{btf.origin} has {later[0].describe()}"
        raise NotFoundError(f"there is no type {name!r}", why=why, type_name=name)
    return [type_id for type_id in found if type_id is not None]


class _HeaderWriter:
    """Collects definitions, each behind the types that it needs.

    A pointer or a prototype needs a type by name only. An array needs its
    elements whole, a typedef always precedes its use, and an anonymous type
    is whole where it is used.
    """

    def __init__(self, btf: Btf, wanted: Sequence[int]) -> None:
        self._btf = btf
        self._names: dict[int, str] = {}
        self._tags: dict[str, int] = {}
        self._ordinary: set[str] = set(_BUILT_IN)
        self._seen: set[tuple[int, bool]] = set()
        self._declared: set[str] = set()
        self._written: set[int] = set()
        self._open: set[int] = set()
        self._blocks: list[tuple[str, str]] = []
        self._printer = Printer(btf, names=self._names, enumerator=self._ordinary_name, bodies=True)
        for type_id in wanted:
            self._name(btf.type(type_id))

    def text(self) -> str:
        """Return the header. One-line declarations of one sort share a paragraph."""
        text = ""
        before = ""
        for _, block in self._blocks:
            sort = block.partition(" ")[0] if "\n" not in block else ""
            text += f"{block}\n" if sort == before != "" or not text else f"\n{block}\n"
            before = sort
        return text

    def need(self, type_id: int, *, whole: bool = True, depth: int = 0) -> None:
        """Write everything that must precede a use of this type."""
        if (type_id, whole) in self._seen:
            return
        if depth > _MAX_DEPTH:
            raise self._error(type_id, f"more than {_MAX_DEPTH} types are nested")
        target = self._btf.type(type_id)
        self._name(target)
        if isinstance(target, t.Struct | t.Union) and target.name and whole:
            self._define(target, depth)
        elif isinstance(target, t.Struct | t.Union | t.Fwd) and target.name:
            self._declare(target)
        elif isinstance(target, t.Enum | t.Enum64):
            self._enum(target)
        elif isinstance(target, t.Typedef):
            self._typedef(target, whole=whole, depth=depth)
        else:
            for needed, as_whole in _parts(target, whole=whole):
                self.need(needed, whole=as_whole, depth=depth + 1)
        self._seen.add((type_id, whole))

    def _name(self, target: t.BtfType) -> None:
        """Choose the name of a type. A declared type shares the name of the defined one."""
        if target.id in self._names:
            return
        if isinstance(target, t.Typedef):
            self._names[target.id] = self._ordinary_name(target.name)
        elif isinstance(target, t.Struct | t.Union | t.Enum | t.Enum64) and target.name:
            name = _free(target.name, self._tags)
            self._tags[name] = target.id
            self._names[target.id] = name

    def _ordinary_name(self, name: str) -> str:
        """Reserve a unique name for a typedef or an enumerator."""
        name = _free(name, self._ordinary)
        self._ordinary.add(name)
        return name

    def _define(self, target: t.Composite, depth: int) -> None:
        if target.id in self._open:
            raise self._error(target.id, "it contains itself")
        self._open.add(target.id)
        for member in target.members:
            self.need(member.type, depth=depth + 1)
        self._open.discard(target.id)
        name = self._printer.name(target)
        self._forget(name)
        self._declared.add(name)
        self._blocks.append(("", f"{self._printer.body(target)};"))

    def _declare(self, target: t.Composite | t.Fwd) -> None:
        name = self._printer.name(target)
        if name not in self._declared:
            self._declared.add(name)
            self._blocks.append((name, f"{keyword(target)} {name};"))

    def _forget(self, name: str) -> None:
        """Drop a declaration if only declarations separate it from its definition."""
        for number in range(len(self._blocks) - 1, -1, -1):
            declared = self._blocks[number][0]
            if declared == name:
                del self._blocks[number]
            if declared in {"", name}:
                return

    def _enum(self, target: t.Enum | t.Enum64) -> None:
        if not target.name:
            return  # its use contains it
        if target.id not in self._written:
            self._written.add(target.id)
            whole = target
            if not target.values:
                # clang gives a declared enum no size, and BTF_LOAD then refuses the object.
                whole = t.Enum(
                    target.id, target.name, 4, signed=False, values=(t.Enumerator(_opaque(target.name), 0),)
                )
            self._blocks.append(("", f"{self._printer.body(whole)};"))

    def _typedef(self, target: t.Typedef, *, whole: bool, depth: int) -> None:
        """Write a typedef before its struct, whose members may use the typedef."""
        if target.id in self._open:
            return
        if target.id not in self._written:
            self._open.add(target.id)
            self.need(target.type, whole=False, depth=depth + 1)
            self._open.discard(target.id)
            self._written.add(target.id)
            text = self._printer.declare(target.type, self._printer.name(target))
            self._blocks.append(("", f"typedef {text};"))
        if whole:
            self.need(target.type, depth=depth + 1)

    def _error(self, type_id: int, why: str) -> BtfError:
        return BtfError(
            f"{self._btf.origin}: type {type_id} cannot be written as C", why=why, type_id=type_id
        )


def _parts(target: t.BtfType, *, whole: bool) -> list[tuple[int, bool]]:
    """Return the types that an unnamed type needs, and whether it needs them whole."""
    if isinstance(target, t.Ptr):
        return [(target.type, False)]
    if isinstance(target, t.Array):
        return [(target.element_type, True)]
    if isinstance(target, t.Const | t.Volatile | t.Restrict | t.TypeTag):
        return [(target.type, whole)]
    if isinstance(target, t.FuncProto):
        return [(target.return_type, False), *((param.type, False) for param in target.params)]
    if isinstance(target, t.Struct | t.Union):
        return [(member.type, True) for member in target.members]
    return []


def _opaque(name: str) -> str:
    """Name the single enumerator of an enum whose values are unknown."""
    return f"{name}___opaque"


def _free(name: str, taken: Container[str]) -> str:
    """Return the name, or its first flavour that is not taken."""
    number = 1
    candidate = name
    while candidate in taken:
        number += 1
        candidate = f"{name}___{number}"
    return candidate
