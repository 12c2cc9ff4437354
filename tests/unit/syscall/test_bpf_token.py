"""Tokens: how one is made, and which commands act with it."""

from __future__ import annotations

from contextlib import suppress
from struct import unpack_from

from structops_cli.syscall import bpf, bpf_maps
from structops_cli.syscall.bpf import token_create
from structops_cli.syscall.command import using_token
from structops_cli.syscall.fd import Fd
from structops_cli.syscall.uapi import (
    BpfCmd,
    BpfMapType,
    BpfProgType,
)
from tests.unit.syscall.fake_lib import Faking, real_fd

EXIT = bytes.fromhex("b700000000000000 9500000000000000")
KEY = bytes(4)


def test_a_token_is_made_from_a_bpffs(faking: Faking, fd: Fd) -> None:
    lib = faking(lambda _: real_fd())
    token_create(fd).close()
    [(command, attr)] = lib.calls
    assert (command, unpack_from("<II", attr)) == (BpfCmd.TOKEN_CREATE, (0, fd.fileno()))


def create_load_and_load(fd: Fd) -> None:
    bpf_maps.map_create(BpfMapType.HASH, key_size=4, value_size=4, max_entries=1, map_flags=1).close()
    bpf.prog_load(BpfProgType.STRUCT_OPS, EXIT, licence="GPL", prog_flags=1 << 4).close()
    bpf.btf_load(b"\0").close()


def test_three_commands_act_with_the_token(faking: Faking, fd: Fd) -> None:
    lib = faking(*[lambda _: real_fd()] * 3)
    with using_token(fd):
        create_load_and_load(fd)
    token, flag = fd.fileno(), 1 << 16
    (_, created), (_, program), (_, btf) = lib.calls
    assert (unpack_from("<I", created, 16), unpack_from("<i", created, 76)) == ((flag | 1,), (token,))
    assert (unpack_from("<I", program, 44), unpack_from("<i", program, 144)) == ((flag | 1 << 4,), (token,))
    assert (unpack_from("<I", btf, 32), unpack_from("<i", btf, 36)) == ((flag,), (token,))


def test_without_a_token_nothing_says_so(faking: Faking, fd: Fd) -> None:
    lib = faking(*[lambda _: real_fd()] * 6)
    create_load_and_load(fd)
    with suppress(ZeroDivisionError), using_token(fd):
        _ = 1 // 0
    create_load_and_load(fd)
    for _, attr in lib.calls:
        assert not int.from_bytes(attr[76:80] if len(attr) > 100 else attr[32:], "little")
    assert unpack_from("<I", lib.calls[0][1], 16) == unpack_from("<I", lib.calls[3][1], 16) == (1,)
