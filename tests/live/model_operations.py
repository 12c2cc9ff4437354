"""Translate drawn words into operations that mean the same on every kernel."""

from __future__ import annotations

import struct
from typing import Any, TypeAlias

from structops_cli.struct_ops.catalogue import KernelMember, StructOpsType
from structops_cli.struct_ops.kinds import kind_of
from structops_cli.struct_ops.kinds.kind import Need
from structops_cli.struct_ops.rules.model import (
    CloseLink,
    CreateLink,
    CreateMap,
    Delete,
    DetachLink,
    Freeze,
    GetNextKey,
    LoadProgram,
    Lookup,
    Model,
    Operation,
    RunProgram,
    Update,
    UpdateLink,
)
from structops_cli.syscall.uapi import BPF_F_LINK, BPF_F_VTYPE_BTF_OBJ_FD, StructOpsState
from tests.live.model_kernel import CLOSED, Pool

Words: TypeAlias = tuple[Any, ...]
TCP, DUMMY = "tcp_congestion_ops", "bpf_dummy_ops"
MAPS, LINKS = ("m0", "m1", "m2"), ("l0", "l1")
POINTER = struct.Struct("<Q")


class Speaker:
    """Translates drawn words into operations on the present maps and links."""

    def __init__(self, pool: Pool, prefix: str, taken: str) -> None:
        self.pool, self.prefix, self.taken = pool, prefix, taken
        self.model = Model()

    def operation(self, words: Words, model: Model) -> Operation | None:
        """Return the operation for some words; None if they mean nothing now."""
        self.model = model
        verb, *rest = words
        meant = [_meant(model, word) if isinstance(word, str) else word for word in rest]
        if None in [new for new, old in zip(meant, rest, strict=True) if old is not None]:
            return None
        made: Operation | None = getattr(self, f"_{verb}")(*meant)
        return made

    def _create(self, handle: str, type_name: str, link: bool, attributes: Words) -> Operation | None:
        if handle in self.model.maps or type_name not in self.pool.types:
            return None
        kernel_type = self.pool.types[type_name]
        made = CreateMap(
            handle,
            kernel_type,
            key_size=4,
            value_size=kernel_type.value.size_bytes,
            max_entries=1,
            map_flags=BPF_F_LINK if link else 0,
            btf_vmlinux_value_type_id=kernel_type.value.id,
            btf_fd=self.pool.btf.fileno(),
        )
        for attribute, value in attributes:
            made = made._replace(**self._attribute(kernel_type, attribute, value))
        return made

    def _attribute(self, kernel_type: StructOpsType, attribute: str, value: Any) -> dict[str, Any]:
        if attribute == "module":
            return {"map_flags": BPF_F_VTYPE_BTF_OBJ_FD, "value_type_btf_obj_fd": self._fd(value)}
        if attribute == "btf":
            return {"btf_fd": self._fd(value)}
        if value == -1:
            return {attribute: kernel_type.struct.id}
        return {attribute: value}

    def _fd(self, word: str) -> int:
        pool = self.pool
        return {
            "btf": pool.btf.fileno(),
            "vmlinux": pool.vmlinux_btf.fileno(),
            "array": pool.array.fileno(),
            "filter": pool.filter,
            "closed": CLOSED,
        }[word]

    def _update(
        self, handle: str, which: str, name: str, mutations: Words, key: int, flags: int
    ) -> Operation:
        held = self.model.maps.get(handle)
        kernel_type = held.type if held else self.pool.types[TCP]
        value = bytearray(kernel_type.value.size_bytes)
        for item in kernel_type.members:
            self._fill(value, kernel_type, item, which, name)
        for mutation in mutations:
            self._mutate(value, kernel_type, *mutation)
        return Update(handle, bytes(value), key, flags)

    def _fill(
        self, value: bytearray, kernel_type: StructOpsType, item: KernelMember, which: str, name: str
    ) -> None:
        kind, start = kind_of(kernel_type.name), kernel_type.data_offset + item.offset_bytes
        number = self.pool.programs.get((kernel_type.name, item.member_index))
        wanted = which == "all" or kind.need(item.name) in (Need.REQUIRED, Need.EITHER)
        if number is not None and wanted:
            POINTER.pack_into(value, start, number)
        elif item.name == kind.naming.member:
            data = self._name(name, item.size_bytes)
            value[start : start + len(data)] = data

    def _name(self, word: str, room: int) -> bytes:
        odd = {
            "!taken": self.taken.encode(), "!empty": b"", "!full": b"x" * room, "!blank": b"a b", "!slash": b"a/b",
            "!tail": self.prefix.encode() + b"\0left", "!dot": self.prefix.encode() + b".", "!del": b"a\x7f",
            "!latin": self.prefix.encode() + b"\xe9", "!divide": b"a\xf7", "!nbsp": b"a\xa0",
        }  # fmt: skip
        return odd.get(word, (self.prefix + word).encode())

    def _mutate(self, value: bytearray, kernel_type: StructOpsType, what: str, *rest: Any) -> None:
        members = {item.name: item for item in kernel_type.members}
        if what == "own":
            offset = kernel_type.state_offset if rest[0] == "state" else kernel_type.refcnt_offset
            struct.pack_into("<I", value, offset, rest[1])
        elif what == "hole":
            holes = _holes(kernel_type)[rest[0]]
            if holes:
                value[holes[rest[1] % len(holes)]] = rest[2]
        elif rest[0] in members:
            item = members[rest[0]]
            start = kernel_type.data_offset + item.offset_bytes
            if what == "program":
                old = POINTER.unpack_from(value, start)[0]
                POINTER.pack_into(
                    value, start, self._program(kernel_type, item, rest[1], old) & (1 << 64) - 1
                )
            else:
                struct.pack_into("<I", value, start, rest[1])

    def _program(self, kernel_type: StructOpsType, item: KernelMember, word: Words, old: int) -> int:
        right = self.pool.programs.get((kernel_type.name, item.member_index), CLOSED)
        if word[0] == "of":
            index = self._index(str(word[1]), word[2])
            return self.pool.programs.get((str(word[1]), index), self.pool.filter)
        odd = {"none": 0, "minus": -1, "high": old | 1 << 32, "right": right}
        sort = str(word[0])
        return odd[sort] if sort in odd else self._fd(sort)

    def _link(self, link: str, handle: str, flags: int) -> Operation | None:
        return None if link in self.model.links else CreateLink(link, handle, flags)

    def _relink(self, link: str, handle: str, old: str | None, flags: int | None) -> Operation:
        old = self.model.links.get(link, "closed") if old == "behind" else old
        plain = 4 if old is not None else 0
        return UpdateLink(link, handle, old, plain if flags is None else flags)

    def _detach(self, link: str) -> Operation:
        return DetachLink(link)

    def _close(self, link: str) -> Operation | None:
        return CloseLink(link) if link in self.model.links else None

    def _delete(self, handle: str, key: int) -> Operation:
        return Delete(handle, key)

    def _lookup(self, handle: str, key: int) -> Operation:
        return Lookup(handle, key)

    def _next(self, handle: str, key: int | None) -> Operation:
        return GetNextKey(handle, key)

    def _freeze(self, handle: str) -> Operation:
        return Freeze(handle)

    def _load(
        self, type_name: str, attach: Any, member: int | str, gpl: bool, sleepable: bool
    ) -> Operation | None:
        if type_name not in self.pool.types:
            return None
        kernel_type = self.pool.types[type_name]
        ids = {"own": kernel_type.struct.id, "other": kernel_type.value.id}
        index = self._index(type_name, member)
        return LoadProgram(
            kernel_type, ids.get(attach, attach), index, "GPL" if gpl else "Proprietary", sleepable
        )

    def _run(self, type_name: str, member: int | str, count: int) -> Operation | None:
        index = self._index(type_name, member)
        if (type_name, index) not in self.pool.programs:
            return None
        return RunProgram(self.pool.types[type_name], index, count)

    def _index(self, type_name: str, member: int | str) -> int:
        """Return a member's index. A name means the same member on every kernel."""
        if isinstance(member, int) or type_name not in self.pool.types:
            return -1 if isinstance(member, str) else member
        return next(one.member_index for one in self.pool.types[type_name].members if one.name == member)


def _meant(model: Model, word: str) -> str | None:
    """Resolve ``ready N``, ``unset N`` or ``open N`` to a handle; None if there is none."""
    sort, _, index = word.partition(" ")
    states = {"ready": StructOpsState.READY, "unset": StructOpsState.INIT}
    if not index or sort not in (*states, "open"):
        return word
    there = sorted(item for item, held in model.maps.items() if held.state == states.get(sort))
    there = sorted(model.links) if sort == "open" else there
    return there[int(index) % len(there)] if there else None


def _holes(kernel_type: StructOpsType) -> dict[str, list[int]]:
    """Return the offsets of all padding bytes, of a value and of its inner struct."""
    start, size = kernel_type.data_offset, kernel_type.struct.size_bytes
    used = {
        start + at
        for item in kernel_type.members
        for at in range(item.offset_bytes, item.offset_bytes + item.size_bytes)
    }
    own = {at + n for at in (kernel_type.state_offset, kernel_type.refcnt_offset) for n in range(4)}
    inner = range(start, start + size)
    return {
        "struct": [at for at in inner if at not in used],
        "value": [at for at in range(kernel_type.value.size_bytes) if at not in inner and at not in own],
    }


__all__ = ["DUMMY", "LINKS", "MAPS", "TCP", "Speaker", "Words"]
