"""The wrappers of maps and their elements against a fake kernel: what they pass, and what they give back."""

from __future__ import annotations

from struct import unpack_from
from typing import Any

from structops_cli.syscall import bpf_maps
from structops_cli.syscall._native import ffi
from structops_cli.syscall.fd import Fd
from structops_cli.syscall.uapi import (
    BpfMapType,
)
from tests.unit.syscall.fake_lib import Faking, real_fd

EXIT = bytes.fromhex("b700000000000000 9500000000000000")
KEY = bytes(4)


def words(attr: bytes) -> tuple[int, ...]:
    return unpack_from(f"<{len(attr) // 4}I", attr)


def test_a_maps_name_is_cut_to_what_the_kernel_holds(faking: Faking) -> None:
    lib = faking(real_fd())
    bpf_maps.map_create(
        BpfMapType.ARRAY, key_size=4, value_size=8, max_entries=3, name="a-né.me_of 20 letters"
    ).close()
    [(_, attr)] = lib.calls
    assert words(attr)[:4] == (BpfMapType.ARRAY, 4, 8, 3)
    assert attr[28:44] == b"a_n_.me_of_20_l\0"


def test_an_update_may_answer_more_than_0(faking: Faking, fd: Fd) -> None:
    faking(7)
    assert bpf_maps.map_update_elem(fd, KEY, bytes(8)) == 7


def test_a_lookup_gives_the_bytes_that_the_kernel_wrote(faking: Faking, fd: Fd) -> None:
    def answer(attr: Any) -> int:
        assert bytes(ffi.buffer(ffi.cast("char *", attr.key), 4)) == b"\1\0\0\0"
        ffi.memmove(ffi.cast("char *", attr.value), b"eight by", 8)
        return 0

    faking(answer)
    assert bpf_maps.map_lookup_elem(fd, b"\1\0\0\0", 8) == b"eight by"


def test_no_key_is_a_null_pointer(faking: Faking, fd: Fd) -> None:
    seen = []

    def answer(attr: Any) -> int:
        seen.append(attr.key)
        return 0

    faking(answer, answer)
    bpf_maps.map_get_next_key(fd, None, 4)
    bpf_maps.map_get_next_key(fd, KEY, 4)
    assert seen[0] == 0 != seen[1]
