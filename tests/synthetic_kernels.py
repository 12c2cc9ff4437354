"""Write the BTF of kernels with the old value layout (three members) or the new one."""

from __future__ import annotations

from structops_cli.btf.btf import Btf
from structops_cli.btf.encode import encode
from structops_cli.btf.kernel_types import KernelTypes
from structops_cli.btf.types import (
    Array,
    BtfType,
    Enum,
    Enumerator,
    FuncProto,
    Int,
    Member,
    Param,
    Ptr,
    Struct,
)
from structops_cli.syscall.uapi import BtfIntEncoding


class BtfBuilder:
    """Collect types; each method returns the id of the type that it added."""

    def __init__(self) -> None:
        self.types: list[BtfType] = []

    def add(self, make: type[BtfType], *fields: object) -> int:
        """Add one type; ``fields`` are those after the id."""
        self.types.append(make(len(self.types) + 1, *fields))  # type: ignore[arg-type]  # the kinds' fields differ
        return len(self.types)

    def integer(self, name: str, size: int, encoding: int = 0) -> int:
        return self.add(Int, name, size, encoding, 0, size * 8)

    def struct(self, name: str, size: int, members: list[tuple[str, int, int]]) -> int:
        """Add a struct of (name, type, byte offset) members."""
        return self.add(Struct, name, size, tuple(Member(n, t, at * 8, 0) for n, t, at in members), False)

    def function_pointer(self, *params: int, returns: int = 0) -> int:
        proto = self.add(FuncProto, returns, tuple(Param(f"a{i}", p) for i, p in enumerate(params)))
        return self.add(Ptr, proto)

    def btf(self, origin: str = "a written kernel") -> Btf:
        """Return the BTF of the collected types."""
        return Btf(encode(self.types), origin=origin)


def kernel(
    *,
    new: bool = True,
    links: bool = True,
    machinery: bool = True,
    members: tuple[str, ...] = ("ssthresh", "cong_avoid", "undo_cwnd"),
) -> KernelTypes:
    """Return a kernel whose tcp_congestion_ops has these functions, then name, flags, owner.

    ``new`` chooses the value layout with a common header.
    """
    b = BtfBuilder()
    u32, char = b.integer("unsigned int", 4), b.integer("char", 1, BtfIntEncoding.SIGNED)
    name = b.add(Array, char, u32, 16)
    sock = b.add(Ptr, b.struct("sock", 4, [("x", u32, 0)]))
    function = b.function_pointer(sock, returns=u32)
    pointer = b.add(Ptr, 0)
    ops_members = [(member, function, 8 * index) for index, member in enumerate(members)]
    at = 8 * len(members)
    ops_members += [("name", name, at), ("flags", u32, at + 16), ("owner", pointer, at + 24)]
    ops = b.struct("tcp_congestion_ops", at + 32, ops_members)
    refcnt = b.struct("refcount_struct", 4, [("refs", u32, 0)])
    state = b.add(Enum, "bpf_struct_ops_state", 4, False, (Enumerator("BPF_STRUCT_OPS_STATE_INIT", 0),))
    if new:
        common = b.struct("bpf_struct_ops_common_value", 8, [("refcnt", refcnt, 0), ("state", state, 4)])
        value_members = [("common", common, 0), ("data", ops, 64)]
    else:
        value_members = [("refcnt", refcnt, 0), ("state", state, 4), ("data", ops, 64)]
    b.struct("bpf_struct_ops_tcp_congestion_ops", 64 + at + 32, value_members)
    b.struct("bpf_struct_ops_value", 8, [("refcnt", refcnt, 0), ("state", state, 4)])
    if machinery:
        b.struct("bpf_struct_ops_map", 8, [("refcnt", refcnt, 0), ("state", state, 4)])
    if links:
        b.struct("bpf_struct_ops_link", 8, [("map", pointer, 0)])
    return KernelTypes(b.btf())


__all__ = ["BtfBuilder", "kernel"]
