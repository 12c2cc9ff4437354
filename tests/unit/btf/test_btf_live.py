"""The BTF of the running kernel."""

from __future__ import annotations

import mmap
import os

import pytest

from structops_cli.btf.btf import Btf
from structops_cli.btf.c_declarations import declare
from structops_cli.btf.encode import encode
from structops_cli.btf.layout import align_of, pointee_proto, resolve, size_of
from structops_cli.btf.types import Int, Struct
from structops_cli.errors import BtfError
from structops_cli.syscall.uapi import BtfKind
from tests.unit.btf.sources import VMLINUX, vmlinux


def struct(btf: Btf, name: str) -> Struct:
    type_id = btf.find(name, BtfKind.STRUCT)
    assert type_id is not None
    found = btf.type(type_id)
    assert isinstance(found, Struct)
    return found


def test_the_whole_of_it_is_sound() -> None:
    vmlinux().check()


def test_what_every_kernel_has() -> None:
    kernel = vmlinux()
    assert kernel.end_id > 10_000
    long = kernel.ids("long unsigned int", BtfKind.INT)[0]
    assert size_of(kernel, long) == align_of(kernel, long) == 8
    head = struct(kernel, "list_head")
    assert [(member.name, member.bit_offset) for member in head.members] == [("next", 0), ("prev", 64)]
    assert head.size_bytes == 16
    assert isinstance(resolve(kernel, kernel.ids("u32", BtfKind.TYPEDEF)[0]), Int)


def test_the_congestion_controls_struct() -> None:
    kernel = vmlinux()
    ops = struct(kernel, "tcp_congestion_ops")
    members = {member.name: member for member in ops.members}
    ssthresh, name = members["ssthresh"], members["name"]
    proto = pointee_proto(kernel, ssthresh.type)
    assert proto is not None
    assert len(proto.params) == 1
    assert declare(kernel, ssthresh.type, "ssthresh").startswith("u32 (*ssthresh)(struct sock *")
    assert declare(kernel, name.type, "name") == "char name[16]"
    assert size_of(kernel, name.type) == 16


def test_lookups_agree_with_a_walk() -> None:
    kernel = vmlinux()
    by_name: dict[str, list[int]] = {}
    prefixed = []
    for type_id in range(1, kernel.end_id):
        name = kernel.name(type_id)
        if name.startswith("tcp_"):
            by_name.setdefault(name, []).append(type_id)
            if kernel.kind(type_id) == BtfKind.STRUCT:
                prefixed.append(type_id)
    assert len(by_name) > 100
    assert {name: list(kernel.ids(name)) for name in by_name} == by_name
    assert all(set(ids) <= set(kernel.candidates(name)) for name, ids in by_name.items())
    assert list(kernel.with_prefix("tcp_", BtfKind.STRUCT)) == prefixed


def test_some_of_it_encoded_on_top_of_it() -> None:
    """Types of a module that only say what they refer to in vmlinux."""
    kernel = vmlinux()
    sock = struct(kernel, "sock")
    split = Btf(encode([sock._replace(id=kernel.end_id)], base=kernel), base=kernel)
    split.check()
    assert split.type(kernel.end_id)[1:] == sock[1:]
    assert split.find("sock", BtfKind.STRUCT) == sock.id
    assert split.candidates("sock") == (kernel.end_id,)


def test_it_can_be_read_where_it_lies() -> None:
    expected = vmlinux().find("tcp_congestion_ops", BtfKind.STRUCT)
    with VMLINUX.open("rb") as file:
        try:
            area = mmap.mmap(file.fileno(), os.fstat(file.fileno()).st_size, mmap.MAP_PRIVATE, mmap.PROT_READ)
        except OSError:
            release = tuple(int(part) for part in os.uname().release.split(".")[:2])
            assert release < (6, 16), "this kernel lets its BTF be mapped"
            pytest.skip("waits for Linux 6.16, which lets its BTF be mapped")
    assert Btf(area).find("tcp_congestion_ops", BtfKind.STRUCT) == expected


def test_a_truncated_one_is_refused() -> None:
    vmlinux()
    data = VMLINUX.read_bytes()
    for length in (0, 23, 24, len(data) // 2, len(data) - 1):
        with pytest.raises(BtfError):
            Btf(data[:length])
