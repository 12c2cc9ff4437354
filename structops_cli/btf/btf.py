"""One BTF: the types of a kernel, of a module or of an object, found by id and by name.

Types are decoded when they are asked for, and then kept. Bytes and mappings
are not copied: ``Btf`` holds on to what it was given.
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

__all__ = ["Btf"]

_VOID = Void()
_KINDS = tuple(BtfKind)
_WORD = Layout("<I")
_ENTRY = Layout("<III")


class Btf:
    """The types of one BTF, on top of those of its ``base`` if it is split.

    Ids and string offsets continue those of the base; 0 is void. Every id,
    offset and name that comes from the bytes is checked before use: BtfError.
    """

    def __init__(
        self,
        data: bytes | mmap | memoryview,
        *,
        base: Btf | None = None,
        origin: str = "BTF",
        partial: bool = False,
    ) -> None:
        """Read a BTF; ``from_bytes`` says the same by name."""
        self.origin = origin
        """What it was read from, for messages."""
        self.base = base
        """The BTF that this one continues, or None."""
        # A view in a reference cycle is cleared before what cffi borrowed of it: CPython 3.11 then crashes.
        self._data: bytes | mmap = bytes(data) if isinstance(data, memoryview) else data
        sections = parse_sections(self._data, origin, split=base is not None)
        self.unknown_header = sections.unknown_header
        """The bytes of the header that structops does not know: a newer tool wrote them."""
        self.has_layout = sections.layout_length > 0
        """Whether it has the layout section of Linux 7.1."""
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
        """The string section, the base's before it."""
        self.names = NameCache(self.strings, origin)
        """NameCache by string offset, for decoders."""
        self.start_id = self.index.start_id
        """The first own id: 1, or the base's ``end_id``."""
        self.end_id = self.index.end_id
        """One past the last id."""
        self.alignments: dict[int, int] = {}
        """What ``layout.align_of`` has found, by type id."""
        self.resolved: dict[int, BtfType] = {}
        """What ``layout.resolve`` has found, by type id."""
        self._decoded: dict[int, BtfType] = {0: _VOID}

    @classmethod
    def from_bytes(
        cls,
        data: bytes | mmap | memoryview,
        *,
        base: Btf | None = None,
        origin: str = "BTF",
        partial: bool = False,
    ) -> Btf:
        """Read a BTF.

        Bytes behind the last section are ignored. The data must not change; it
        is borrowed (a memoryview: copied). BtfError for a damaged header, record or string section; what
        the types say about each other is for ``check``.

        With ``partial``, types in front of a damaged record can be read, and
        ``damage`` is the error that there is otherwise.
        """
        return cls(data, base=base, origin=origin, partial=partial)

    @property
    def damage(self) -> BtfError | None:
        """The reason why types from ``end_id`` on cannot be read; only a partial BTF has one."""
        return self.index.damage

    def unknown_kinds(self) -> dict[int, int]:
        """Return how many own types there are of each kind that structops does not know, by its number."""
        counts: dict[int, int] = {}
        for type_id in self.of_unknown_kinds():
            kind = self._kind_number(type_id)
            counts[kind] = counts.get(kind, 0) + 1
        return counts

    def unknown_parts(self) -> tuple[str, ...]:
        """Return the parts that were skipped because structops does not know them: ``3 types of kind 20``."""
        header = (f"the last {self.unknown_header} bytes of the header",) if self.unknown_header else ()
        kinds = sorted(self.unknown_kinds().items())
        return (*header, *(f"{count} type{'s' * (count > 1)} of kind {kind}" for kind, count in kinds))

    def of_unknown_kinds(self) -> Iterator[int]:
        """Yield the own ids, in order, of the types whose kind structops does not know."""
        return self.index.of_kinds(UNKNOWN_KINDS) if self.index.unknown else iter(())

    def type(self, type_id: int) -> BtfType:
        """Return a type by id; BtfError for one that does not exist or is damaged."""
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
        """Return the kind of a type without decoding it; None for one that structops does not know."""
        if type_id == 0:
            return BtfKind.VOID
        if 0 <= type_id < self.start_id and self.base is not None:
            return self.base.kind(type_id)
        kind = self._kind_number(type_id)
        return _KINDS[kind] if kind < len(_KINDS) else None

    def _kind_number(self, type_id: int) -> int:
        return self._data[self.offset(type_id) + 7] & KIND

    def name(self, type_id: int) -> str:
        """Return the name of a type without decoding it; "" for an anonymous one."""
        if type_id == 0:
            return ""
        if 0 <= type_id < self.start_id and self.base is not None:
            return self.base.name(type_id)
        return self.names[RECORD.unpack_from(self._data, self.offset(type_id))[0]]

    def string(self, offset: int) -> str:
        r"""Return the string at an offset of the string section, the base's first; BtfError beyond the end.

        Bytes that are no UTF-8 come out as ``\xNN``.
        """
        return self.strings.text(offset)

    def ids(self, name: str, *kinds: BtfKind) -> tuple[int, ...]:
        """Return the ids of the types with exactly this name, the base's included, in id order.

        Without ``kinds``, types of every kind.
        """
        own = tuple(self.index.named(name.encode(errors="replace"), _kind_set(kinds)))
        return own if self.base is None else self.base.ids(name, *kinds) + own

    def find(self, name: str, *kinds: BtfKind) -> int | None:
        """Return the first of ``ids()``, None when there is none."""
        found = self.base.find(name, *kinds) if self.base is not None else None
        if found is not None:
            return found
        return next(self.index.named(name.encode(errors="replace"), _kind_set(kinds)), None)

    def candidates(self, essential_name: str) -> tuple[int, ...]:
        """Return the own ids, in order, of all types whose name without its flavour is this one."""
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
        """Check what the own types say about each other; BtfError names the first that cannot be, and why.

        As strict as the kernel at BTF_LOAD (``native_btf_check.c``): names,
        ids, kinds and sizes fit, and no type contains itself. Linear in the
        number of types and members. After it every own type decodes.
        """
        self.index.check()

    def record(self, type_id: int) -> bytes:
        """Return the bytes of an own type's record; BtfError for an id that does not exist."""
        return self._data[self.offset(type_id) : self._record_end(type_id)]

    def _record_end(self, type_id: int) -> int:
        return self.offset(type_id + 1) if type_id + 1 < self.end_id else self._types_end

    def raw(self) -> bytes:
        """Return the bytes as they were given, as BTF_LOAD takes them."""
        return self._data[:]

    def with_datasecs(self, datasecs: Iterable[Datasec]) -> Btf:
        """Return a copy in which the Datasecs of the same ids have these sizes and entries.

        The variables must be the same, in any order; names are not changed.
        BtfError for an id that is no own Datasec of these variables, and for a
        number that its field cannot hold.
        """
        patched = bytearray(self._data)
        for datasec in datasecs:
            current = self.type(datasec.id) if datasec.id >= self.start_id else None
            variables = sorted(entry.type for entry in datasec.entries)
            if (
                not isinstance(current, Datasec)
                or sorted(entry.type for entry in current.entries) != variables
            ):
                why = f"type {datasec.id} is no section of these {len(variables)} variables"
                raise BtfError(f"{self.origin} cannot be changed", why=why, type_id=datasec.id)
            self._patch(patched, datasec)
        return Btf(bytes(patched), base=self.base, origin=self.origin)

    def _patch(self, data: bytearray, datasec: Datasec) -> None:
        """Write the size and the entries of a Datasec over its record."""
        offset = self.offset(datasec.id)
        try:
            _WORD.pack_into(data, offset + 8, datasec.size_bytes)
            for number, entry in enumerate(datasec.entries):
                _ENTRY.pack_into(data, offset + RECORD.size + number * _ENTRY.size, *entry)
        except layout_error as error:
            why = f"section {datasec.name}: a size or offset does not fit in 32 bits"
            raise BtfError(f"{self.origin} cannot be changed", why=why, type_id=datasec.id) from error

    def offset(self, type_id: int) -> int:
        """Return the byte offset of an own type's record in the data; BtfError for an id that does not exist."""
        offset = self.index.offset(type_id)
        if offset is None:
            why = f"the last one is {self.end_id - 1}"
            raise BtfError(f"{self.origin} has no type {type_id}", why=why, type_id=type_id)
        return self._types_offset + offset


def _kind_set(kinds: tuple[BtfKind, ...]) -> int:
    """Return the kinds as the index takes them."""
    wanted = 0
    for kind in kinds:
        wanted |= 1 << kind
    return wanted or ALL_KINDS
