"""Rewrite an object's BTF for a kernel that knows less. No id changes.

An unknown kind becomes an older kind of the same size, so that the types
around it keep their layout. The kernel loses nothing: it reads the functions
and the layout of map values. Tags, floats and enumerators only serve readers.

The checks are those of ``btf_check_all_metas`` (kernel/bpf/btf.c) and its callees.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from enum import StrEnum
from string import ascii_letters, digits
from typing import TypeAlias

from structops_cli.btf import types as t
from structops_cli.btf.btf import Btf
from structops_cli.btf.encode import rewrite
from structops_cli.syscall.uapi import BtfIntEncoding, BtfKind

OLD_NAME_LEN = 128
"""The most characters of a name before 6.1 (``KSYM_NAME_LEN``)."""
SECTION_CHARACTERS = frozenset(ascii_letters + digits + "_.")
_Named: TypeAlias = t.Func | t.Struct | t.Union | t.Enum | t.Fwd | t.Typedef | t.Var | t.Datasec


class BtfFeature(StrEnum):
    """A part of BTF that some kernels refuse. The value is the first release with it."""

    FLOAT = "5.13"
    DECL_TAG = "5.16"
    TYPE_TAG = "5.17"
    ENUM64 = "6.0"
    """Signed enums too."""
    LONG_NAMES = "6.1"
    DOTTED_NAMES = "6.4"
    """A dot in the name of a function or type, as GCC writes it."""
    SECTION_NAMES = "6.9"
    """Any printable character in the name of a section, such as ``?.struct_ops``."""
    ATTRIBUTE_TAGS = "6.15"
    """Tags for other attributes (kind_flag)."""
    LAYOUT = "7.1"
    """A header of 32 bytes, with a layout section."""


def sanitise(btf: Btf, lacking: Collection[BtfFeature]) -> bytes:
    """Return ``btf`` without the features in ``lacking``, and without what all kernels refuse.

    Types of unknown kinds become empty structs.
    """
    changed: dict[int, t.BtfType] = {
        type_id: t.Struct(type_id, "", 0, (), False) for type_id in btf.of_unknown_kinds()
    }
    for rule in _RULES:
        if rule.feature is None or rule.feature in lacking:
            changed.update((after.id, after) for after in rule.changes(btf, changed))
    layout = BtfFeature.LAYOUT not in lacking
    if changed or btf.unknown_header or (btf.has_layout and not layout):
        return rewrite(btf, changed.values(), layout=layout)
    return btf.raw()


def features_used(btf: Btf) -> frozenset[BtfFeature]:
    """Return the features that ``btf`` uses."""
    layout = {BtfFeature.LAYOUT} if btf.has_layout else set()
    return frozenset(
        rule.feature for rule in _RULES if rule.feature is not None and any(rule.changes(btf, {}))
    ).union(layout)


class _Substitution:
    """A replacement for types of some kinds, for kernels without ``feature``.

    Without a feature it applies to every kernel.
    """

    def __init__(
        self, feature: BtfFeature | None, change: Callable[[Btf, t.BtfType], t.BtfType], *kinds: BtfKind
    ) -> None:
        self.feature = feature
        self._change = change
        self._kinds = kinds

    def changes(self, btf: Btf, changed: dict[int, t.BtfType]) -> Iterator[t.BtfType]:
        """Yield each type that this substitution replaces. ``changed`` has earlier results."""
        for type_id in btf.of_kinds(*self._kinds):
            before = changed.get(type_id) or btf.type(type_id)
            after = self._change(btf, before)
            if after is not before:
                yield after


def _float(_: Btf, target: t.BtfType) -> t.BtfType:
    """Return an unnamed struct: C allows no struct with the name ``float``."""
    return t.Struct(target.id, "", target.size_bytes, (), False) if isinstance(target, t.Float) else target


def _decl_tag(_: Btf, target: t.BtfType) -> t.BtfType:
    """Return an integer of one byte. No type refers to it."""
    return t.Int(target.id, target.name, 1, 0, 0, 8) if isinstance(target, t.DeclTag) else target


def _type_tag(_: Btf, target: t.BtfType) -> t.BtfType:
    return t.Const(target.id, target.type) if isinstance(target, t.TypeTag) else target


def _attribute_tag(btf: Btf, target: t.BtfType) -> t.BtfType:
    if isinstance(target, t.DeclTag | t.TypeTag) and target.kind_flag:
        return _type_tag(btf, _decl_tag(btf, target))
    return target


def _enum64(_: Btf, target: t.BtfType) -> t.BtfType:
    """Return an integer, which a global function may take and return."""
    if isinstance(target, t.Enum64):
        encoding = BtfIntEncoding.SIGNED if target.signed else 0
        return t.Int(target.id, target.name, target.size_bytes, encoding, 0, 8 * target.size_bytes)
    if isinstance(target, t.Enum) and target.signed:
        values = tuple(value._replace(value=value.value & 0xFFFFFFFF) for value in target.values)
        return target._replace(signed=False, values=values)
    return target


def _long_name(_: Btf, target: t.BtfType) -> t.BtfType:
    if isinstance(target, _Named) and len(target.name) > OLD_NAME_LEN:
        return target._replace(name=target.name[:OLD_NAME_LEN])
    return target


def _dotted_name(_: Btf, target: t.BtfType) -> t.BtfType:
    if isinstance(target, _Named) and "." in target.name:
        return target._replace(name=target.name.replace(".", "_"))
    return target


def _section_name(_: Btf, target: t.BtfType) -> t.BtfType:
    if not isinstance(target, t.Datasec):
        return target
    name = "".join(c if c in SECTION_CHARACTERS else "_" for c in target.name)
    name = name if name[0] not in digits else f"_{name[1:]}"
    return target._replace(name=name) if name != target.name else target


# Types that compilers write and no kernel accepts


def _declared_enum(_: Btf, target: t.BtfType) -> t.BtfType:
    """Give a declared enum its size (``btf_enum_check_meta``)."""
    return target._replace(size_bytes=4) if isinstance(target, t.Enum) and not target.size_bytes else target


def _empty_variables(_: Btf, target: t.BtfType) -> t.BtfType:
    """Drop variables without bytes (``btf_datasec_check_meta``). An empty section is a struct."""
    if not isinstance(target, t.Datasec):
        return target
    if not target.size_bytes:
        return t.Struct(target.id, "", 0, (), False)
    entries = tuple(entry for entry in target.entries if entry.size_bytes)
    return target._replace(entries=entries) if len(entries) != len(target.entries) else target


def _unnamed_parameters(btf: Btf, target: t.BtfType) -> t.BtfType:
    """Return the prototype of a function with names for unnamed parameters."""
    proto = btf.type(target.type) if isinstance(target, t.Func) else None
    if isinstance(proto, t.FuncProto) and (named := proto.named()) is not proto:
        return named
    return target


def _late_tag(btf: Btf, target: t.BtfType) -> t.BtfType:
    """Replace a tag behind a qualifier or typedef (``btf_check_type_tags``)."""
    if not isinstance(target, t.Const | t.Volatile | t.Restrict | t.Typedef):
        return target
    inner = btf.type(target.type)
    return t.Const(inner.id, inner.type) if isinstance(inner, t.TypeTag) else target


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
