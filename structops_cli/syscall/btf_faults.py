"""What the native side found wrong with a BTF, in words. Imported only when something is."""

from __future__ import annotations

from typing import Any

from structops_cli.errors import BtfError
from structops_cli.syscall._native import lib
from structops_cli.syscall.uapi import BtfKind

__all__ = ["fault_error"]

_REASONS: dict[int, str] = {
    lib.SO_BTF_TRUNCATED: "its record ends {value} bytes beyond the type section",
    lib.SO_BTF_KIND: "it is of kind {value}, and nothing says how many bytes such a type has",
    lib.SO_BTF_NAME: "its name is at offset {value}, beyond the strings",
    lib.SO_BTF_INFO: "info {value:#010x} has bits that mean nothing for its kind",
    lib.SO_BTF_TOO_MANY: "a kernel takes {value} types at most",
    lib.SO_BTF_BAD_NAME: "its name, at offset {value}, is too long or has a character that no name has",
    lib.SO_BTF_NO_NAME: "it has no name",
    lib.SO_BTF_NAMED: "it has a name, at offset {value}, which its kind has not",
    lib.SO_BTF_NO_TYPE: "there is no type {value}, the last one is {last}",
    lib.SO_BTF_WRONG_KIND: "type {value} is of a kind that cannot be there",
    lib.SO_BTF_SIZE: "its kind has no size of {value} bytes",
    lib.SO_BTF_BITS: "its bits are no part of its storage",
    lib.SO_BTF_LINKAGE: "there is no linkage {value}",
    lib.SO_BTF_VOID: "it is void, and not the end of a variadic prototype",
    lib.SO_BTF_CYCLE: "it contains type {value}, which contains it",
    lib.SO_BTF_ENDLESS: "type {value} goes through too many typedefs, modifiers and arrays",
    lib.SO_BTF_NO_SIZE: "type {value} has no size",
    lib.SO_BTF_TOO_LARGE: "type {value} has 2**32 bytes or more",
    lib.SO_BTF_ORDER: "bit {value} is before the member in front of it",
    lib.SO_BTF_OUTSIDE: "it begins at bit {value} and ends beyond the size of the whole",
    lib.SO_BTF_COMPONENT: "what it tags has no component {value}",
}
"""By ``SO_BTF_*`` of ``native_btf.h``. "it" is the type, or the part of it that the sentence begins with."""

NEWER = "use a newer structops, or BTF with a layout section (pahole 1.31, --btf_features=layout)"
"""Of a kind that is neither known nor described by a layout."""
_PARTS = {
    BtfKind.STRUCT: "member",
    BtfKind.UNION: "member",
    BtfKind.ENUM: "value",
    BtfKind.ENUM64: "value",
    BtfKind.FUNC_PROTO: "parameter",
    BtfKind.DATASEC: "entry",
}
_ARRAY_PARTS = ("element", "index")


def fault_error(fault: Any, kind: int, offset: int, last: int, origin: str) -> Exception:
    """Return the exception for a ``struct so_btf_fault``.

    ``kind`` is the kind of the faulty type (or what stands in its place),
    ``offset`` that of its record in the whole BTF, ``last`` the last type id.
    """
    if fault.code == lib.SO_BTF_NO_MEMORY:
        return MemoryError("no memory for the index of a BTF")
    if fault.code == lib.SO_BTF_STRINGS:
        return BtfError(f"{origin} is damaged", why="the string section does not end with a NUL")
    why = _REASONS[fault.code].format(value=fault.value, last=last)
    if fault.code == lib.SO_BTF_KIND and not fault.value:
        why = "it is of kind 0, which no type has"
    if fault.member != lib.SO_BTF_WHOLE:
        why = f"{_part(kind, fault.member)}: {why}"
    if fault.code == lib.SO_BTF_KIND and fault.value:
        what = f"{origin} cannot be read at type {fault.type_id}, byte {offset}"
        return BtfError(what, why=why, hint=NEWER, type_id=fault.type_id, offset=offset)
    what = f"{origin} is damaged at type {fault.type_id}, byte {offset}"
    return BtfError(what, why=why, type_id=fault.type_id, offset=offset)


def _part(kind: int, number: int) -> str:
    """Name a part of a type: ``member 3``."""
    if kind == BtfKind.ARRAY:
        return _ARRAY_PARTS[number]
    return f"{_PARTS[BtfKind(kind)]} {number}"
