"""Both sides of CO-RE, written type by type: what the object says, and what a kernel says.

A world is filled from the bottom up; each function returns the id of the type
that it adds. Members are ``at(name, type, byte)`` or ``bits(name, type, first
bit, width)``, so that every golden answer can be read off the test.
"""

from __future__ import annotations

from collections.abc import Callable

from structops_cli.btf.btf import Btf
from structops_cli.btf.encode import encode
from structops_cli.btf.ext import CoreRelo
from structops_cli.btf.kernel_types import KernelTypes, ModuleBtf
from structops_cli.btf.types import (
    Array,
    BtfType,
    Const,
    Enum,
    Enum64,
    Enumerator,
    Float,
    FuncProto,
    Fwd,
    Int,
    Member,
    Param,
    Ptr,
    Struct,
    Typedef,
    Union,
)
from structops_cli.core.fixup import Fixup
from structops_cli.syscall.uapi import BtfIntEncoding, CoreReloKind
from tests.core_fixups import compute_fixups


class World:
    """The types of one BTF to be, by default that of a kernel."""

    def __init__(self, *, base: Btf | None = None) -> None:
        self.types: list[BtfType] = []
        self.base = base

    def add(self, make: Callable[[int], BtfType]) -> int:
        first = 1 if self.base is None else self.base.end_id
        self.types.append(make(first + len(self.types)))
        return self.types[-1].id

    def integer(self, name: str, size: int, encoding: int = 0) -> int:
        return self.add(lambda i: Int(i, name, size, encoding, 0, size * 8))

    def signed(self, name: str, size: int) -> int:
        return self.integer(name, size, BtfIntEncoding.SIGNED)

    def floating(self, name: str, size: int) -> int:
        return self.add(lambda i: Float(i, name, size))

    def ptr(self, type_id: int = 0) -> int:
        return self.add(lambda i: Ptr(i, type_id))

    def const(self, type_id: int) -> int:
        return self.add(lambda i: Const(i, type_id))

    def typedef(self, name: str, type_id: int) -> int:
        return self.add(lambda i: Typedef(i, name, type_id))

    def array(self, type_id: int, count: int) -> int:
        return self.add(lambda i: Array(i, type_id, 1, count))

    def struct(self, name: str, size: int, *members: Member) -> int:
        return self.add(lambda i: Struct(i, name, size, members, any(m.bit_size for m in members)))

    def union(self, name: str, size: int, *members: Member) -> int:
        return self.add(lambda i: Union(i, name, size, members, any(m.bit_size for m in members)))

    def enum(self, name: str, size: int = 4, *, signed: bool = False, **values: int) -> int:
        named = tuple(Enumerator(key, value) for key, value in values.items())
        return self.add(lambda i: Enum(i, name, size, signed, named))

    def enum64(self, name: str, *, signed: bool = False, **values: int) -> int:
        named = tuple(Enumerator(key, value) for key, value in values.items())
        return self.add(lambda i: Enum64(i, name, 8, signed, named))

    def fwd(self, name: str, *, is_union: bool = False) -> int:
        return self.add(lambda i: Fwd(i, name, is_union))

    def proto(self, return_type: int, *params: int) -> int:
        return self.add(
            lambda i: FuncProto(i, return_type, tuple(Param(f"p{n}", p) for n, p in enumerate(params)))
        )

    def btf(self, origin: str = "vmlinux") -> Btf:
        return Btf(encode(self.types, base=self.base), base=self.base, origin=origin)


def at(name: str, type_id: int, byte: int) -> Member:
    return Member(name, type_id, byte * 8, 0)


def bits(name: str, type_id: int, first: int, width: int) -> Member:
    return Member(name, type_id, first, width)


def kernel(vmlinux: World | Btf, **modules: World) -> KernelTypes:
    """Return a kernel of that vmlinux, with modules on top of it."""
    base = vmlinux.btf() if isinstance(vmlinux, World) else vmlinux
    found = [ModuleBtf(name, world.btf(name), 100 + n) for n, (name, world) in enumerate(modules.items())]
    return KernelTypes(base, lambda: found)


def fix(
    local: World, target: World | KernelTypes, type_id: int, access: str, kind: CoreReloKind, *, insn: int = 0
) -> Fixup:
    """Return the fixup of a single relocation."""
    types = target if isinstance(target, KernelTypes) else kernel(target)
    return compute_fixups(local.btf("object"), types, [CoreRelo(insn, type_id, access, kind)])[0]
