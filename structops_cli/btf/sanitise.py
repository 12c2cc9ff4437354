"""Make an object's BTF acceptable to a kernel that does not know all of it: pure, and no id moves.

What a kernel does not know is written as something older that has the same
size, so that everything which contains it stays as it is. Nothing that the
kernel looks at is lost: of an object's BTF it reads what a program's functions
are, and the layout of map values; tags, floats and the names of enumerators
are for those who read it back.

The checks are those of ``btf_check_all_metas`` and what it calls
(kernel/bpf/btf.c); the releases in which each feature came are beside it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from enum import StrEnum
from string import ascii_letters, digits
from typing import TypeAlias

from structops_cli.btf.btf import Btf
from structops_cli.btf.encode import rewrite
from structops_cli.btf.types import (
    BtfType,
    Const,
    Datasec,
    DeclTag,
    Enum,
    Enum64,
    Float,
    Func,
    FuncProto,
    Fwd,
    Int,
    Restrict,
    Struct,
    Typedef,
    TypeTag,
    Union,
    Var,
    Volatile,
)
from structops_cli.syscall.uapi import BtfIntEncoding, BtfKind

__all__ = ["BtfFeature", "features_used", "sanitise"]

OLD_NAME_LEN = 128
"""The most characters of a name before 6.1 (``KSYM_NAME_LEN``)."""
SECTION_CHARACTERS = frozenset(ascii_letters + digits + "_.")
_Named: TypeAlias = Func | Struct | Union | Enum | Fwd | Typedef | Var | Datasec


class BtfFeature(StrEnum):
    """What not every kernel with struct_ops accepts in BTF; the value is the release that brought it."""

    FLOAT = "5.13"
    DECL_TAG = "5.16"
    TYPE_TAG = "5.17"
    ENUM64 = "6.0"
    """Signed enums as well."""
    LONG_NAMES = "6.1"
    DOTTED_NAMES = "6.4"
    """A dot in the name of a function or type, as GCC makes them."""
    SECTION_NAMES = "6.9"
    """Any printable character in the name of a section, such as ``?.struct_ops``."""
    ATTRIBUTE_TAGS = "6.15"
    """Tags that stand for another attribute (kind_flag)."""
    LAYOUT = "7.1"
    """A header of 32 bytes, with a layout section."""


def sanitise(btf: Btf, lacking: Collection[BtfFeature]) -> bytes:
    """Return the bytes of ``btf`` without ``lacking``, and without what no kernel accepts.

    Types of kinds that structops does not know become empty structs: a kernel that knows
    them has not refused them.
    """
    changed: dict[int, BtfType] = {
        type_id: Struct(type_id, "", 0, (), False) for type_id in btf.of_unknown_kinds()
    }
    for rule in _RULES:
        if rule.feature is None or rule.feature in lacking:
            changed.update((after.id, after) for after in rule.changes(btf, changed))
    layout = BtfFeature.LAYOUT not in lacking
    if changed or btf.unknown_header or (btf.has_layout and not layout):
        return rewrite(btf, changed.values(), layout=layout)
    return btf.raw()


def features_used(btf: Btf) -> frozenset[BtfFeature]:
    """Return the features that ``btf`` makes use of."""
    layout = {BtfFeature.LAYOUT} if btf.has_layout else set()
    return frozenset(
        rule.feature for rule in _RULES if rule.feature is not None and any(rule.changes(btf, {}))
    ).union(layout)


class _Substitution:
    """How types of some kinds are written for a kernel without a feature, None: for any kernel."""

    def __init__(
        self, feature: BtfFeature | None, change: Callable[[Btf, BtfType], BtfType], *kinds: BtfKind
    ) -> None:
        self.feature = feature
        self._change = change
        self._kinds = kinds

    def changes(self, btf: Btf, changed: dict[int, BtfType]) -> Iterator[BtfType]:
        """Yield each type that is another one after this rule; ``changed`` is what earlier rules made."""
        for type_id in btf.of_kinds(*self._kinds):
            before = changed.get(type_id) or btf.type(type_id)
            after = self._change(btf, before)
            if after is not before:
                yield after


def _float(_: Btf, target: BtfType) -> BtfType:
    """Return a struct without members: C lets no struct be called ``float``, so it has no name."""
    return Struct(target.id, "", target.size_bytes, (), False) if isinstance(target, Float) else target


def _decl_tag(_: Btf, target: BtfType) -> BtfType:
    """Return an integer of one byte: a type that nothing refers to."""
    return Int(target.id, target.name, 1, 0, 0, 8) if isinstance(target, DeclTag) else target


def _type_tag(_: Btf, target: BtfType) -> BtfType:
    return Const(target.id, target.type) if isinstance(target, TypeTag) else target


def _attribute_tag(btf: Btf, target: BtfType) -> BtfType:
    if isinstance(target, DeclTag | TypeTag) and target.kind_flag:
        return _type_tag(btf, _decl_tag(btf, target))
    return target


def _enum64(_: Btf, target: BtfType) -> BtfType:
    """Return an integer: what it is to a program, and what a global function may take and return."""
    if isinstance(target, Enum64):
        encoding = BtfIntEncoding.SIGNED if target.signed else 0
        return Int(target.id, target.name, target.size_bytes, encoding, 0, 8 * target.size_bytes)
    if isinstance(target, Enum) and target.signed:
        values = tuple(value._replace(value=value.value & 0xFFFFFFFF) for value in target.values)
        return target._replace(signed=False, values=values)
    return target


def _long_name(_: Btf, target: BtfType) -> BtfType:
    if isinstance(target, _Named) and len(target.name) > OLD_NAME_LEN:
        return target._replace(name=target.name[:OLD_NAME_LEN])
    return target


def _dotted_name(_: Btf, target: BtfType) -> BtfType:
    if isinstance(target, _Named) and "." in target.name:
        return target._replace(name=target.name.replace(".", "_"))
    return target


def _section_name(_: Btf, target: BtfType) -> BtfType:
    if not isinstance(target, Datasec):
        return target
    name = "".join(c if c in SECTION_CHARACTERS else "_" for c in target.name)
    name = name if name[0] not in digits else f"_{name[1:]}"
    return target._replace(name=name) if name != target.name else target


# What no kernel accepts, and compilers write


def _declared_enum(_: Btf, target: BtfType) -> BtfType:
    """Give an enum that is only declared the size that it would have (``btf_enum_check_meta``)."""
    return target._replace(size_bytes=4) if isinstance(target, Enum) and not target.size_bytes else target


def _empty_variables(_: Btf, target: BtfType) -> BtfType:
    """Leave out variables without bytes; a section without bytes is a struct (``btf_datasec_check_meta``)."""
    if not isinstance(target, Datasec):
        return target
    if not target.size_bytes:
        return Struct(target.id, "", 0, (), False)
    entries = tuple(entry for entry in target.entries if entry.size_bytes)
    return target._replace(entries=entries) if len(entries) != len(target.entries) else target


def _unnamed_parameters(btf: Btf, target: BtfType) -> BtfType:
    """Return the prototype of a function when a parameter of it has no name, with names."""
    proto = btf.type(target.type) if isinstance(target, Func) else None
    if isinstance(proto, FuncProto) and (named := proto.named()) is not proto:
        return named
    return target


def _late_tag(btf: Btf, target: BtfType) -> BtfType:
    """Take away a tag that comes behind a qualifier or typedef (``btf_check_type_tags``)."""
    if not isinstance(target, Const | Volatile | Restrict | Typedef):
        return target
    inner = btf.type(target.type)
    return Const(inner.id, inner.type) if isinstance(inner, TypeTag) else target


_NAMED = (BtfKind.FUNC, BtfKind.STRUCT, BtfKind.UNION, BtfKind.ENUM, BtfKind.FWD, BtfKind.TYPEDEF)
_RULES = (
    _Substitution(None, _declared_enum, BtfKind.ENUM),
    _Substitution(None, _empty_variables, BtfKind.DATASEC),
    _Substitution(None, _unnamed_parameters, BtfKind.FUNC),
    _Substitution(None, _late_tag, BtfKind.CONST, BtfKind.VOLATILE, BtfKind.RESTRICT, BtfKind.TYPEDEF),
    _Substitution(BtfFeature.FLOAT, _float, BtfKind.FLOAT),
    _Substitution(BtfFeature.ATTRIBUTE_TAGS, _attribute_tag, BtfKind.DECL_TAG, BtfKind.TYPE_TAG),
    _Substitution(BtfFeature.DECL_TAG, _decl_tag, BtfKind.DECL_TAG),
    _Substitution(BtfFeature.TYPE_TAG, _type_tag, BtfKind.TYPE_TAG),
    _Substitution(BtfFeature.ENUM64, _enum64, BtfKind.ENUM64, BtfKind.ENUM),
    _Substitution(BtfFeature.LONG_NAMES, _long_name, *_NAMED, BtfKind.VAR, BtfKind.DATASEC),
    _Substitution(BtfFeature.DOTTED_NAMES, _dotted_name, *_NAMED),
    _Substitution(BtfFeature.SECTION_NAMES, _section_name, BtfKind.DATASEC),
)
