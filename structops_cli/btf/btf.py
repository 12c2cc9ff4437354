"""Find the types of a kernel, a module or an object by id and by name.

``Btf`` decodes a type at first use and keeps it. It borrows the bytes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from struct import Struct as Layout
from struct import error as layout_error
from typing import TYPE_CHECKING

from structops_cli.btf.decode import KIND, RECORD, decode
from structops_cli.btf.header import parse_sections
from structops_cli.btf.names import NameCache, Strings
from structops_cli.btf.types import BtfType, Datasec, UnknownKind, Void
from structops_cli.errors import BtfError
from structops_cli.syscall.btf_index import ALL_KINDS, UNKNOWN_KINDS, BtfIndex
from structops_cli.syscall.uapi import BtfKind

if TYPE_CHECKING:
    from mmap import mmap

_VOID = Void()
_KINDS = tuple(BtfKind)
_WORD = Layout("<I")
_ENTRY = Layout("<III")


class Btf:
    """The types of one BTF. A split BTF continues the ids and strings of its ``base``.

    Id 0 is void. Every id, offset and name is checked before use.
    Damage raises BtfError.
    """

    def __init__(
        self,
        data: bytes | mmap | memoryview,
        *,
        base: Btf | None = None,
        origin: str = "BTF",
        partial: bool = False,
    ) -> None:
        """Read a BTF. It borrows ``data``, which must not change; a memoryview is copied.

        Raises BtfError for a damaged header, record or string section. ``check``
        compares the types with each other. ``partial`` keeps the types in front of
        a damaged record, and ``damage`` then holds the error.
        """
        self.origin = origin
        """The file or section, for messages."""
        self.base = base
        # CPython 3.11 crashes when it clears a view in a reference cycle before cffi's borrow of it.
        self._data: bytes | mmap = bytes(data) if isinstance(data, memoryview) else data
        sections = parse_sections(self._data, origin, split=base is not None)
        self.unknown_header = sections.unknown_header
        """The bytes of the header that only a newer tool knows."""
        self.has_layout = sections.layout_length > 0
        """Whether the BTF has the layout section of Linux 7.1."""
        self._types_offset = sections.types_offset
        self._types_end = sections.types_offset + sections.types_length
        self.index: BtfIndex = BtfIndex(
            self._data,
            (sections.types_offset, sections.types_length),
            (sections.strings_offset, sections.strings_length),
            (sections.layout_offset, sections.layout_length),
            base=None if base is None else base.index,
            origin=origin,
            partial=partial,
        )
        self.strings: Strings = Strings(
            self._data,
            sections.strings_offset,
            sections.strings_length,
            None if base is None else base.strings,
            origin,
        )
        self.names = NameCache(self.strings, origin)
        """Names by string offset, for decoders."""
        self.start_id = self.index.start_id
        """The first own id: 1, or the base's ``end_id``."""
        self.end_id = self.index.end_id
        """One past the last id."""
        self.alignments: dict[int, int] = {}
        """The cache of ``layout.align_of``, by type id."""
        self.resolved: dict[int, BtfType] = {}
        """The cache of ``layout.resolve``, by type id."""
        self._decoded: dict[int, BtfType] = {0: _VOID}

    @property
    def damage(self) -> BtfError | None:
        """The reason why types from ``end_id`` on are lost, in a partial BTF."""
        return self.index.damage

    def unknown_kinds(self) -> dict[int, int]:
        """Count the own types of unknown kinds, by the number of the kind."""
        counts: dict[int, int] = {}
        for type_id in self.of_unknown_kinds():
            kind = self._kind_number(type_id)
            counts[kind] = counts.get(kind, 0) + 1
        return counts

    def unknown_parts(self) -> tuple[str, ...]:
        """Return the unknown parts in words, such as ``3 types of kind 20``."""
        header = (f"the last {self.unknown_header} bytes of the header",) if self.unknown_header else ()
        kinds = sorted(self.unknown_kinds().items())
        return (*header, *(f"{count} type{'s' * (count > 1)} of kind {kind}" for kind, count in kinds))

    def of_unknown_kinds(self) -> Iterator[int]:
        """Yield the own ids of unknown kinds, in order."""
        return self.index.of_kinds(UNKNOWN_KINDS) if self.index.unknown else iter(())

    def type(self, type_id: int) -> BtfType:
        """Return a type by id. Raises BtfError for an unknown id and for damage."""
        decoded = self._decoded.get(type_id)
        if decoded is not None:
            return decoded
        if 0 <= type_id < self.start_id and self.base is not None:
            return self.base.type(type_id)
        offset = self.offset(type_id)
        try:
            decoded = decode(type_id, self._data, offset, self.names) or self._unknown(type_id)
        except BtfError as error:
            error.add(type_id=type_id, offset=offset)
            error.what = f"{self.origin} is damaged at type {type_id}, byte {offset}"
            raise
        self._decoded[type_id] = decoded
        return decoded

    def _unknown(self, type_id: int) -> UnknownKind:
        return UnknownKind(type_id, self.name(type_id), self._kind_number(type_id), self.record(type_id))

    def kind(self, type_id: int) -> BtfKind | None:
        """Return the kind of a type without decoding it, None for an unknown kind."""
        if type_id == 0:
            return BtfKind.VOID
        if 0 <= type_id < self.start_id and self.base is not None:
            return self.base.kind(type_id)
        kind = self._kind_number(type_id)
        return _KINDS[kind] if kind < len(_KINDS) else None

    def _kind_number(self, type_id: int) -> int:
        return self._data[self.offset(type_id) + 7] & KIND

    def name(self, type_id: int) -> str:
        """Return the name of a type without decoding it, "" for an anonymous type."""
        if type_id == 0:
            return ""
        if 0 <= type_id < self.start_id and self.base is not None:
            return self.base.name(type_id)
        return self.names[RECORD.unpack_from(self._data, self.offset(type_id))[0]]

    def string(self, offset: int) -> str:
        r"""Return the string at an offset, the base's strings first.

        Invalid UTF-8 becomes ``\xNN``. Raises BtfError beyond the end.
        """
        return self.strings.text(offset)

    def ids(self, name: str, *kinds: BtfKind) -> tuple[int, ...]:
        """Return the ids of the types with exactly this name, the base's first.

        Without ``kinds``, types of every kind count.
        """
        own = tuple(self.index.named(name.encode(errors="replace"), _kind_set(kinds)))
        return own if self.base is None else self.base.ids(name, *kinds) + own

    def find(self, name: str, *kinds: BtfKind) -> int | None:
        """Return the first of ``ids()``, None if there is none."""
        found = self.base.find(name, *kinds) if self.base is not None else None
        if found is not None:
            return found
        return next(self.index.named(name.encode(errors="replace"), _kind_set(kinds)), None)

    def candidates(self, essential_name: str) -> tuple[int, ...]:
        """Return the own ids, in order, whose name without its flavour is this one."""
        return tuple(self.index.essentially_named(essential_name.encode(errors="replace")))

    def with_prefix(self, prefix: str, *kinds: BtfKind) -> tuple[int, ...]:
        """Return the own ids, in order, of the types whose name starts with ``prefix``."""
        return tuple(self.index.prefixed(prefix.encode(errors="replace"), _kind_set(kinds)))

    def of_kinds(self, *kinds: BtfKind) -> Iterator[int]:
        """Yield the own ids, in order, of the types of these kinds."""
        return self.index.of_kinds(_kind_set(kinds))

    def types(self) -> Iterator[BtfType]:
        """Decode the own types, in id order."""
        return map(self.type, range(self.start_id, self.end_id))

    def check(self) -> None:
        """Check how the own types fit together, as strictly as BTF_LOAD does.

        Names, ids, kinds and sizes must fit, and no type may contain itself
        (``native_btf_check.c``). The check is linear in types and members. After
        it every own type decodes. Raises BtfError for the first fault.
        """
        self.index.check()

    def record(self, type_id: int) -> bytes:
        """Return the bytes of an own type's record."""
        return self._data[self.offset(type_id) : self._record_end(type_id)]

    def _record_end(self, type_id: int) -> int:
        return self.offset(type_id + 1) if type_id + 1 < self.end_id else self._types_end

    def raw(self) -> bytes:
        """Return the bytes of the whole BTF, as BTF_LOAD takes them."""
        return self._data[:]

    def with_datasecs(self, datasecs: Iterable[Datasec]) -> Btf:
        """Return a copy with the sizes and entries of these Datasecs, found by id.

        Each must keep its variables, in any order. Names do not change. Raises
        BtfError for other ids or variables, and for numbers beyond 32 bits.
        """
        patched = bytearray(self._data)
        for datasec in datasecs:
            current = self.type(datasec.id) if datasec.id >= self.start_id else None
            variables = sorted(entry.type for entry in datasec.entries)
            if (
                not isinstance(current, Datasec)
                or sorted(entry.type for entry in current.entries) != variables
            ):
                why = f"type {datasec.id} is not a section of these {len(variables)} variables"
                raise BtfError(f"{self.origin} cannot be changed", why=why, type_id=datasec.id)
            self._patch(patched, datasec)
        return Btf(bytes(patched), base=self.base, origin=self.origin)

    def _patch(self, data: bytearray, datasec: Datasec) -> None:
        offset = self.offset(datasec.id)
        try:
            _WORD.pack_into(data, offset + 8, datasec.size_bytes)
            for number, entry in enumerate(datasec.entries):
                _ENTRY.pack_into(data, offset + RECORD.size + number * _ENTRY.size, *entry)
        except layout_error as error:
            why = f"section {datasec.name}: a size or offset does not fit in 32 bits"
            raise BtfError(f"{self.origin} cannot be changed", why=why, type_id=datasec.id) from error

    def offset(self, type_id: int) -> int:
        """Return the byte offset of an own type's record. Raises BtfError for an unknown id."""
        offset = self.index.offset(type_id)
        if offset is None:
            why = f"the last one is {self.end_id - 1}"
            raise BtfError(f"{self.origin} has no type {type_id}", why=why, type_id=type_id)
        return self._types_offset + offset


def _kind_set(kinds: tuple[BtfKind, ...]) -> int:
    """Return the kinds as a bit set for the index."""
    wanted = 0
    for kind in kinds:
        wanted |= 1 << kind
    return wanted or ALL_KINDS
