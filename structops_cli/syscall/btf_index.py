"""The native index of BTF: where each type begins, and which types have a name.

Pure: bytes in, numbers out. ``native_btf.c`` walks the type section once. It checks
that each record is whole, of a kind with a known size, and named within the strings.
It keeps 4 bytes for each type and creates no Python object. The 126,000 types of a
kernel take about a millisecond, and three more at the first look-up of a name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from structops_cli.errors import BtfError
from structops_cli.syscall._native import ffi, lib
from structops_cli.syscall.uapi import BtfKind

if TYPE_CHECKING:
    from mmap import mmap

ALL_KINDS = 0xFFFFFFFF
"""The set of all kinds; bit ``1 << kind`` stands for one."""
UNKNOWN_KINDS = 1 << lib.SO_BTF_UNKNOWN
"""The set of kinds that ``BtfKind`` does not have."""
MAX_NAME = 511
"""Bytes of the longest name that can be looked up (``KSYM_NAME_LEN`` of the kernel)."""


class BtfIndex:
    """An index over the type and string sections of one BTF.

    ``data`` is the whole BTF; ``types``, ``strings`` and ``layout`` are (offset, length)
    in it. The index borrows ``data``, which must not change, and keeps it alive. It
    continues the ids and string offsets of ``base``. Without a layout it uses the layout of
    ``base``, as libbpf does.
    """

    __slots__ = (
        "_base",
        "_hold",
        "_offsets",
        "_origin",
        "_types",
        "damage",
        "end_id",
        "handle",
        "layout",
        "start_id",
        "unknown",
    )  # fmt: skip

    def __init__(
        self,
        data: bytes | mmap,
        types: tuple[int, int],
        strings: tuple[int, int],
        layout: tuple[int, int] = (0, 0),
        *,
        base: BtfIndex | None = None,
        origin: str = "BTF",
        partial: bool = False,
    ) -> None:
        """Walk the types once.

        ``BtfError`` names the first unreadable type. With ``partial`` the index keeps the
        types before it, and ``damage`` holds the error.
        """
        self._hold: Any = ffi.from_buffer("char[]", data)
        self._base = base
        self._origin = origin
        self._types = types[0]
        size = len(self._hold)
        sections = (types, strings, layout)
        if any(offset < 0 or length < 0 or offset + length > size for offset, length in sections):
            raise BtfError(f"{origin} is damaged", why=f"a section lies beyond its {size} bytes")
        fault = ffi.new("struct so_btf_fault *")
        self.layout: Any = self._section(*layout) if layout[1] or base is None else base.layout
        handle = lib.so_btf_open(
            self._section(*types),
            self._section(*strings),
            self.layout,
            ffi.NULL if base is None else base.handle,
            partial,
            fault,
        )
        if not handle:
            raise self._error(fault)
        self.handle: Any = ffi.gc(handle, lib.so_btf_close)
        self.start_id: int = lib.so_btf_start_id(handle)
        """The first own id."""
        self.end_id: int = lib.so_btf_end_id(handle)
        """One past the last own id."""
        self.unknown: int = lib.so_btf_unknown(handle)
        """How many own types are of ``UNKNOWN_KINDS``."""
        self.damage: BtfError | None = None
        """The reason why types behind the last own one cannot be read; None without ``partial``."""
        if fault.code and isinstance(damage := self._error(fault), BtfError):
            self.damage = damage
        self._offsets: Any = lib.so_btf_offsets(handle)

    def _section(self, offset: int, length: int) -> Any:
        return ffi.new("struct so_btf_section *", (self._hold + offset, length))[0]

    def offset(self, type_id: int) -> int | None:
        """Return where the record of an own type begins in the type section, else None."""
        if not self.start_id <= type_id < self.end_id:
            return None
        return int(self._offsets[type_id - self.start_id])

    def check(self) -> None:
        """Check the references between own types. ``BtfError`` names the first bad one."""
        fault = ffi.new("struct so_btf_fault *")
        if lib.so_btf_check(self.handle, fault) != 0:
            raise self._error(fault)

    def named(self, name: bytes, kinds: int = ALL_KINDS) -> Iterator[int]:
        """Yield the own ids of the types of these kinds with exactly this name, in order."""
        return self._ids(lib.so_btf_next_named, name, kinds)

    def essentially_named(self, name: bytes, kinds: int = ALL_KINDS) -> Iterator[int]:
        """Yield the own ids of the types whose name without its flavour is this one, in order."""
        return self._ids(lib.so_btf_next_essential, name, kinds)

    def prefixed(self, prefix: bytes, kinds: int = ALL_KINDS) -> Iterator[int]:
        """Yield the own ids of the types whose name starts with a prefix, in order."""
        return self._ids(lib.so_btf_next_prefixed, prefix, kinds)

    def of_kinds(self, kinds: int) -> Iterator[int]:
        """Yield the own ids of the types of these kinds, in order."""
        return self._walk(lib.so_btf_next_prefixed, b"", kinds)

    def _ids(self, following: Callable[..., int], name: bytes, kinds: int) -> Iterator[int]:
        """Walk the ids of a name. No type has an empty name, or a longer one than MAX_NAME."""
        return self._walk(following, name, kinds) if 0 < len(name) <= MAX_NAME else iter(())

    def _walk(self, following: Callable[..., int], name: bytes, kinds: int) -> Iterator[int]:
        """Walk a chain of ids, which 0 ends."""
        found = 0
        while found := following(self.handle, name, len(name), kinds, found):
            if found == lib.SO_BTF_NO_INDEX:
                raise MemoryError("no memory for the name index of a BTF")
            yield found

    def _error(self, fault: Any) -> Exception:
        """Turn a fault that the native side found into an exception."""
        offset = self._types + fault.offset
        kind = ord(self._hold[offset + 7]) & 0x7F if offset + 7 < len(self._hold) else 0
        last = self.end_id - 1 if hasattr(self, "end_id") else 0
        return fault_error(fault, kind, offset, last, self._origin)


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
    lib.SO_BTF_COMPONENT: "the tagged type has no component {value}",
}
"""By ``SO_BTF_*`` of ``native_btf.h``. "it" is the type, or the part that the sentence names."""

NEWER = "use a newer structops, or BTF with a layout section (pahole 1.31, --btf_features=layout)"
"""The hint for a kind that neither this project nor a layout section describes."""
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

    ``kind`` is the kind of the faulty type, ``offset`` the offset of its record in the
    whole BTF, ``last`` the last type id.
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
