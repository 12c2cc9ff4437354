"""Read the access string of a CO-RE relocation against the object's own types.

In clang's ``"0:1:2"`` the first index takes the root as an array; each further
index is a member or an array element. ``"3"`` is an enumerator, counted from 0,
and ``"0"`` is the type itself. Indexes hold for the object's types only. The
kernel's types are searched by member names, so an anonymous struct or union
contributes only its offset. The sources are ``include/uapi/linux/bpf.h`` and
libbpf (``src/relo_core.c``).
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

from structops_cli.btf.btf import Btf
from structops_cli.btf.layout import resolve, size_of
from structops_cli.btf.types import Array, BtfType, Composite, Enum, Enum64, Enumerator, Fwd, UnknownKind
from structops_cli.errors import BtfError
from structops_cli.syscall.uapi import BtfKind
from structops_cli.syscall.uapi import CoreReloKind as Kind

MAX_STEPS = 64
"""The most indexes of an access string (libbpf's BPF_CORE_SPEC_MAX_LEN)."""
_TAG_WORDS = {BtfKind.STRUCT: "struct", BtfKind.UNION: "union", BtfKind.ENUM: "enum", BtfKind.ENUM64: "enum"}
_MAX_LENGTH = 11 * MAX_STEPS
_MAX_BIT_OFFSET = 8 << 32
_new = tuple.__new__
"""Builds a NamedTuple in half the time of its constructor."""


class Field(NamedTuple):
    """A place within a root type. ``type`` is resolved; ``bit_size`` is 0 unless a bit-field."""

    type: BtfType
    bit_offset: int
    bit_size: int


class AccessStep(NamedTuple):
    """A step to a named member, or without ``name`` to element ``number`` of an array."""

    name: str
    number: int
    type: BtfType


class FieldAccess(NamedTuple):
    """A decoded access: from element ``first_index`` of ``root`` by ``steps`` to ``field``.

    An access may end in an anonymous member behind the last name; clang does so
    for a bit-field read as plain C. ``tail_bits`` is the distance to that member.
    """

    root: int
    first_index: int
    steps: tuple[AccessStep, ...]
    field: Field
    tail_bits: int


def read_field(local: Btf, type_id: int, access: str) -> FieldAccess:
    """Return the field that ``access`` leads to from the root type ``type_id``.

    Raises BtfError for a string that does not fit the type.
    """
    first, *rest = _indexes(local, type_id, access)
    inside = named = resolve(local, type_id)
    bit_offset = named_offset = first * size_of(local, type_id) * 8 if first else 0
    bit_size = named_bits = 0
    may_grow = False
    steps: list[AccessStep] = []
    for index in rest:
        if isinstance(inside, Composite):
            if index >= len(inside.members):
                raise _misfit(local, type_id, access, f"{spell_type(local, inside.id)} has no member {index}")
            name, member_type, member_offset, bit_size = inside.members[index]
            may_grow = index == len(inside.members) - 1
            inside = resolve(local, member_type)
            bit_offset += member_offset
            if not name:
                continue
        elif isinstance(inside, Array) and (index < inside.count or (may_grow and inside.count == 0)):
            name, bit_size, may_grow = "", 0, False
            bit_offset += element_offset(local, inside, index)
            inside = resolve(local, inside.element_type)
        else:
            raise _misfit(local, type_id, access, f"{spell_type(local, inside.id)} has no element {index}")
        named, named_offset, named_bits = inside, bit_offset, bit_size
        steps.append(_new(AccessStep, (name, index, inside)))
    if bit_offset >= _MAX_BIT_OFFSET:
        raise _misfit(local, type_id, access, "the offset does not fit 32 bits")
    field = _new(Field, (named, bit_offset, named_bits))
    return _new(FieldAccess, (type_id, first, tuple(steps), field, bit_offset - named_offset))


def element_offset(btf: Btf, array: Array, number: int) -> int:
    """Return the offset of an array element in bits."""
    return number * size_of(btf, array.element_type) * 8 if number else 0


def read_enumerator(local: Btf, type_id: int, access: str) -> Enumerator:
    """Return the enumerator that ``access`` numbers in an enum or a typedef of one.

    Raises BtfError for another type and for a missing value.
    """
    indexes = _indexes(local, type_id, access)
    enum = resolve(local, type_id)
    if not isinstance(enum, Enum | Enum64):
        raise _misfit(local, type_id, access, "the type is not an enum")
    if len(indexes) > 1 or indexes[0] >= len(enum.values):
        raise _misfit(local, type_id, access, f"the enum has {len(enum.values)} values")
    return enum.values[indexes[0]]


def check_whole_type(local: Btf, type_id: int, access: str) -> None:
    """Check the access string of a relocation of a whole type, which is ``"0"``."""
    if access != "0":
        raise _misfit(local, type_id, access, "a relocation of a whole type has no path")


def spell_type(btf: Btf, type_id: int) -> str:
    """Return a type in words: ``struct tcp_sock``, ``u32``, ``an anonymous union``."""
    kind, name = btf.kind(type_id), btf.name(type_id)
    if kind is None:
        target = btf.type(type_id)
        assert isinstance(target, UnknownKind)
        return target.describe()
    if not name:
        return "void" if kind == BtfKind.VOID else f"an anonymous {kind.name.lower()}"
    declared = btf.type(type_id) if kind == BtfKind.FWD else None
    if isinstance(declared, Fwd):
        kind = BtfKind.UNION if declared.is_union else BtfKind.STRUCT
    word = _TAG_WORDS.get(kind)
    return f"{word} {name}" if word else name


def spell_field(btf: Btf, path: FieldAccess) -> str:
    """Return a field in words: ``struct a[2].b[3].c``."""
    root = spell_type(btf, path.root)
    first = f"[{path.first_index}]" if path.first_index else ""
    return root + first + "".join(f".{step.name}" if step.name else f"[{step.number}]" for step in path.steps)


def _indexes(local: Btf, type_id: int, access: str) -> tuple[int, ...]:
    indexes = _numbers(access)
    if indexes is None:
        raise _misfit(local, type_id, access, f"it is not a list of up to {MAX_STEPS} numbers")
    return indexes


@lru_cache(1024)
def _numbers(access: str) -> tuple[int, ...] | None:
    """Return the numbers of an access string, None for a wrong string."""
    if not (access.isascii() and access.replace(":", "0").isdigit()) or len(access) > _MAX_LENGTH:
        return None
    parts = access.split(":")
    return None if len(parts) > MAX_STEPS or "" in parts else tuple([int(part) for part in parts])


def _misfit(local: Btf, type_id: int, access: str, why: str) -> BtfError:
    root = spell_type(local, type_id)
    shown = access if len(access) <= MAX_STEPS else access[:MAX_STEPS] + "..."
    return BtfError(
        f"the access string {shown!r} of a CO-RE relocation does not fit {root}",
        why=why,
        # GCC 14 may name const struct sock for a struct that begins with one
        hint="The object's .BTF and .BTF.ext do not belong together; compile it again, with clang or GCC 16 if it is of GCC 14.",
        section=".BTF.ext",
        type_id=type_id,
    )


ENUM_KINDS = (Kind.ENUMVAL_EXISTS, Kind.ENUMVAL_VALUE)
TYPE_KINDS = (Kind.TYPE_ID_LOCAL, Kind.TYPE_ID_TARGET, Kind.TYPE_EXISTS, Kind.TYPE_SIZE, Kind.TYPE_MATCHES)
ASKS = {
    Kind.FIELD_BYTE_OFFSET: "byte offset",
    Kind.FIELD_BYTE_SIZE: "byte size",
    Kind.FIELD_EXISTS: "exists",
    Kind.FIELD_SIGNED: "signed",
    Kind.FIELD_LSHIFT_U64: "left shift",
    Kind.FIELD_RSHIFT_U64: "right shift",
    Kind.TYPE_ID_LOCAL: "type id in the object",
    Kind.TYPE_ID_TARGET: "type id",
    Kind.TYPE_EXISTS: "exists",
    Kind.TYPE_SIZE: "byte size",
    Kind.ENUMVAL_EXISTS: "exists",
    Kind.ENUMVAL_VALUE: "value",
    Kind.TYPE_MATCHES: "matches",
}


def subject(local: Btf, type_id: int, access: str, kind: Kind) -> str:
    """Return the subject of a relocation: a field, a type, or ``A of enum b``."""
    if kind in ENUM_KINDS:
        return f"{read_enumerator(local, type_id, access).name} of {spell_type(local, type_id)}"
    if kind in TYPE_KINDS:
        return spell_type(local, type_id)
    return spell_field(local, read_field(local, type_id, access))
