"""The native index of a BTF type section: where each type begins, and which types bear a name.

Pure: bytes in, numbers out. The native side (``native_btf.c``) walks the
section once, checks that every record is whole, of a kind with a known size
and named within the strings, and keeps 4 bytes for each type; no Python object per type
is made. The 126,000 types of a kernel take about a millisecond, and three more
when the first name is looked up.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from structops_cli.errors import BtfError
from structops_cli.syscall._native import ffi, lib

if TYPE_CHECKING:
    from mmap import mmap

__all__ = ["ALL_KINDS", "MAX_NAME", "UNKNOWN_KINDS", "BtfIndex"]

ALL_KINDS = 0xFFFFFFFF
"""The set of kinds that holds every kind: bit ``1 << kind`` stands for one."""
UNKNOWN_KINDS = 1 << lib.SO_BTF_UNKNOWN
"""The set of the kinds that ``BtfKind`` does not have."""
MAX_NAME = 511
"""The longest name that can be looked up, as in the kernel (``KSYM_NAME_LEN``)."""


class BtfIndex:
    """An index over the type and string sections of one BTF.

    ``data`` is the whole BTF; ``types``, ``strings`` and ``layout`` are (offset, length)
    in it. The index borrows ``data``, which must not change, and keeps it
    alive, and so it does ``base``, whose ids and string offsets it continues,
    and whose layout counts where it has none (libbpf: likewise).
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

        BtfError names the first type that cannot be read. With ``partial``, the
        types in front of it are there, and ``damage`` is the error.
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
        """Return where an own type's record begins in the type section; None for an id that is not one."""
        if not self.start_id <= type_id < self.end_id:
            return None
        return int(self._offsets[type_id - self.start_id])

    def check(self) -> None:
        """Check what the own types say about each other; BtfError names the first that cannot be."""
        fault = ffi.new("struct so_btf_fault *")
        if lib.so_btf_check(self.handle, fault) != 0:
            raise self._error(fault)

    def named(self, name: bytes, kinds: int = ALL_KINDS) -> Iterator[int]:
        """Yield the own ids, in order, of the types of these kinds with exactly this name."""
        return self._ids(lib.so_btf_next_named, name, kinds)

    def essentially_named(self, name: bytes, kinds: int = ALL_KINDS) -> Iterator[int]:
        """Yield the own ids, in order, of the types whose name without its flavour is this one."""
        return self._ids(lib.so_btf_next_essential, name, kinds)

    def prefixed(self, prefix: bytes, kinds: int = ALL_KINDS) -> Iterator[int]:
        """Yield the own ids, in order, of the types whose name begins so."""
        return self._ids(lib.so_btf_next_prefixed, prefix, kinds)

    def of_kinds(self, kinds: int) -> Iterator[int]:
        """Yield the own ids, in order, of the types of these kinds."""
        return self._walk(lib.so_btf_next_prefixed, b"", kinds)

    def _ids(self, following: Callable[..., int], name: bytes, kinds: int) -> Iterator[int]:
        """Walk the ids of a name; nothing has an empty one, or one that is too long."""
        return self._walk(following, name, kinds) if 0 < len(name) <= MAX_NAME else iter(())

    def _walk(self, following: Callable[..., int], name: bytes, kinds: int) -> Iterator[int]:
        """Walk a chain of ids; 0 ends it."""
        found = 0
        while found := following(self.handle, name, len(name), kinds, found):
            if found == lib.SO_BTF_NO_INDEX:
                raise MemoryError("no memory for the name index of a BTF")
            yield found

    def _error(self, fault: Any) -> Exception:
        """Turn a fault that the native side found into an exception."""
        from structops_cli.syscall.btf_faults import fault_error

        offset = self._types + fault.offset
        kind = ord(self._hold[offset + 7]) & 0x7F if offset + 7 < len(self._hold) else 0
        last = self.end_id - 1 if hasattr(self, "end_id") else 0
        return fault_error(fault, kind, offset, last, self._origin)
